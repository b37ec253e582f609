"""The audit in the terminal: one compact table a task."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..metrics import Estimate
from . import wording
from .curves import TaskView, label_of, task_views
from .readings import strength_of
from .results import Results, Run
from .suite_tables import suite_tables
from .terminal import plain_table

# What a terminal has room for; the page shows everything.
_COLUMNS = (
    "per_occupation_bias",
    "greedy_per_occupation_bias",
    "stereotype_gap",
    "fairness",
    "attribute_kl",
    "unambiguous_accuracy",
    "abstention_rate",
    "kl_to_base",
    "perplexity",
)


def audit_tables(results: Results) -> Group:
    """A table for each task and suite, and the recommendation below them; print it with a rich ``Console``."""
    views = task_views(results)
    parts: list[Table | Padding] = [_table(results, view) for view in views]
    parts += suite_tables(results)
    if results.recommendation is not None:
        parts.append(Padding(_recommendation(results), (1, 0)))
    return Group(*parts)


def _table(results: Results, view: TaskView) -> Table:
    """One row a strength; under each number, dimmed, its interval. Unmeasured columns are left out."""
    runs = view.runs
    metrics = [metric for metric in wording.metrics_in(run for _, run in runs) if metric.key in _COLUMNS]
    table = plain_table(f"{view.task}: {wording.model_name(results)}", _caption(results, view, metrics))
    several = len(view.curves) > 1
    if several:
        table.add_column("mitigation", overflow="fold")
    table.add_column("λ", justify="right", no_wrap=True, min_width=5)
    for metric in metrics:
        table.add_column(Text(metric.short), justify="right", no_wrap=True)
    for key, run in runs:
        chosen = key == view.chosen_key
        cells = [Text(label_of(run))] if several else []
        lam = strength_of(run)
        cells.append(Text(f"▸ {lam}" if chosen else lam))
        cells += [_cell(run.metrics.get(metric.key), metric.kind) for metric in metrics]
        table.add_row(*cells, style="bold" if chosen else None)
    return table


def _recommendation(results: Results) -> Text:
    """The recommended strength and the reason, or that there is none."""
    advice = results.recommendation
    if advice is None:
        return Text("")
    if all(view.chosen is None for view in task_views(results)):
        return Text.assemble(("No strength is recommended. ", "bold yellow"), advice.reason)
    lam = "" if advice.strength is None else f" at λ = {advice.strength:g}"
    if (keep := advice.extra.get("keep")) is not None:
        lam += f", its strongest {100 * keep:g} % alone"
    return Text.assemble((f"Use {advice.mitigation or 'the base model'}{lam}. ", "bold green"), advice.reason)


def _cell(estimate: Estimate | None, kind: wording.Kind) -> Text:
    if estimate is None or not wording.is_known(estimate):
        return Text("–", style="dim")
    text = Text(wording.number(estimate.value, kind))
    if wording.has_interval(estimate):
        low, high = wording.number(estimate.low, kind), wording.number(estimate.high, kind)
        text.append(f"\n{low}…{high}", style="dim not bold")
    return text


def _caption(results: Results, view: TaskView, metrics: Sequence[wording.Metric]) -> str:
    base = view.base or (view.runs[0][1] if view.runs else None)
    notes = [f"{wording.units(metrics)}."]
    trivial = None if base is None else base.metrics.get("trivial_accuracy")
    if base is not None and trivial is not None and wording.is_known(trivial):
        name = f" ({base.baseline})" if base.baseline else ""
        notes.append(f"Best trivial accuracy{name}: {wording.number(trivial.value, 'percent')}.")
    notes.append(f"{_amount(base)}, {_seeds(results)}; intervals hold {100 * results.level:g} %.")
    return " ".join(notes)


def _amount(run: Run | None) -> str:
    return "no items" if run is None else f"{run.n} items"


def _seeds(results: Results) -> str:
    count = len(results.seeds)
    return f"seed {results.seeds[0]}" if count == 1 else f"{count} seeds"
