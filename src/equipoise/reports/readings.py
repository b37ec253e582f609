"""The numbers as the page writes them: cells, the stops of the dial, the budgets' checks, table rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..metrics import Estimate
from . import wording
from .curves import TaskView, label_of
from .results import Results, Run

# On the dial; the table shows everything.
_READINGS = (
    "per_occupation_bias",
    "greedy_per_occupation_bias",
    "unambiguous_accuracy",
    "abstention_rate",
    "kl_to_base",
    "perplexity",
)


@dataclass(frozen=True)
class Cell:
    """A number with its interval.

    ``base`` is the base model's number, ``change`` the paired difference to it where there is one; ``share`` (of the
    base model's number, in %) is drawn as a bar, None for no bar.
    """

    label: str
    value: str
    unit: str = ""
    interval: str = ""
    base: str = ""
    change: str = ""
    share: float | None = None


@dataclass(frozen=True)
class Setting:
    """One stop of the dial: the readings of every task at one strength of one mitigation."""

    key: str
    label: str
    strength: str
    tasks: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Dial:
    """The settings of one mitigation in order of strength; ``start`` is the position shown first."""

    label: str
    keys: tuple[str, ...]
    strengths: tuple[str, ...]
    start: int


@dataclass(frozen=True)
class Check:
    """One budget at the recommended setting."""

    label: str
    measured: str
    limit: str
    kept: bool


@dataclass(frozen=True)
class Row:
    """One row of the table of all numbers."""

    mitigation: str
    strength: str
    seed: str
    chosen: bool
    cells: tuple[Cell, ...]
    key: str = ""


def settings(views: Sequence[TaskView]) -> tuple[Setting, ...]:
    """Every setting once, with its readings on every task."""
    runs: dict[str, dict[str, Run]] = {}
    for view in views:
        for key, run in view.runs:
            runs.setdefault(key, {})[view.task] = run
    by_task = {view.task: view for view in views}
    found = []
    for key, of_tasks in runs.items():
        first = next(iter(of_tasks.values()))
        cells = ((task, _readings(by_task[task], run)) for task, run in of_tasks.items())
        told = tuple((task, numbers) for task, numbers in cells if numbers)
        found.append(Setting(key, label_of(first), strength_of(first), told))
    return tuple(found)


def dials(views: Sequence[TaskView], start: str) -> tuple[Dial, ...]:
    """A dial for each mitigation, that of the setting ``start`` first."""
    found: dict[str, Dial] = {}
    for curve in (curve for view in views for curve in view.curves):
        strengths = tuple(strength_of(run) for run in curve.points)
        position = curve.keys.index(start) if start in curve.keys else 0
        found.setdefault(curve.label, Dial(curve.label, curve.keys, strengths, position))
    return tuple(sorted(found.values(), key=lambda dial: start not in dial.keys))


def strength_of(run: Run) -> str:
    """λ of a run as text; the base model's is 0."""
    return "0" if run.mitigation is None else wording.strength(run.strength)


def row(run: Run, view: TaskView, metrics: Iterable[wording.Metric], key: str = "") -> Row:
    """The run's row of the table, a dash where there is no number; ``key`` ties it to a stop of the dial."""
    cells = tuple(_cell(metric, run.metrics.get(metric.key)) for metric in metrics)
    seed = "mean" if run.seed is None else str(run.seed)
    return Row(label_of(run), strength_of(run), seed, run is view.chosen, cells, key)


def checks(results: Results, views: Sequence[TaskView]) -> tuple[Check, ...]:
    """What was budgeted and measured at the recommended setting."""
    chosen = [(view, view.chosen) for view in views if view.chosen is not None]
    if results.recommendation is None or not chosen:
        return ()
    budgets, found = results.recommendation.budgets, []

    def check(label: str, value: float | None, budget: str, kind: wording.Kind) -> None:
        limit = budgets.get(budget)
        if limit is not None and value is not None and not math.isnan(value):
            kept = value <= limit + 1e-9
            found.append(Check(label, wording.number(value, kind), wording.number(limit, kind), kept))

    for view, run in chosen:
        suffix = f" · {view.task}" if len(views) > 1 else ""
        check(f"bias, points{suffix}", _value(run, "per_occupation_bias"), "bias", "points")
        before, after = _value(view.base, "unambiguous_accuracy"), _value(run, "unambiguous_accuracy")
        lost = None if before is None or after is None else before - after
        check(f"accuracy lost, points{suffix}", lost, "accuracy_drop", "points")
    check("KL, nats a token", _value(chosen[0][1], "kl_to_base"), "kl", "nats")
    check("perplexity ratio", _value(chosen[0][1], "perplexity_ratio"), "perplexity_ratio", "nats")
    return tuple(found)


def _readings(view: TaskView, run: Run) -> tuple[Cell, ...]:
    base = view.base if view.curves else None  # alone, the base model is compared with nothing
    found = []
    for metric in wording.metrics_in(other for _, other in view.runs):
        if metric.key in _READINGS:
            before = None if base is None else base.metrics.get(metric.key)
            cell = _cell(metric, run.metrics.get(metric.key), before, is_base=run is base)
            found.append(replace(cell, change=_change(metric, run.changes.get(metric.key))))
    return tuple(found)


def _cell(
    metric: wording.Metric, estimate: Estimate | None, base: Estimate | None = None, *, is_base: bool = False
) -> Cell:
    if estimate is None or not wording.is_known(estimate):
        return Cell(metric.label, "–", interval="not measured")
    before = "" if base is None or is_base else wording.number(base.value, metric.kind)
    return Cell(
        metric.label,
        wording.number(estimate.value, metric.kind),
        wording.unit(metric.kind),
        wording.interval(estimate, metric.kind),
        before,
        share=_share(estimate, base) if metric.kind == "points" else None,
    )


def _change(metric: wording.Metric, difference: Estimate | None) -> str:
    if difference is None or not wording.is_known(difference):
        return ""
    value, ends = wording.number(difference.value, metric.kind), wording.interval(difference, metric.kind)
    return f"{value} ({ends})" if ends else value


def _share(estimate: Estimate, base: Estimate | None) -> float | None:
    if base is None or not base.value > 0:
        return None
    return round(100 * min(abs(estimate.value) / base.value, 1.0), 1)


def _value(run: Run | None, name: str) -> float | None:
    estimate = None if run is None else run.metrics.get(name)
    return None if estimate is None else estimate.value
