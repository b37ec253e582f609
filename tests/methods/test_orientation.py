"""What counts as the stereotype: the task's word, what its target leaves no share, or the model's own lean."""

from dataclasses import replace

import pytest
from methods.samples import TEXT, TinyTask
from tiny import tiny

from equipoise.errors import InputError
from equipoise.methods.caa import CaaSettings, fit
from equipoise.methods.orientation import oriented
from equipoise.scoring import score_options
from equipoise.tasks import Choices, Item


def ambiguous(task: TinyTask) -> list:
    return [item for item in task.items() if item.part == "ambiguous"]


def test_pro_and_anti_stay() -> None:
    task = TinyTask()
    items = ambiguous(task)
    assert oriented(tiny("Llama"), task, items, 0) == items


def test_groups_follow_the_models_lean() -> None:
    loaded, task = tiny("Llama"), TinyTask((" he", " she", " they"), ("a", "b", "c"))
    items = ambiguous(task)
    found = oriented(loaded, task, items, 0)
    p = score_options(loaded, items).probabilities
    for group in dict.fromkeys(item.groups[0] for item in items):
        rows = [k for k, item in enumerate(items) if item.groups == (group,)]
        shares = p[rows] / p[rows].sum(1, keepdims=True)
        said = {items[rows[0]].outcomes[k]: shares[:, k].mean() for k in range(3)}
        favoured = max(said, key=lambda name: said[name])
        for k in rows:
            pro = [o for o, t in zip(items[k].outcomes, found[k].outcomes, strict=True) if t == "pro"]
            assert pro == [favoured] and found[k].prompt == items[k].prompt
    named = {
        o
        for item, now in zip(items, found, strict=True)
        for o, t in zip(item.outcomes, now.outcomes, strict=True)
        if t == "pro"
    }
    assert len(named) > 1  # a lean of each group, not one for all


def test_a_target_without_a_share_is_a_stereotype() -> None:
    task = Choices("first")
    items = list(task.items(0))[:5]
    for before, now in zip(items, oriented(tiny("Llama"), task, items, 0), strict=True):
        assert now.outcomes == tuple("anti" if o == "fair" else "pro" for o in before.outcomes)


def test_an_items_own_target_is_none_of_pro_and_anti() -> None:
    task = TinyTask((" he", " she", " they"), ("a", "b", "c"))
    items = [replace(item, target={"a": 0.2, "b": 0.3, "c": 0.5}) for item in ambiguous(task)]
    for now in oriented(tiny("Llama"), task, items, 0):
        assert set(now.outcomes) == {"pro", "anti"} and now.target is None


class PartTask(TinyTask):
    """Every item offers two of the three outcomes, which two depends on its wording."""

    def __init__(self) -> None:
        super().__init__((" he", " she", " they"), ("a", "b", "c"), clear=False)

    def items(self) -> list[Item]:
        found = []
        for number, item in enumerate(super().items()):
            kept = [k for k in range(3) if k != number % 3]
            options, outcomes = ([values[k] for k in kept] for values in (item.options, item.outcomes))
            found.append(replace(item, options=tuple(options), outcomes=tuple(outcomes)))
        return found


def test_of_items_that_offer_some_outcomes_the_favoured_one_of_these_is_pro() -> None:
    loaded, task = tiny("Llama"), PartTask()
    items = task.items()
    p = score_options(loaded, items).probabilities
    excess = p / p.sum(1, keepdims=True) - 0.5
    for group in dict.fromkeys(item.groups[0] for item in items):
        rows = [k for k, item in enumerate(items) if item.groups == (group,)]
        lean = {
            name: sum(
                said := [excess[k][items[k].outcomes.index(name)] for k in rows if name in items[k].outcomes]
            )
            / len(said)
            for name in task.outcomes
        }
        for k, now in zip(rows, oriented(loaded, task, [items[k] for k in rows], 0), strict=True):
            favoured = max(items[k].outcomes, key=lambda name: lean[name])
            assert now.outcomes == tuple("pro" if o == favoured else "anti" for o in items[k].outcomes)
    assert fit(loaded, task, settings=CaaSettings(layer=1, multiplier=0.1, pairs=20), text=TEXT).edits


def test_an_item_without_a_fair_outcome_is_named() -> None:
    task = Choices("first")
    item = next(iter(task.items(0)))
    alone = replace(item, options=(" x", " y"), outcomes=task.outcomes[1:])
    with pytest.raises(InputError, match="the task's target gives none of these a share"):
        oriented(tiny("Llama"), task, [alone], 0)
