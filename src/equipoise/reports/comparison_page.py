"""The page and the figure of a comparison."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from . import canvas, comparison_plots, comparison_tables, wording
from .comparison import Comparison
from .curves import TaskView, task_views
from .results import Results


def comparison_page(results: Results, comparison: Comparison) -> dict[str, Any]:
    """What the template ``comparison.html`` shows beyond what every page does."""
    view = _view(results, comparison)
    advice = results.recommendation
    return {
        "comparison": comparison,
        "headline": headline(results, comparison, view),
        "taken": None if advice is None else advice.mitigation,
        "about": comparison_tables.about(comparison),
        "colours": len(canvas.SERIES),
        "glyphs": canvas.GLYPHS,
        "ranked": [
            (budget, comparison_tables.ranked(comparison, place))
            for place, budget in enumerate(comparison.budgets)
        ],
        "columns": comparison_tables.RANKED_COLUMNS,
    }


def figure_comparison(results: Results | Mapping[str, Any], form: str = "svg") -> bytes:
    """All curves of a comparison in one picture, ``svg`` or ``png``. Raises InputError for an audit's results."""
    typed = results if isinstance(results, Results) else Results.from_dict(results)
    comparison = Comparison.of(typed)
    if comparison is None:
        raise InputError("these results hold no comparison: make some with `equipoise compare`")
    view = _view(typed, comparison)
    title = "\n".join(textwrap.wrap(headline(typed, comparison, view), 100))
    return canvas.image(comparison_plots.comparison_figure(view, comparison, title), form)


def headline(results: Results, comparison: Comparison, view: TaskView) -> str:
    """The outcome in one sentence."""
    model, advice = wording.model_name(results), results.recommendation
    before = wording.bias_of(view.base)
    count = len(comparison.mitigations)
    start = (
        f"{count} ways to lower the bias of {model}" if count > 1 else f"One way to lower the bias of {model}"
    )
    if advice is None or advice.mitigation is None or before is None:
        return f"{start}, and none stands out."
    taken = next(one for one in comparison.mitigations if one.name == advice.mitigation)
    at = next((at for at in taken.at if at.budget == advice.budgets.get("kl")), None)
    if at is None or at.bias is None:
        return f"{start}."
    return (
        f"{start}: {taken.name} takes it from {wording.points(before.value)} to {wording.points(at.bias.value)} points"
        f" at a KL of at most {at.budget:g} nats a token."
    )


def _view(results: Results, comparison: Comparison) -> TaskView:
    return next(view for view in task_views(results) if view.task == comparison.task)
