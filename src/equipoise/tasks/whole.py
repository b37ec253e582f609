"""``whole:TASK``: every item of a task as a suite, for interventions that were fitted on something else."""

from collections.abc import Sequence

import numpy as np

from ..metrics import (
    UNANSWERED,
    Judgements,
    Responses,
    accuracy,
    per_occupation_bias,
    stereotype_gap,
)
from .item import Item, target_shares
from .suite import ClosedSuite, Evidence, Reading, Readings
from .task import Task


class Whole(ClosedSuite):
    """All items of ``task``; an intervention fitted on the same task has seen part of them."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.name = task.name
        self.about = f"{task.summary()} (every item)"

    def items(self) -> Sequence[Item]:
        """The task's."""
        return self.task.items()

    def stratum(self, item: Item) -> str:
        """The part."""
        return item.part

    def readings(self, items: Sequence[Item], evidence: Evidence) -> Readings:
        """Per-occupation bias, the stereotype gap of two-way tasks, unambiguous accuracy, and the set's own metrics."""
        open_ = np.array([item.part == "ambiguous" for item in items])
        found: dict[str, Reading] = {}
        if open_.any():
            answers = _responses(items, evidence, self.task).take(open_)
            found["per_occupation_bias"] = Reading(per_occupation_bias, answers, self.task.axis, 0.0)
            if {"pro", "anti"} <= set(self.task.outcomes):
                ideal = 0.0 if answers.targets is None else None
                found["stereotype_gap"] = Reading(stereotype_gap, answers, self.task.axis, ideal)
        if not open_.all():
            told = [row for row in range(len(items)) if not open_[row]]
            right = [evidence.logp[row].argmax() == items[row].answer for row in told]
            judged = Judgements(
                right, [items[row].groups for row in told], [items[row].template for row in told]
            )
            found["unambiguous_accuracy"] = Reading(accuracy, judged)
        return {**found, **self.task.readings(items, evidence)}


def _responses(items: Sequence[Item], evidence: Evidence, task: Task) -> Responses:
    outcomes = task.outcomes
    table = np.zeros((len(items), len(outcomes)))
    # Whole texts are improbable beyond what a float can hold; only what is given an answer counts here.
    best_logp = np.maximum(evidence.logp.max(1, keepdims=True), np.finfo(float).min)
    probable = np.exp(evidence.logp - best_logp)
    probable /= np.maximum(probable.sum(1, keepdims=True), 1.0)
    for row, item in enumerate(items):
        for option, outcome in enumerate(item.outcomes):
            table[row, outcomes.index(outcome)] += probable[row, option]
    best = [
        outcomes.index(item.outcomes[option])
        for item, option in zip(items, evidence.logp.argmax(1), strict=True)
    ]
    answered = evidence.logp.max(1) > -np.inf
    return Responses(
        np.where(answered[:, None], table, 0.0),
        tuple(outcomes),
        np.where(answered, best, UNANSWERED),
        [item.groups for item in items],
        [item.template for item in items],
        target_shares(items, outcomes, task.target),
    )
