"""What a terminal shows: progress, results and rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ..metrics import Estimate
    from ..reports import CultureResults, Diff, LayerResults, ProbeResults, Results
    from ..workflows.answers import AnswersResults
    from ..workflows.choices import ChoiceResults, Spread
    from ..workflows.progress import Report
    from ..workflows.utility import UtilityResults


@contextmanager
def progress_line() -> Iterator[Report]:
    """A line on standard error with the time left; nothing with EQUIPOISE_QUIET, or where it is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    hidden = bool(os.environ.get("EQUIPOISE_QUIET")) or not console.is_terminal
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        line = progress.add_task("starting", total=1.0)
        yield lambda fraction, message: progress.update(line, completed=fraction, description=message)


def show_results(results: Results, out: str) -> None:
    """An audit's tables, and where its page is."""
    from ..reports import audit_tables

    _show(audit_tables(results), os.path.join(out, "report.html"))


def show_comparison(results: Results, out: str) -> None:
    """A comparison's table and verdict, and where its page is."""
    from ..reports import comparison_table

    _show(comparison_table(results), os.path.join(out, "report.html"))


def show_probes(results: ProbeResults, page: str | None) -> None:
    """The probes' table, and where the page is, if there is one."""
    from ..reports import probe_table

    _show(probe_table(results), page)


def show_diff(found: Diff, *, everything: bool, page: str | None) -> None:
    """Two results side by side."""
    from ..reports import diff_tables

    _show(diff_tables(found, everything=everything), page)


def show_layers(results: LayerResults, out: str) -> None:
    """What each layer would answer, and where the page is."""
    from ..reports import layer_table

    _show(layer_table(results), os.path.join(out, "report.html"))


def show_culture(results: CultureResults, out: str | None) -> None:
    """Agreement by dimension and community, and where the page is, if there is one."""
    from ..reports import culture_table

    _show(culture_table(results), None if out is None else os.path.join(out, "report.html"))


def _print(tables: RenderableType) -> Console:
    from rich.console import Console

    console = Console(markup=False)  # a group or a model may be called "[old]"
    if not console.is_terminal:
        # Nobody's window limits a log, and the table's intervals need the room.
        console = Console(width=120, markup=False)
    console.print(tables)
    return console


def _show(tables: RenderableType, page: str | None) -> None:
    console = _print(tables)
    if page is not None:
        console.print(f"report: {page}", highlight=False, markup=False, soft_wrap=True)


def show_utility(results: UtilityResults) -> None:
    """Accuracy by strength, in %, with intervals where there are any."""
    from rich.table import Table

    from ..reports import wording

    def cell(estimate: Estimate | None) -> str:
        if estimate is None:
            return "–"
        number = wording.number(estimate.value, "percent")
        return (
            f"{number} ({wording.interval(estimate, 'percent')})"
            if wording.has_interval(estimate)
            else number
        )

    table = Table(
        "mitigation",
        "λ",
        "accuracy, %",
        "change",
        title=f"{results.task}: {results.model}, {results.n} questions",
    )
    for row in results.rows:
        table.add_row(row.mitigation or "base", f"{row.strength:g}", cell(row.accuracy), cell(row.change))
    _print(table)


def show_answers(results: AnswersResults) -> None:
    """Shares of what free answers mean, and how fluent they are, by strength; then some of them."""
    from rich.table import Table
    from rich.text import Text

    from ..reports import wording

    def cell(estimate: Estimate, kind: wording.Kind) -> str:
        number = wording.number(estimate.value, kind)
        return f"{number} ({wording.interval(estimate, kind)})" if wording.has_interval(estimate) else number

    kinds = list(results.rows[0].shares)
    table = Table(
        "λ",
        *(f"{kind}, %" for kind in kinds),
        "perplexity",
        "repeated, %",
        "alike, %",
        title=Text(f"free answers: {results.model}, {results.n} questions; perplexity is the base model's"),
    )
    for row in results.rows:
        shares = [cell(row.shares[kind], "percent") for kind in kinds]
        fluent = (cell(row.perplexity, "plain"), cell(row.repetition, "percent"), f"{100 * row.alike:.0f}")
        table.add_row(f"{row.strength:g}", *shares, *fluent)
    console = _print(table)
    for row in results.rows:
        for reason in row.collapse:
            console.print(
                f"λ = {row.strength:g}: {reason}: such answers don't depend on the question", style="bold"
            )
    for example in results.examples[:3]:
        console.print(Text(example["question"].replace("\n", " "), style="dim"))
        for strength, text in example["answers"].items():
            console.print(Text(f"  λ = {strength}: {' '.join(text.split())}"))


def show_choices(results: ChoiceResults) -> None:
    """A table of answers by input and strength."""
    from rich.table import Table

    table = Table("input", "λ", "fair", "KL", *results.outcomes[1:], "said", "n")
    for row in results.rows:
        modality, setting = row.modality or "all", row.setting or "all"
        mark = " (degenerate)" if row.degenerate else ""
        shares = [_plus_minus(row.proportions[outcome]) for outcome in results.outcomes[1:]]
        numbers = (_plus_minus(row.fairness) + mark, _plus_minus(row.kl), *shares, _plus_minus(row.mass))
        table.add_row(f"{modality}: {setting}", f"{row.strength:g}", *numbers, str(row.n))
    _print(table)


def _plus_minus(value: Spread) -> str:
    return f"{value.mean:.2f}" if value.std is None else f"{value.mean:.2f} ± {value.std:.2f}"


def show_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Labels and values, side by side."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(Text(label), Text(value))
    Console().print(table)
