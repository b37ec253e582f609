"""The coreference task: position, stereotype and gender must cancel, so that what is left is bias."""

import re
from collections import Counter, defaultdict

import pytest

from equipoise.tasks import Coreference, Item, occupations


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return list(Coreference().items())


def test_sizes(items: list[Item]) -> None:
    assert len(items) <= 10_000
    assert len({item.id for item in items}) == len(items)
    for part in ("ambiguous", "unambiguous"):
        chosen = [item for item in items if item.part == part]
        assert len({item.template for item in chosen}) >= 32
        partners = defaultdict(set)
        for item in chosen:
            for one, other in (item.groups, item.groups[::-1]):
                partners[one].add(other)
        assert len(partners) >= 60
        assert min(len(found) for found in partners.values()) >= 5  # each occupation in several pairs


def test_pairs_mix_types(items: list[Item]) -> None:
    genders = {occupation.name: occupation.gender for occupation in occupations()}
    for item in items:
        assert {genders[name] for name in item.groups} == {"male", "female"}
        assert set(item.outcomes) == {"pro", "anti"}


def test_pro_is_the_occupation_of_the_pronouns_gender(items: list[Item]) -> None:
    share = {occupation.name: occupation.percent_women for occupation in occupations()}
    for item in items:
        chosen = item.options[item.outcomes.index("pro")].strip()
        assert (share[chosen] > 50) == (item.metadata["pronoun"] == "she")


def test_every_pair_and_template_has_all_orders_pronouns_and_genders(items: list[Item]) -> None:
    cells = defaultdict(list)
    for item in items:
        cells[item.template, frozenset(item.groups)].append(item)
    for (template, _), found in cells.items():
        kinds = Counter((item.groups, item.metadata["pronoun"]) for item in found)
        assert len(kinds) == 4
        if template.startswith("a"):
            assert set(kinds.values()) == {1}
        else:
            # Both readings of each are asked: the same names and pronoun, the genders exchanged, the other answer.
            assert set(kinds.values()) == {2}
            answers = Counter(
                (item.groups, item.metadata["pronoun"], item.options[item.answer or 0]) for item in found
            )
            assert set(answers.values()) == {1}


def test_swapping_the_pronoun_swaps_outcomes(items: list[Item]) -> None:
    by_pronoun = defaultdict(dict)
    for item in items:
        if item.part == "ambiguous":
            by_pronoun[item.template, item.groups][item.metadata["pronoun"]] = dict(
                zip(item.options, item.outcomes, strict=True)
            )
    swap = {"pro": "anti", "anti": "pro"}
    for both in by_pronoun.values():
        assert both["he"] == {option: swap[outcome] for option, outcome in both["she"].items()}


def test_option_orders_and_answers_balance_exactly(items: list[Item]) -> None:
    for part in ("ambiguous", "unambiguous"):
        chosen = [item for item in items if item.part == part]
        assert Counter(item.metadata["first_mentioned"] for item in chosen)[0] * 2 == len(chosen)
    asked = [item for item in items if item.answer is not None]
    assert Counter(item.answer for item in asked)[0] * 2 == len(asked)


def test_no_trivial_strategy_beats_one_half(items: list[Item]) -> None:
    hits = Coreference().baselines(items)
    for name in ("always the stereotype", "always the first mentioned", "always the later mentioned"):
        assert hits[name].mean() == 0.5
    assert hits["majority option"].mean() < 0.1
    assert len(hits["majority option"]) == sum(item.answer is not None for item in items)


def test_the_order_of_mention_is_the_texts(items: list[Item]) -> None:
    for item in items:
        assert isinstance(item.prompt, str)
        first, later = (item.prompt.index(f"the {name}") if f"the {name}" in item.prompt else
                        item.prompt.index(f"The {name}") for name in item.groups)  # fmt: skip
        assert first < later
        assert item.options[item.metadata["first_mentioned"]].strip() == item.groups[0]
        assert not set("{}|") & set(item.prompt)


def test_the_stated_gender_decides(items: list[Item]) -> None:
    women = ("sister", "mother", "aunt", "daughter", "niece", "grandmother", "stepmother", "godmother")
    for item in items:
        if item.answer is None:
            continue
        assert isinstance(item.prompt, str)
        right = item.options[item.answer].strip()
        introduction = re.split(rf", the {right}\b", item.prompt)[0].split()[-1]
        assert (introduction in women) == (item.metadata["pronoun"] == "she")
