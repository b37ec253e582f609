"""Public suites in the terminal: one table a suite, and what was moved that should not have been."""

from __future__ import annotations

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..metrics import Estimate
from . import wording
from .curves import label_of
from .results import Results, Run
from .terminal import plain_table


def suite_tables(results: Results) -> list[Table | Padding]:
    """For each suite its metrics: of the base model, at the strongest setting measured, and the paired change."""
    runs = [run for run in results.runs if run.extra.get("suite") and _summary(run, results)]
    parts: list[Table | Padding] = []
    for name in dict.fromkeys(run.task for run in runs):
        own = [run for run in runs if run.task == name]
        base = next(run for run in own if run.mitigation is None)
        last = max((run for run in own if run.mitigation is not None), key=_strength, default=None)
        parts.append(_table(base, last, results))
    warnings = (results.extra.get("side_effects") or {}).get("warnings", [])
    if warnings:
        parts.append(Padding(Text("\n".join(f"Warning: {text}." for text in warnings), "yellow"), (1, 0)))
    return parts


def _summary(run: Run, results: Results) -> bool:
    return run.seed is None or len(results.seeds) == 1


def _strength(run: Run) -> float:
    return (1.0 if run.strength is None else run.strength) if run.keep is None else -1.0


def _table(base: Run, last: Run | None, results: Results) -> Table:
    table = plain_table(
        f"{base.task}: {wording.model_name(results)}",
        f"{base.n} items; intervals hold {100 * results.level:g} %.",
    )
    table.add_column("metric", overflow="fold")
    table.add_column("base", justify="right")
    if last is not None:
        lam = "" if last.strength is None else f" λ = {last.strength:g}"
        table.add_column(Text(f"{label_of(last)}{lam}"), justify="right")
        table.add_column("change", justify="right")
    for name, estimate in base.metrics.items():
        cells = (
            []
            if last is None
            else [_cell(last.metrics.get(name)), _cell(last.changes.get(name), signed=True)]
        )
        table.add_row(name, _cell(estimate), *cells)
    return table


def _cell(estimate: Estimate | None, signed: bool = False) -> Text:
    if estimate is None or not wording.is_known(estimate):
        return Text("–", style="dim")
    form = "{:+.3f}" if signed else "{:.3f}"
    text = Text(form.format(estimate.value))
    if wording.has_interval(estimate):
        text.append(f" ({form.format(estimate.low)}…{form.format(estimate.high)})", style="dim")
    return text
