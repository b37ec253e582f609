"""Gender and race at once: one fit on intersections, beside the sum of a fit on each, of a model biased in both."""

from collections.abc import Sequence
from functools import cache
from typing import Literal

import pytest
from methods.planted import trained
from methods.samples import AMBIGUOUS, GROUPS, TEXT, quick

from equipoise.interventions import Intervention, attach
from equipoise.methods import dso
from equipoise.metrics import per_occupation_bias
from equipoise.models import LoadedModel
from equipoise.scoring import responses, score_options
from equipoise.tasks import Item, Task

Attribute = Literal["both", "gender", "race"]
PEOPLE = (("white", "man"), ("white", "woman"), ("Black", "man"), ("Black", "woman"))
OPTIONS = (" uncle", " aunt", " he", " she")
RATE = {"gender": 0.8, "race": 0.75}


class TinyPeople(Task):
    """Who a group's person is, read by gender, by race, or by both: the same four answers."""

    def __init__(self, attribute: Attribute = "both") -> None:
        self.name, self._attribute = f"tiny-{attribute}", attribute
        self.outcomes = tuple(dict.fromkeys(self._outcome(*one) for one in PEOPLE))

    def items(self) -> Sequence[Item]:
        outcomes = tuple(self._outcome(*one) for one in PEOPLE)
        return [
            Item(f"{group}/{t}", text.format(group), OPTIONS, outcomes, "ambiguous", None, (group,), f"t{t}")
            for group in GROUPS
            for t, text in enumerate(AMBIGUOUS)
        ]

    def _outcome(self, race: str, gender: str) -> str:
        return {"both": f"{race} {gender}", "gender": gender, "race": race}[self._attribute]


@cache
def model() -> LoadedModel:
    """Half of the groups are said to be men, and half of these and of the others to be white."""
    items = TinyPeople().items()
    shares = []
    for item in items:
        place = GROUPS.index(item.groups[0])
        man = RATE["gender"] if place % 2 else 1 - RATE["gender"]
        white = RATE["race"] if place // 2 % 2 else 1 - RATE["race"]
        shares.append(
            [
                (white if race == "white" else 1 - white) * (man if gender == "man" else 1 - man)
                for race, gender in PEOPLE
            ]
        )
    return trained(items, shares, steps=80)


@cache
def fitted(attribute: Attribute) -> Intervention:
    return dso.fit(model(), TinyPeople(attribute), settings=quick(steps=4, items=40, kl=0.3), text=TEXT)


def bias(attribute: Attribute) -> float:
    """Of groups and wordings that no fit has seen, with whatever steers now."""
    task = TinyPeople(attribute)
    items = list(task.split(0).heldout)
    found = per_occupation_bias(responses(score_options(model(), items), items, task.outcomes))
    assert found is not None
    return found


def test_both_at_once_and_the_sum_of_two_lower_the_bias_of_each_and_of_their_intersections() -> None:
    base = {name: bias(name) for name in ("both", "gender", "race")}  # type: ignore[arg-type]
    assert base["gender"] > 0.3 and base["race"] > 0.2
    steered = {}
    for name, edit in (
        ("both", fitted("both")),
        ("sum", fitted("gender") + fitted("race")),
        ("gender", fitted("gender")),
    ):
        with attach(model(), edit, 1.0):
            steered[name] = {other: bias(other) for other in base}  # type: ignore[arg-type]
    for name in ("both", "sum"):
        for attribute, before in base.items():
            assert steered[name][attribute] < 0.7 * before, (name, attribute, steered, base)
    # One alone does not do for both.
    assert steered["gender"]["gender"] < 0.7 * base["gender"]
    assert steered["gender"]["race"] > 1.5 * steered["sum"]["race"]


def test_the_sum_is_both_edits_at_once() -> None:
    together = fitted("gender") + fitted("race")
    assert set(together.edits) == set(fitted("gender").edits) | set(fitted("race").edits)
    with attach(model(), fitted("gender"), 1.0), attach(model(), fitted("race"), 1.0):
        apart = bias("both")
    with attach(model(), together, 1.0):
        assert bias("both") == pytest.approx(apart, abs=1e-4)
