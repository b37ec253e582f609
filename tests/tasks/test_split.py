"""Splits share no occupation and no template, whatever the seed; subsamples stay balanced."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.errors import InputError, InputWarning
from equipoise.tasks import Coreference, Item, Pronouns, Split, Task, occupations
from equipoise.tasks.task import partition, subsample

SEEDS = st.integers(min_value=0, max_value=2**32)
BUILT_IN = [Pronouns(), Coreference()]


def sets_of(split: Split) -> dict[str, tuple[Item, ...]]:
    return {"train": split.train, "validation": split.validation, "heldout": split.heldout}


def assert_disjoint(split: Split) -> None:
    where: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name, items in sets_of(split).items():
        for item in items:
            where["template", item.template].add(name)
            for group in item.groups:
                where["group", group].add(name)
    shared = {key: names for key, names in where.items() if len(names) > 1}
    assert not shared


@pytest.mark.parametrize("task", BUILT_IN, ids=lambda task: task.name)
@settings(max_examples=12, deadline=None)
@given(seed=SEEDS)
def test_sets_are_disjoint_in_occupations_and_templates(task: Task, seed: int) -> None:
    split = task.split(seed)
    assert_disjoint(split)
    for items in sets_of(split).values():
        types = Counter(group.gender for group in occupations() if any(group.name in i.groups for i in items))
        assert abs(types["male"] - types["female"]) <= 1  # stratified
        assert {item.part for item in items} == {"ambiguous", "unambiguous"}
    sizes = {name: len({g for i in items for g in i.groups}) for name, items in sets_of(split).items()}
    assert sizes == {"train": 108, "validation": 42, "heldout": 64}


def test_the_check_would_notice_a_shared_occupation() -> None:
    items = tuple(item for item in Pronouns().items() if item.template == "a00")
    with pytest.raises(AssertionError):
        assert_disjoint(Split(items[:1], items[1:2], items[:1]))


@pytest.mark.parametrize("task", BUILT_IN, ids=lambda task: task.name)
def test_a_seed_is_a_split(task: Task) -> None:
    assert task.split(3) == task.split(3)
    assert task.split(3) != task.split(4)
    assert task.split(3, limit=48) == task.split(3, limit=48)


@pytest.mark.parametrize("task", BUILT_IN, ids=lambda task: task.name)
@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, limit=st.integers(min_value=16, max_value=200))
def test_a_limit_holds_and_stays_balanced(task: Task, seed: int, limit: int) -> None:
    full, split = task.split(seed), task.split(seed, limit=limit)
    assert_disjoint(split)
    for name, items in sets_of(split).items():
        assert set(items) <= set(sets_of(full)[name])
        for part in ("ambiguous", "unambiguous"):
            chosen = [item for item in items if item.part == part]
            assert limit // 2 < len(chosen) <= limit or len(chosen) == len(
                [item for item in sets_of(full)[name] if item.part == part]
            )
            uses = Counter(group for item in chosen for group in item.groups)
            block = max(Counter((item.template, frozenset(item.groups)) for item in chosen).values())
            assert max(uses.values()) - min(uses.values()) <= 3 * block
        hits = task.baselines(items)
        # Blocks are taken whole: what is counterbalanced within them still is.
        assert hits["always the stereotype"].mean() == 0.5
        if "always the first mentioned" in hits:
            assert hits["always the first mentioned"].mean() == 0.5


def test_a_subsample_gives_some_groups_many_items_rather_than_many_groups_few() -> None:
    items = [item for item in Pronouns().items() if item.part == "ambiguous"]
    chosen = subsample(items, 80, seed=1)
    assert set(Counter(item.groups for item in chosen).values()) == {8}
    assert max(Counter(item.template for item in chosen).values()) <= 3
    assert {item.groups for item in subsample(items, 80, seed=2)} != {item.groups for item in chosen}
    assert subsample(items, len(items) + 1, seed=1) == items


@given(names=st.sets(st.text(min_size=1), min_size=3), seed=st.integers())
def test_partition_leaves_no_set_empty(names: set[str], seed: int) -> None:
    found = partition(names, seed=seed)
    assert set(found) == names
    assert set(found.values()) == {"train", "validation", "heldout"}


@pytest.mark.parametrize(("limit", "part"), [(3, "ambiguous"), (7, "unambiguous")])
def test_a_limit_that_leaves_nothing_of_a_part_is_refused_with_the_least(limit: int, part: str) -> None:
    """Four ambiguous items of a pair and template go together, and eight unambiguous ones."""
    with pytest.raises(InputError, match=f"nothing of the {part} part of the train set") as caught:
        Coreference().split(0, limit=limit)
    assert f"raise the limit (--limit) to at least {limit + 1}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {item.part for item in Coreference().split(0, limit=8).heldout} == {"ambiguous", "unambiguous"}


class OnlyAmbiguous(Pronouns):
    """A task without an unambiguous part, which no limit can drop."""

    def items(self) -> Sequence[Item]:
        return [item for item in super().items() if item.part == "ambiguous"]


def test_a_part_that_a_task_lacks_is_not_missed() -> None:
    assert len(OnlyAmbiguous().split(0, limit=1).heldout) == 1


class Pairs(Task):
    """Sentences of one pair each, but for one that two pairs share; with ``common``, of three wordings in all."""

    name = "pairs"

    def __init__(self, common: bool = False) -> None:
        self._common = common

    def items(self) -> Sequence[Item]:
        def template(pair: int, number: int) -> str:
            return (
                f"{number}" if self._common else "shared" if number == 0 and pair < 2 else f"{pair}/{number}"
            )

        return [
            Item(f"{p}/{n}", "A", (" b", " c"), ("pro", "anti"), "ambiguous", None, (f"{p}",), template(p, n))
            for p in range(12)
            for n in range(3)
        ]

    def held_out_template(self, item: Item) -> None:
        return None


def test_a_wording_of_two_pairs_is_seen_in_one_set_alone(recwarn: pytest.WarningsRecorder) -> None:
    lost = []
    for seed in range(8):
        split = Pairs().split(seed)
        found = [{item.template for item in items} for items in vars(split).values()]
        assert sum(map(len, found)) == len(set.union(*found))
        lost.append(36 - sum(len(items) for items in vars(split).values()))
    assert set(lost) == {0, 1} and not recwarn.list


def test_where_all_wordings_are_shared_it_is_said() -> None:
    with pytest.warns(
        InputWarning, match="task 'pairs': 12 of 12 held-out items have a wording that fitting sees"
    ):
        split = Pairs(common=True).split(0)
    assert len(split.train) + len(split.validation) + len(split.heldout) == 36


class Tiny(Task):
    """Too little to hold anything out."""

    name = "tiny"

    def items(self) -> Sequence[Item]:
        return [Item("1", "A", (" b", " c"), ("pro", "anti"), "ambiguous", None, ("g",), "t")]


def test_too_little_to_divide_is_said() -> None:
    with pytest.raises(InputError, match=r"task 'tiny': the \w+ set is empty"):
        Tiny().split(0)


@pytest.mark.parametrize("name", ["{}", ""])
def test_two_items_of_one_id_are_refused(name: str) -> None:
    """Measurements are told apart by ids: an item would be scored in the place of its namesake."""

    class Namesakes(Pronouns):
        def items(self) -> Sequence[Item]:
            return [dataclasses.replace(item, id=name.format(item.groups[0])) for item in super().items()]

    with pytest.raises(InputError, match="give each item an id of its own"):
        Namesakes().split(0)
