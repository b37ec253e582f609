"""report.html: the results on one page that needs nothing else, no network and no script to be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import canvas, cards, comparison_plots, plots, readings, wording
from .comparison import Comparison
from .comparison_page import comparison_page
from .curves import TaskView, suite_views, task_views
from .embedded import embedded
from .flat import flat
from .generations import side_by_side
from .occupations import bias_table, occupation_table, strata_table
from .rendering import drawn, template
from .results import Results
from .side_effects import side_effects
from .suite_cards import suite_card


def render_page(results: Results | Mapping[str, Any]) -> str:
    """The page for results (or the content of a results.json), as HTML text.

    Beyond the contract it shows, where given, ``generations``, ``command``, ``versions`` and ``tasks`` (task -> what
    it asks, in a sentence). Raises :class:`~equipoise.errors.InputError` for results of another shape
    than the contract's. Results of a comparison get a page of their own.
    """
    typed = results if isinstance(results, Results) else Results.from_dict(results)
    comparison = Comparison.of(typed)
    if comparison is not None:
        return _render_comparison(typed, comparison)
    views, suites = task_views(typed), suite_views(typed)
    start = next((view.chosen_key for view in views if view.chosen_key), "base")
    # Where suites alone were measured, the dial is theirs.
    dialled = views or suites
    settings = readings.settings(dialled)
    return template("report.html").render(
        **{**_common(typed), "facts": _facts(typed, cards.PLACED | cards.CARDED)},
        headlines=[wording.headline(typed, view) for view in views]
        or [f"{wording.model_name(typed)} on {', '.join(view.task for view in suites)}"],
        steered=any(view.curves for view in dialled),
        advice=typed.recommendation,
        recommended=any(view.chosen is not None for view in views),
        checks=readings.checks(typed, views),
        settings=settings,
        dials=readings.dials(dialled, start),
        start=start if any(setting.key == start for setting in settings) else "base",
        tasks=[_task(typed, view, number, start) for number, view in enumerate(views)],
        generations=[side_by_side(generation) for generation in typed.generations],
        suites=[suite_card(typed, view) for view in suites],
        effects=side_effects(typed.extra.get("side_effects"), dialled),
        data_cards=[(view.task, cards.data_card(typed, view.task)) for view in views],
        text_card=cards.text_card(typed),
        method_cards=cards.method_cards(typed),
        cost=cards.cost_card(typed),
    )


def _render_comparison(results: Results, comparison: Comparison) -> str:
    view = next(view for view in task_views(results) if view.task == comparison.task)
    figures = comparison_plots.comparison_figures(view, comparison)
    return template("comparison.html").render(
        **_common(results),
        **comparison_page(results, comparison),
        task=_numbers(results, view),
        figures=[drawn(figure, f"c{number}") for number, figure in enumerate(figures)],
        settings=[
            (term if term == one.name else f"{one.name}, {term}", flat(facts))
            for one in comparison.mitigations
            for term, facts in one.settings.items()
            if facts
        ],
    )


def _common(results: Results) -> dict[str, Any]:
    """What every page shows."""
    return {
        "results": results,
        "made_by": results.equipoise,
        "model": wording.model_name(results),
        "level": f"{100 * results.level:g}",
        "facts": _facts(results, cards.PLACED),
        "versions": flat(results.extra.get("versions", {})),
        "content": embedded(results.to_dict()),
    }


def figure_tradeoff(
    results: Results | Mapping[str, Any], form: str = "svg", task: str | None = None
) -> bytes:
    """The picture of a trade-off for a README, ``svg`` or ``png``, of the first task or of ``task``."""
    typed = results if isinstance(results, Results) else Results.from_dict(results)
    view = next(view for view in task_views(typed) if task in (None, view.task))
    return canvas.image(plots.readme_figure(typed, view), form)


def _task(results: Results, view: TaskView, number: int, start: str) -> dict[str, Any]:
    budget = results.recommendation.budgets.get("kl") if results.recommendation else None
    figures = []
    if view.curves:
        made = (
            plots.bias_figure(view),
            plots.tradeoff_figure(view, budget),
            plots.accuracy_figure(view),
            plots.kl_figure(view, budget),
        )
        figures = [figure for figure in made if figure is not None]
    made_tables = (strata_table(view, start), occupation_table(view, start), bias_table(view, start))
    tables = [table for table in made_tables if table is not None]
    return {
        **_numbers(results, view),
        "figures": [drawn(figure, f"t{number}f{i}", start) for i, figure in enumerate(figures)],
        "leans": [(table, embedded(table.data)) for table in tables],
    }


def _numbers(results: Results, view: TaskView) -> dict[str, Any]:
    """The table of all numbers of one task, and what the task is."""
    runs = [run for _, run in view.runs]
    metrics = wording.metrics_in(runs)
    by_seed = [run for run in results.runs if run.task == view.task and run.seed is not None]
    return {
        "name": view.task,
        "about": str(results.extra.get("tasks", {}).get(view.task, "")),
        "metrics": metrics,
        "units": wording.units(metrics),
        "rows": [readings.row(run, view, metrics, key) for key, run in view.runs],
        "seeds": [readings.row(run, view, metrics) for run in by_seed] if len(results.seeds) > 1 else [],
        "baseline": view.base.baseline if view.base else None,
        "n": view.base.n if view.base else max((run.n for run in runs), default=0),
    }


def _facts(results: Results, placed: frozenset[str]) -> list[tuple[str, str]]:
    files = dict.fromkeys(run.file for run in results.runs if run.file)
    found = [("equipoise", results.equipoise), *((f"model {k}", v) for k, v in flat(results.model))]
    found += [("intervention", name) for name in files]
    found += [("seeds", ", ".join(map(str, results.seeds))), ("intervals", f"{100 * results.level:g} %")]
    for key, value in results.extra.items():
        if key not in placed:
            found += [(key if not name else f"{key} {name}", text) for name, text in flat(value)]
    return found
