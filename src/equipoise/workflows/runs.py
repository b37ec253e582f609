"""From what was measured to runs, and to what a recommendation looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..methods.mitigation import Mitigation
from ..metrics import OperatingPoint, best_baseline, degenerate, has_fair_class
from ..models import LoadedModel
from ..reports import Run, write_estimate
from .estimates import Intervals, Measured
from .measure import Asked, PlainText
from .progress import Report


@dataclass(frozen=True)
class Setting:
    """A mitigation's name (None: the base model), the kept share of its entries (None: all) and λ."""

    mitigation: str | None
    keep: float | None
    strength: float


BASE = Setting(None, None, 0.0)


@dataclass(frozen=True, eq=False)
class Contender:
    """One mitigation under its name: a value for each seed, and how to call its file in results."""

    name: str
    mitigations: Mapping[int, Mitigation]
    file: str | None = None

    @property
    def dial(self) -> bool:
        """Whether its strength can be chosen."""
        return any(mitigation.dial for mitigation in self.mitigations.values())

    def strengths(self, wanted: Sequence[float]) -> tuple[float, ...]:
        """Those of ``wanted`` that differ from the base model; without a dial one stands for all: on."""
        above = tuple(strength for strength in wanted if strength > 0)
        return above if self.dial else (1.0,) * bool(above)

    def distinct(self) -> list[tuple[Mitigation, tuple[int, ...]]]:
        """Each value once, with the seeds that it serves."""
        values = {id(value): value for value in self.mitigations.values()}
        return [
            (value, tuple(seed for seed, own in self.mitigations.items() if id(own) == key))
            for key, value in values.items()
        ]


@dataclass(frozen=True, eq=False)
class Subject:
    """What is measured, and with what; everything in it is checked. ``asked`` has an entry a task."""

    loaded: LoadedModel
    asked: tuple[Asked, ...]
    text: PlainText
    seeds: tuple[int, ...]
    contenders: tuple[Contender, ...]

    def contender(self, name: str) -> Contender:
        """The contender of this name."""
        return next(one for one in self.contenders if one.name == name)


def make_runs(
    subject: Subject,
    measured: Mapping[Setting, Sequence[Measured]],
    intervals: Sequence[Intervals],
    report: Report,
) -> tuple[list[Run], list[OperatingPoint]]:
    """The runs in order of task and setting, and what the recommendation looks at.

    Args:
        subject: what was measured.
        measured: for each setting, the base model's among them, one entry a task.
        intervals: one entry a task.
        report: called with the fraction done.
    """
    runs: list[Run] = []
    summaries: dict[Setting, list[Run]] = {setting: [] for setting in measured}
    several = len(subject.seeds) > 1
    total = len(subject.asked) * len(measured)
    for number, (asked, draws) in enumerate(zip(subject.asked, intervals, strict=True)):
        task = asked.questions.task.name
        for done, (setting, of_tasks) in enumerate(measured.items(), number * len(measured)):
            report(done / total, "computing intervals")
            base, now = measured[BASE][number], of_tasks[number]
            before = _before(setting, measured, number)
            alone = None if several else subject.seeds[0]
            summary = _run(subject, task, setting, alone, (now, base, before), draws)
            runs.append(summary)
            summaries[setting].append(summary)
            for index, seed in enumerate(subject.seeds if several else ()):
                parts = tuple(None if m is None else _one(m, index) for m in (now, base, before))
                assert parts[0] is not None and parts[1] is not None
                runs.append(_run(subject, task, setting, seed, (parts[0], parts[1], parts[2]), draws))
    points = [
        _point(setting.strength, of_tasks)
        for setting, of_tasks in summaries.items()
        if setting.keep is None and of_tasks
    ]
    return runs, points


def _before(setting: Setting, measured: Mapping[Setting, Sequence[Measured]], number: int) -> Measured | None:
    """The same at the next lower strength; None for the base model."""
    if setting == BASE:
        return None
    lower = [
        other
        for other in measured
        if (other.mitigation, other.keep) == (setting.mitigation, setting.keep)
        and other.strength < setting.strength
    ]
    nearest = max(lower, key=lambda other: other.strength, default=BASE)
    return measured[nearest][number]


def _one(measured: Measured, index: int) -> Measured:
    """One seed of several."""
    return Measured((measured.answers[index],), (measured.texts[index],))


def _run(
    subject: Subject,
    task: str,
    setting: Setting,
    seed: int | None,
    measured: tuple[Measured, Measured, Measured | None],
    intervals: Intervals,
) -> Run:
    now, base, before = measured
    is_base = setting.mitigation is None
    contender = None if setting.mitigation is None else subject.contender(setting.mitigation)
    strata = intervals.strata(
        now, next(one.questions.task.strata() for one in subject.asked if one.questions.task.name == task)
    )
    extra: dict[str, Any] = {}
    if len(strata) > 1:
        extra["strata"] = {name: write_estimate(estimate) for name, estimate in strata.items()}
    if has_fair_class(now.responses[0]):
        extra["degenerate"] = any(map(degenerate, now.responses))
    if before is not None:
        extra["step"] = {"per_occupation_bias": intervals.bias_change(now, before).as_dict()}
    return Run(
        task=task,
        mitigation=setting.mitigation,
        strength=setting.strength if contender is None or contender.dial else None,
        n=now.n,
        metrics=intervals.metrics(now, base),
        groups=intervals.groups(now),
        file=None if contender is None else contender.file,
        keep=setting.keep,
        seed=seed,
        changes={} if is_base else intervals.changes(now, base),
        baseline=best_baseline(now.judged),
        extra=extra,
    )


def _point(strength: float, runs: Sequence[Run]) -> OperatingPoint:
    biases = {run.task: run.metrics["per_occupation_bias"] for run in runs}
    first = runs[0].metrics
    return OperatingPoint(
        strength=strength,
        bias={task: estimate for task, estimate in biases.items() if estimate is not None},
        kl=first["kl_to_base"],
        accuracy={run.task: run.metrics["unambiguous_accuracy"] for run in runs},
        perplexity_ratio=first["perplexity_ratio"],
    )
