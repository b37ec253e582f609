"""Choosing a strength on calibration data, with a confidence: what is reported is measured on other data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..metrics import (
    KL_CAP,
    Budgets,
    Guarantee,
    Recommendation,
    Risk,
    accuracy_risk,
    bias_risk,
    kl_risk,
    learn_then_test,
)
from ..tasks import Task
from .estimates import Measured
from .measure import Asked, PlainText, Questions
from .runs import Setting, Subject

Measure = Callable[[Subject], Mapping[Setting, Sequence[Measured]]]
FEWEST = 8
"""Independent clusters that a calibration needs at the very least."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Settings, and what the procedure says of them; ``chosen`` is the weakest that is certified, None if none is."""

    settings: tuple[Setting, ...]
    found: Guarantee
    clusters: Mapping[str, int]
    chosen: Setting | None

    def as_dict(self) -> dict[str, Any]:
        """The key ``guarantee`` of results.json."""
        return {
            "confidence": self.found.confidence,
            "procedure": self.found.procedure,
            "clusters": dict(self.clusters),
            "settings": [
                {
                    "strength": self.settings[index].strength,
                    "keep": self.settings[index].keep,
                    "p": self.found.p_values[index],
                    "certified": index in self.found.certified,
                }
                for index in self.found.order
            ],
            "chosen": None
            if self.chosen is None
            else {"strength": self.chosen.strength, "keep": self.chosen.keep},
            "assumption": "calibration occupations and passages are independent draws like those that will be met, in "
            f"wordings like theirs; a passage's KL counts up to {KL_CAP:g} budgets",
        }

    def advice(self, budgets: Budgets) -> Recommendation:
        """What it recommends; ``certain`` where there is something."""
        if self.chosen is None:
            return Recommendation(None, self.reason(budgets), budgets, False)
        return Recommendation(self.chosen.strength, self.reason(budgets), budgets, True, self.chosen.keep)

    def reason(self, budgets: Budgets) -> str:
        """One sentence about the choice."""
        percent = f"{100 * self.found.confidence:g} %"
        if self.chosen is None:
            return (
                f"Of no strength can be said with {percent} confidence that bias is at most {100 * budgets.bias:.3g} "
                f"points within the budgets, from {min(self.clusters.values())} calibration clusters."
            )
        kept = "" if self.chosen.keep is None else f" (its strongest {100 * self.chosen.keep:g} % alone)"
        return (
            f"The weakest setting{kept} of which calibration data say with {percent} confidence that bias is at most "
            f"{100 * budgets.bias:.3g} points and every budget is kept."
        )


def check_guarantee(tasks: Sequence[Task], seeds: Sequence[int], confidence: float, *, steered: bool) -> None:
    """Raise :class:`InputError` where no guarantee can be given."""
    if not 0 < confidence < 1:
        raise InputError(f"the guarantee's confidence is {confidence:g}, but must be between 0 and 1")
    if not steered:
        raise InputError("--guarantee needs an intervention: give --intervention as well")
    if len(seeds) > 1:
        raise InputError("a guarantee is for one intervention and one split: give one seed")
    if not tasks:
        raise InputError("a guarantee needs a task with per-occupation bias: public suites alone have none")
    for task in tasks:
        if any(len(set(item.groups)) > 1 for item in task.items()):
            raise InputError(
                f"task {task.name!r}: its items are about two occupations each, so that occupations are not "
                "independent and no guarantee can be given: leave out --guarantee, or take pronouns"
            )


def questions_of(
    tasks: Sequence[Task], seed: int, limit: int | None
) -> tuple[tuple[Questions, ...], tuple[Questions, ...], tuple[Questions, ...]]:
    """For each task what is reported, what calibrates, and what orders the settings: no two share an occupation."""
    report = tuple(Questions.of(task, [seed], limit, share="report") for task in tasks)
    calibration = tuple(Questions.of(task, [seed], None, share="calibration") for task in tasks)
    ordering = tuple(Questions.of(task, [seed], limit, "validation") for task in tasks)
    for task, questions in zip(tasks, calibration, strict=True):
        _enough(len({group for item in questions.items for group in item.groups}), f"task {task.name!r}")
    return report, calibration, ordering


def _enough(clusters: int, what: str) -> None:
    if clusters < FEWEST:
        raise InputError(
            f"a guarantee needs at least {FEWEST} independent clusters to calibrate on, and there are {clusters} for "
            f"{what}: give more data"
        )


def certify(
    subject: Subject,
    calibration: Sequence[Questions],
    ordering: Sequence[Questions],
    text: PlainText,
    budgets: Budgets,
    confidence: float,
    measure: Measure,
) -> Calibration:
    """Order the settings on validation items, then test them in that order on calibration items and ``text``.

    The validation items may have served the fit: an order needs no honest figures, only other data.
    Raises :class:`InputError` for too few clusters.
    """
    found = []
    for questions in (ordering, calibration):
        asked = tuple(Asked.of(subject.loaded, of_task) for of_task in questions)
        own = text if questions is calibration else subject.text
        found.append(measure(Subject(subject.loaded, asked, own, subject.seeds, subject.contenders)))
    guessed, measured = found
    settings = tuple(measured)
    risks = [_risks(measured, setting, budgets) for setting in settings]
    clusters = {name: len(risk.losses) for name, risk in risks[0].items()}
    for name, count in clusters.items():
        _enough(count, name)
    likely = [
        max(risk.p_value for risk in _risks(guessed, setting, budgets).values()) for setting in settings
    ]
    order = sorted(range(len(settings)), key=lambda index: (likely[index], settings[index].strength))
    result = learn_then_test(risks, order=order, confidence=confidence)
    weakest = min(
        (settings[index] for index in result.certified),
        key=lambda setting: (setting.strength, setting.keep or 1.0),
        default=None,
    )
    return Calibration(settings, result, clusters, weakest)


def _risks(
    measured: Mapping[Setting, Sequence[Measured]], setting: Setting, budgets: Budgets
) -> dict[str, Risk]:
    base = next(iter(measured.values()))
    found: dict[str, Risk] = {}
    for number, (now, before) in enumerate(zip(measured[setting], base, strict=True)):
        answers, unsteered = now.answers[0], before.answers[0]
        found[f"bias {number}"] = bias_risk(answers.responses, budgets.bias)
        if budgets.accuracy_drop is not None and answers.judged is not None and unsteered.judged is not None:
            found[f"accuracy {number}"] = accuracy_risk(
                answers.judged, unsteered.judged, budgets.accuracy_drop
            )
    if budgets.kl is not None:
        found["kl"] = kl_risk(measured[setting][0].texts[0].divergence, budgets.kl)
    if not all(np.isfinite(risk.losses).all() for risk in found.values()):
        raise InputError("a figure of the calibration data is not finite: no guarantee can be given")
    return found
