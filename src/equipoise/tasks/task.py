"""A task: where items come from, how they are held out, and what guessing would score."""

import math
import random
import warnings
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, InputWarning
from .item import Item
from .suite import Evidence, Readings

SetName = Literal["train", "validation", "heldout"]

SHARES: dict[SetName, float] = {"train": 0.5, "validation": 0.2, "heldout": 0.3}


@dataclass(frozen=True)
class Split:
    """Three sets of items that share neither an occupation nor a template."""

    train: tuple[Item, ...]
    validation: tuple[Item, ...]
    heldout: tuple[Item, ...]


class Task(ABC):
    """Subclass with a ``name`` and :meth:`items`; the rest follows.

    ``outcomes`` lists what options can mean: two-way tasks keep ``("pro", "anti")``, others give their
    groups. ``exhaustive`` says whether the options are all that counts as an answer, so that what they leave of the
    probability is abstention; it is not where they are whole texts, of which any single one is improbable. ``target``
    are the outcomes' shares that would be fair, None for equal ones. ``about`` tells a report's reader in a sentence or
    two what is asked. ``axis`` is the kind of bias, such as "gender".
    """

    name: str
    outcomes: tuple[str, ...] = ("pro", "anti")
    exhaustive: bool = True
    target: tuple[float, ...] | None = None
    about: str = ""
    axis: str | None = None

    @abstractmethod
    def items(self) -> Sequence[Item]:
        """Every item, always the same in the same order."""

    def readings(self, items: Sequence[Item], evidence: Evidence) -> Readings:
        """Metrics of the set's own paper, for :class:`equipoise.tasks.Whole`; by default none."""
        return {}

    def summary(self) -> str:
        """``about``, or without it the first line of the class's docstring."""
        return self.about or (type(self).__doc__ or "").strip().split("\n")[0]

    def strata(self) -> Mapping[str, str]:
        """A stratum for each group: every set of a split gets its share of each. By default there is one."""
        return {}

    def held_out_groups(self, item: Item) -> tuple[str, ...]:
        """What must not be shared between sets. By default the item's groups, each on its own."""
        return item.groups

    def held_out_template(self, item: Item) -> str | None:
        """The template that must not be shared between sets; None if holding groups out holds it out too.

        Where a few templates belong to several groups all the same, fitting does without what others hold out.
        """
        return item.template

    def split(self, seed: int, limit: int | None = None) -> Split:
        """Hold out whole groups and whole templates, about 50/20/30 %.

        Templates are divided within each part. Items that would mix two sets are dropped.

        Args:
            seed: decides the division and the subsample; the same seed gives the same split.
            limit: at most this many items of each part in each set, drawn by :func:`subsample`.

        Raises :class:`InputError` if there is too little to divide, or the limit leaves nothing of a part.
        """
        items = self.items()
        groups = {group for item in items for group in self.held_out_groups(item)}
        group_set = partition(groups, seed=seed, strata=self.strata())
        template_set: dict[tuple[str, str | None], SetName] = {}
        for part in ("ambiguous", "unambiguous"):
            found = {self.held_out_template(item) for item in items if item.part == part} - {None}
            names = {name for name in found if name is not None}
            if names:
                template_set |= {(part, k): v for k, v in partition(names, seed=f"{seed}/{part}").items()}
        sets: dict[SetName, list[Item]] = {name: [] for name in SHARES}
        for item in items:
            where = {group_set[group] for group in self.held_out_groups(item)}
            template = self.held_out_template(item)
            if template is not None:
                where.add(template_set[item.part, template])
            if len(where) == 1:
                sets[where.pop()].append(item)
        _forget_seen_templates(self.name, sets)
        return make_split(self.name, sets, seed=seed, limit=limit)

    def baselines(self, items: Sequence[Item]) -> dict[str, NDArray[np.bool_]]:
        """What answering without reading would get right.

        Args:
            items: those without an answer are passed over.

        Returns:
            for each strategy, whether it is right, one value an item that has an answer, in order. "majority
            option" always gives the text that is right most often; "always the stereotype" takes the first
            option whose outcome is ``pro``; the two strategies by order of mention are there if every
            item's metadata has ``first_mentioned``, the index of the option that the prompt mentions first.
        """
        asked = [item for item in items if item.answer is not None]
        right = Counter(item.options[item.answer] for item in asked if item.answer is not None)
        best = min(right, key=lambda text: (-right[text], text)) if right else ""
        found = {"majority option": [item.options[item.answer or 0] == best for item in asked]}
        if asked and all("pro" in item.outcomes for item in asked):
            found["always the stereotype"] = [item.outcomes.index("pro") == item.answer for item in asked]
        if asked and all("first_mentioned" in item.metadata for item in asked):
            first = [item.metadata["first_mentioned"] == item.answer for item in asked]
            found["always the first mentioned"] = first
            found["always the later mentioned"] = [not hit for hit in first]
        return {name: np.array(hits, dtype=bool) for name, hits in found.items()}


def partition(
    names: Iterable[str], *, seed: int | str, strata: Mapping[str, str] | None = None
) -> dict[str, SetName]:
    """Assign each name to a set, about 50/20/30 % of each stratum; none is left empty by three names."""
    by_stratum: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        by_stratum[(strata or {}).get(name, "")].append(name)
    assigned: dict[str, SetName] = {}
    for stratum in sorted(by_stratum):
        members = by_stratum[stratum]
        random.Random(f"{seed}/{stratum}").shuffle(members)
        # Small strata round the two smaller sets up, so that none is left empty while there are three names.
        validation = max(1, round(len(members) * SHARES["validation"])) if len(members) >= 3 else 0
        heldout = max(1, round(len(members) * SHARES["heldout"])) if len(members) >= 2 else 0
        for index, name in enumerate(members):
            assigned[name] = (
                "validation" if index < validation else "heldout" if index < validation + heldout else "train"
            )
    return assigned


def _forget_seen_templates(name: str, sets: dict[SetName, list[Item]]) -> None:
    """Drop what has a template of a later set from the earlier ones; warn instead where that takes most of them."""
    held: set[tuple[str, str]] = set()
    kept: dict[SetName, list[Item]] = {}
    for key in ("heldout", "validation", "train"):
        kept[key] = [item for item in sets[key] if (item.part, item.template) not in held]
        held |= {(item.part, item.template) for item in sets[key]}
    if all(2 * len(kept[key]) >= len(sets[key]) for key in kept):
        sets |= kept
        return
    seen = {(item.part, item.template) for key in ("train", "validation") for item in sets[key]}
    both = sum((item.part, item.template) in seen for item in sets["heldout"])
    warnings.warn(
        f"task {name!r}: {both} of {len(sets['heldout'])} held-out items have a wording that fitting sees too, since"
        " most belong to several groups (occupations, or pairs of them): these alone are held out",
        InputWarning,
        stacklevel=3,
    )


def set_aside(task: Task, items: Sequence[Item], seed: int) -> tuple[list[Item], list[Item]]:
    """Two thirds of the groups with their items, and the rest; items that would mix them are dropped."""
    groups = sorted({group for item in items for group in task.held_out_groups(item)})
    strata = task.strata()
    random.Random(f"{seed}/set aside").shuffle(groups)
    groups.sort(key=lambda group: strata.get(group, ""))
    rest = set(groups[2::3])
    sides: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        inside = {group in rest for group in task.held_out_groups(item)}
        if len(inside) == 1:
            sides[inside.pop()].append(item)
    return sides


def make_split(
    name: str, sets: Mapping[SetName, Sequence[Item]], *, seed: int, limit: int | None = None
) -> Split:
    """Apply ``limit`` to each part of each set; refuse a split with an empty set, or a limit that drops a part.

    Two items of one id are refused as well: what is measured is told apart by it.
    """
    counts = Counter(item.id for items in sets.values() for item in items)
    for most, number in counts.most_common(1):
        if number > 1:
            raise InputError(
                f"task {name!r}: {number} items have the id {most!r}: give each item an id of its own"
            )
    if limit is not None:
        sets = {key: limited(name, key, items, limit, seed) for key, items in sets.items()}
    for key, items in sets.items():
        if not items:
            raise InputError(
                f"task {name!r}: the {key} set is empty: holding out groups and templates needs more of both"
            )
    return Split(tuple(sets["train"]), tuple(sets["validation"]), tuple(sets["heldout"]))


def limited(name: str, key: str, items: Sequence[Item], limit: int, seed: int) -> list[Item]:
    """At most ``limit`` items of each part of the set ``key``; :class:`InputError` if that leaves nothing."""
    taken: list[Item] = []
    for part in ("ambiguous", "unambiguous"):
        found = [item for item in items if item.part == part]
        kept = subsample(found, limit, seed=f"{seed}/{key}/{part}")
        if found and not kept:
            least = min(map(len, blocks(found).values()))
            raise InputError(
                f"task {name!r}: a limit of {limit} leaves nothing of the {part} part of the {key} set, whose items"
                f" come {least} or more together: raise the limit (--limit) to at least {least}"
            )
        taken += kept
    return taken


# Items a group should have at least in a subsample, and groups that a small one has all the same.
_EACH = 8
_GROUPS = 10


def _of_few_groups(items: Sequence[Item], limit: int, seed: int | str) -> Sequence[Item]:
    """The items of some of the groups: no more groups than ``limit`` items can serve.

    Items of several groups are all kept: each already serves more than one, and pairs interlock.
    """
    if any(len(set(item.groups)) > 1 for item in items):
        return items
    names = sorted({item.groups[0] for item in items})
    random.Random(f"{seed}/groups").shuffle(names)
    place = {name: number for number, name in enumerate(names)}
    ranks = [place[item.groups[0]] for item in items]
    last = max(math.ceil(limit / _EACH) - 1, min(_GROUPS, limit) - 1, sorted(ranks)[limit - 1])
    return [item for item, rank in zip(items, ranks, strict=True) if rank <= last]


def subsample(items: Sequence[Item], limit: int, *, seed: int | str) -> list[Item]:
    """At most ``limit`` items of as many groups as can have some eight each, every one as often as the others;
    groups that share items are all kept.

    Few groups with many items each, since what is measured is a group's mean: over two or three items chance alone
    would look like bias.

    Items with the same groups and template are taken together or not at all, so that what is
    counterbalanced within them (genders, order) stays so. The original order is kept.
    """
    if limit >= len(items):
        return list(items)
    items = _of_few_groups(items, limit, seed)
    members = blocks(items)
    keys = sorted(members)
    random.Random(str(seed)).shuffle(keys)
    waiting: dict[str, dict[tuple[str, ...], None]] = defaultdict(dict)
    for key in keys:
        for group in key[:-1]:
            waiting[group][key] = None
    taken: list[int] = []
    uses: Counter[str] = Counter()
    worded: Counter[str] = Counter()
    smallest = min(len(block) for block in members.values())
    while any(waiting.values()) and limit - len(taken) >= smallest:
        group = min((g for g in waiting if waiting[g]), key=uses.__getitem__)
        # The group's turn; its least used wording with the partner that is least used.
        key = min(waiting[group], key=lambda k: (worded[k[-1]], max(uses[g] for g in k[:-1])))
        for member in key[:-1]:
            del waiting[member][key]
        if len(taken) + len(members[key]) <= limit:
            taken += members[key]
            uses.update(key[:-1])
            worded[key[-1]] += 1
    return [items[index] for index in sorted(taken)]


def blocks(items: Sequence[Item]) -> dict[tuple[str, ...], list[int]]:
    """Groups and template -> the indices of the items that are counterbalanced, and so taken, together."""
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        found[(*sorted(set(item.groups)), item.template)].append(index)
    return found
