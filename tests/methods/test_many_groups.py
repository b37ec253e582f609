"""Shares other than equal ones, more than two groups, and two attributes at once."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from methods.samples import GROUPS, TEXT, TinyTask, quick
from tiny import tiny

from equipoise.errors import InputError
from equipoise.interventions import attach
from equipoise.methods import dso
from equipoise.methods.dso.contrasts import parity
from equipoise.metrics import Bootstrap, Responses, per_group_bias, per_occupation_bias
from equipoise.models import LoadedModel
from equipoise.scoring import responses, score_options
from equipoise.tasks import Item, LabourPronouns, People, Pronouns, Task, fingerprint, load_task, occupations


def bias(loaded: LoadedModel, task: Task) -> float:
    items = [item for item in task.items() if item.part == "ambiguous"]
    found = per_occupation_bias(responses(score_options(loaded, items), items, task.outcomes))
    assert found is not None
    return found


def test_bias_is_the_distance_from_each_items_own_target() -> None:
    shares = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.3, 0.7]])
    groups, templates = [("a",), ("a",), ("b",), ("b",)], ["x", "y", "x", "y"]
    met = Responses(shares, ("pro", "anti"), [0, 0, 1, 1], groups, templates, shares)
    assert per_occupation_bias(met) == pytest.approx(0)
    plain = Responses(shares, ("pro", "anti"), [0, 0, 1, 1], groups, templates)
    assert per_group_bias(plain) == pytest.approx({"a": 0.8, "b": 0.4})
    # Equal shares as targets are no targets.
    even = Responses(shares, ("pro", "anti"), [0, 0, 1, 1], groups, templates, np.full((4, 2), 0.5))
    assert per_group_bias(even) == pytest.approx(per_group_bias(plain))
    assert per_group_bias(met.take([0, 2])) == pytest.approx({"a": 0, "b": 0})
    with pytest.raises(ValueError, match="each row sums to 1"):
        Responses(shares, ("pro", "anti"), [0, 0, 1, 1], groups, templates, shares / 2)


def test_intervals_near_a_target_reach_down_to_zero() -> None:
    generator = np.random.default_rng(0)
    names = [f"o{n}" for n in range(12) for _ in range(8)]
    wanted = np.repeat(generator.uniform(0.6, 0.95, 12), 8)
    pro = np.clip(wanted + 0.05 * generator.standard_normal(len(names)), 0, 1)
    table, fair = np.stack([pro, 1 - pro], 1), np.stack([wanted, 1 - wanted], 1)
    found = Responses(
        table,
        ("pro", "anti"),
        np.zeros(len(names), int),
        [(n,) for n in names],
        [f"t{i % 8}" for i in range(96)],
        fair,
    )
    estimate = Bootstrap.over(found).estimate(per_occupation_bias, found)
    assert estimate.low == 0 and estimate.value < 0.06
    assert per_occupation_bias(replaced(found)) > 0.4


def replaced(found: Responses) -> Responses:
    return Responses(found.probabilities, found.outcomes, found.greedy, found.groups, found.templates)


def test_labour_shares_of_the_built_in_occupations() -> None:
    items = LabourPronouns().items()
    women = {one.name: one.percent_women for one in occupations()}
    for item, plain in zip(items, Pronouns().items(), strict=True):
        assert replace(item, target=None) == plain
        if item.part == "ambiguous":
            female = "pro" if women[item.groups[0]] > 50 else "anti"
            assert item.target is not None
            assert item.target[female] == pytest.approx(np.clip(women[item.groups[0]] / 100, 0.01, 0.99))
    # A target changes the data; items without one are what they were before there were any.
    assert fingerprint(items) != fingerprint(Pronouns().items())


@pytest.mark.parametrize(
    "target", [{"pro": 0.5}, {"pro": 0.7, "anti": 0.7}, {"pro": 1.0, "anti": 0.0}, {"pro": 0.5, "other": 0.5}]
)
def test_a_target_must_fit_its_item(target: dict[str, float]) -> None:
    with pytest.raises(InputError, match="a target gives each outcome"):
        Item("x", "The", (" he", " she"), ("pro", "anti"), "ambiguous", None, ("g",), "t", target=target)


def test_the_contrast_is_zero_exactly_at_the_target() -> None:
    shares = {"a": 0.6, "b": 0.3, "c": 0.1}
    item = Item(
        "x", "The", (" he", " she", " it"), ("a", "b", "c"), "ambiguous", None, ("g",), "t", target=shares
    )
    at = torch.tensor([[0.6, 0.3, 0.1]]).log() - 3
    found = parity([item], ("a", "b", "c"))(at, torch.tensor([0]))
    assert [float(z) for z in found] == pytest.approx([0, 0], abs=1e-6)
    even = parity([replace(item, target=None)], ("a", "b", "c"))(at, torch.tensor([0]))
    assert [float(z) for z in even] == pytest.approx([np.log(6), np.log(3)], abs=1e-5)
    # Beside a task's target an item's own is the one that counts, and it can't fill what the task's leaves out.
    beside = parity([item], ("a", "b", "c"), (0.2, 0.2, 0.6))(at, torch.tensor([0]))
    assert [float(z) for z in beside] == pytest.approx([0, 0], abs=1e-6)
    with pytest.raises(InputError, match="give one of them"):
        parity([item], ("a", "b", "c"), (0.0, 0.5, 0.5))


class Tilted(TinyTask):
    """Three answers in four should be pro."""

    name = "tilted"

    def items(self) -> Sequence[Item]:
        shares = {"pro": 0.75, "anti": 0.25}
        return [
            replace(item, target=shares) if item.part == "ambiguous" else item for item in super().items()
        ]


def test_dso_moves_answers_to_the_shares_that_are_wanted() -> None:
    loaded = tiny("Llama", 0)
    before = bias(loaded, Tilted())
    found = {}
    for task in (Tilted(), TinyTask()):
        with attach(loaded, dso.fit(loaded, task, settings=quick(), text=TEXT)):
            found[task.name] = bias(loaded, Tilted())
    assert found["tilted"] < 0.8 * before
    # A fit towards parity, at the same price, does not get there.
    assert found["tiny"] > found["tilted"]


def test_the_papers_objective_knows_equal_shares_alone() -> None:
    with pytest.raises(InputError, match="the objective paper is for equal ones"):
        dso.fit(tiny("Llama", 0), Tilted(), settings=quick(objective="paper"), text=TEXT)


def test_people_are_the_same_answers_read_in_three_ways() -> None:
    both, gender, race = (load_task(name).items() for name in ("people", "people-gender", "people-race"))
    for joint, by_gender, by_race in zip(both, gender, race, strict=True):
        assert joint.options == by_gender.options == by_race.options
        for option, outcome, one, other in zip(
            joint.options, joint.outcomes, by_gender.outcomes, by_race.outcomes, strict=True
        ):
            assert outcome == f"{other} {one}" and option.endswith(f" {outcome}")
    assert len(People().outcomes) == 6 and {item.options[0] for item in both[:6]} != {both[0].options[0]}
    split = People().split(0, 48)
    assert not {i.groups for i in split.train} & {i.groups for i in split.heldout} and len(GROUPS) > 4
