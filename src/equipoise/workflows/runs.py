"""From what an audit measured to its runs, and to what a recommendation looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..interventions import Intervention
from ..metrics import OperatingPoint, best_baseline
from ..models import LoadedModel
from ..reports import Run
from ..scoring import EncodedItem
from .estimates import Intervals, Measured
from .measure import Heldout, PlainText
from .progress import Report


@dataclass(frozen=True)
class Setting:
    """One mitigation setting: the kept share of its entries (None: all) and λ."""

    keep: float | None
    strength: float


BASE = Setting(None, 0.0)


@dataclass(frozen=True, eq=False)
class Subject:
    """What an audit is about; everything in it is checked. ``encoded`` has each task's items as tokens."""

    loaded: LoadedModel
    heldout: tuple[Heldout, ...]
    encoded: tuple[Sequence[EncodedItem], ...]
    text: PlainText
    seeds: tuple[int, ...]
    interventions: Mapping[int, Intervention]
    file: str | None
    settings: tuple[Setting, ...]

    @property
    def mitigation(self) -> str | None:
        """The method's name; None for the base model alone."""
        first = next(iter(self.interventions.values()), None)
        return None if first is None else first.provenance.method


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
    total = len(subject.heldout) * len(measured)
    for number, (heldout, draws) in enumerate(zip(subject.heldout, intervals, strict=True)):
        for done, (setting, of_tasks) in enumerate(measured.items(), number * len(measured)):
            report(done / total, "computing intervals")
            base, now = measured[BASE][number], of_tasks[number]
            before = _before(setting, measured, number)
            alone = None if several else subject.seeds[0]
            summary = _run(subject, heldout, setting, alone, (now, base, before), draws)
            runs.append(summary)
            summaries[setting].append(summary)
            for index, seed in enumerate(subject.seeds if several else ()):
                parts = tuple(None if m is None else _one(m, index) for m in (now, base, before))
                assert parts[0] is not None and parts[1] is not None
                runs.append(_run(subject, heldout, setting, seed, (parts[0], parts[1], parts[2]), draws))
    points = [
        _point(setting.strength, of_tasks) for setting, of_tasks in summaries.items() if setting.keep is None
    ]
    return runs, points


def _before(setting: Setting, measured: Mapping[Setting, Sequence[Measured]], number: int) -> Measured | None:
    """The same at the next lower strength; None for the base model."""
    if setting == BASE:
        return None
    lower = [other for other in measured if other.keep == setting.keep and other.strength < setting.strength]
    nearest = max(lower, key=lambda other: other.strength, default=BASE)
    return measured[nearest][number]


def _one(measured: Measured, index: int) -> Measured:
    """One seed of several."""
    return Measured((measured.answers[index],), (measured.texts[index],))


def _run(
    subject: Subject,
    heldout: Heldout,
    setting: Setting,
    seed: int | None,
    measured: tuple[Measured, Measured, Measured | None],
    intervals: Intervals,
) -> Run:
    now, base, before = measured
    is_base = setting == BASE
    return Run(
        task=heldout.task.name,
        mitigation=None if is_base else subject.mitigation,
        strength=setting.strength,
        n=now.n,
        metrics=intervals.metrics(now, base),
        groups=intervals.groups(now),
        file=None if is_base else subject.file,
        keep=setting.keep,
        seed=seed,
        changes={} if is_base else intervals.changes(now, base),
        baseline=best_baseline(now.judged),
        extra={}
        if before is None
        else {"step": {"per_occupation_bias": intervals.step(now, before).as_dict()}},
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
