"""What a mitigation does to what it was not fitted for: a matrix of changes, corrected for many tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..metrics import Estimate, holm
from ..reports import Run, write_estimate
from ..tasks import ALL, axes_in

# What no model can move is no test.
_FIXED = ("trivial_accuracy",)


def side_effects(runs: Sequence[Run], targeted: Sequence[str], level: float) -> dict[str, Any]:
    """The key ``side_effects`` of results.json from suites' runs; nothing without an intervention.

    A cell is a metric of a suite at one setting: the base model's number, the steered model's, their paired change and
    its p-value. p-values of everything that is not targeted (other axes, capability) are corrected together, over all
    suites and settings, by Holm's method; a cell whose corrected p-value lies below 1 − ``level`` has moved, and a
    warning says so. Targeted axes, those that cross one (gender and race), and figures of all
    axes together, are shown with their own p-value and never warned of.
    """
    summaries = [run for run in runs if run.mitigation is not None]
    # With several seeds the mean stands for them.
    if any(run.seed is None for run in summaries):
        summaries = [run for run in summaries if run.seed is None]
    if not summaries:
        return {}
    # The seeds' mean comes last, and stands where there is one.
    bases = {
        run.task: run for run in sorted(runs, key=lambda run: run.seed is None) if run.mitigation is None
    }
    cells = [_cell(run, bases[run.task], name, targeted) for run in summaries for name in run.metrics]
    tested = [
        cell
        for cell in cells
        # Too few clusters give no p-value: what wasn't tested isn't shown to have stayed.
        if cell["p"] is not None
        and not cell["targeted"]
        and cell["axis"] != ALL
        and cell["metric"].partition(".")[0] not in _FIXED
    ]
    adjusted = holm([cell["p"] for cell in tested])
    for cell, value in zip(tested, adjusted, strict=True):
        cell["p_adjusted"] = float(value)
        cell["moved"] = bool(value < 1 - level)
    return {
        "side_effects": {
            "targeted": list(targeted),
            "correction": "holm",
            "tests": len(tested),
            "cells": cells,
            "warnings": [_warning(cell) for cell in tested if cell["moved"]],
        }
    }


def _cell(run: Run, base: Run, name: str, targeted: Sequence[str]) -> dict[str, Any]:
    axis = run.extra["axes"][name]
    return {
        "task": run.task,
        "metric": name,
        "axis": axis,
        "ideal": run.extra["ideals"][name],
        "mitigation": run.mitigation,
        "keep": run.keep,
        "strength": run.strength,
        "targeted": axis is not None and not set(targeted).isdisjoint((axis, *axes_in(axis))),
        "base": write_estimate(base.metrics.get(name)),
        "now": write_estimate(run.metrics[name]),
        "change": write_estimate(run.changes.get(name)),
        "p": run.extra["p_values"][name],
        "p_adjusted": None,
        "moved": None,
    }


def _warning(cell: dict[str, Any]) -> str:
    about = f"{cell['axis']}, which was not targeted" if cell["axis"] else "capability"
    at = "" if cell["strength"] is None else f" at strength {cell['strength']:g}"
    change = Estimate(
        cell["change"]["value"], cell["change"]["low"], cell["change"]["high"], cell["change"]["n"]
    )
    return (
        f"{cell['mitigation']}{at} moves {about}: {cell['task']} {cell['metric']} changes by {change.value:+.3f} "
        f"({change.low:+.3f} to {change.high:+.3f}; p = {cell['p_adjusted']:.2g}, Holm over all that was not targeted)"
    )
