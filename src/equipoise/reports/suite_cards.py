"""Public suites on the page: for each one every number, at every stop of the dial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..metrics import Estimate
from . import wording
from .curves import TaskView, label_of
from .readings import strength_of
from .results import Results, Run

Told = tuple[str, str]
"""A number and what stands below it."""


@dataclass(frozen=True)
class SuiteRow:
    """One metric: ``unbiased`` is the value of an unbiased model, a dash where more or less is simply better."""

    metric: str
    unbiased: str
    base: Told | None
    now: Told | None
    change: Told | None


@dataclass(frozen=True)
class SuiteSetting:
    """All metrics at one stop of the dial, whose ``key`` it has; ``label`` is empty for the base model."""

    key: str
    label: str
    rows: tuple[SuiteRow, ...]


@dataclass(frozen=True)
class SuiteCard:
    """One suite; ``n`` counts what was asked."""

    name: str
    about: str
    n: int
    settings: tuple[SuiteSetting, ...]


def suite_card(results: Results, view: TaskView) -> SuiteCard:
    """What one suite measured."""
    about = str(results.extra.get("tasks", {}).get(view.task, ""))
    n = view.base.n if view.base is not None else max(run.n for _, run in view.runs)
    return SuiteCard(view.task, about, n, tuple(_setting(key, run, view.base) for key, run in view.runs))


def _setting(key: str, run: Run, base: Run | None) -> SuiteSetting:
    ideals, p_values = (_mapping(run, name) for name in ("ideals", "p_values"))
    label = "" if run.mitigation is None else f"{label_of(run)} at λ = {strength_of(run)}"
    rows = []
    for name, estimate in run.metrics.items():
        kind = wording.metric(name).kind
        ideal = ideals.get(name)
        before = None if base is None else base.metrics.get(name)
        change = _told(run.changes.get(name), kind)
        p = p_values.get(name)
        if change is not None and isinstance(p, int | float):
            change = (
                change[0],
                f"{change[1]}; p {'< 0.001' if p < 0.001 else f'= {p:.2g}'}".removeprefix("; "),
            )
        rows.append(
            SuiteRow(
                " · ".join(wording.metric(part).label for part in name.split(".")),
                "–" if not isinstance(ideal, int | float) else wording.number(ideal, kind),
                _told(before, kind),
                _told(estimate, kind),
                change,
            )
        )
    return SuiteSetting(key, label, tuple(rows))


def _mapping(run: Run, name: str) -> Mapping[str, Any]:
    found = run.extra.get(name)
    return found if isinstance(found, Mapping) else {}


def _told(estimate: Estimate | None, kind: wording.Kind) -> Told | None:
    if estimate is None or not wording.is_known(estimate):
        return None
    return wording.number(estimate.value, kind), wording.interval(estimate, kind)
