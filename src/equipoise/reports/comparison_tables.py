"""A comparison in words and cells: for the terminal and for the page."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from ..metrics import Estimate
from . import wording
from .comparison import AtBudget, Compared, Comparison
from .curves import task_views
from .results import Results
from .terminal import plain_table


@dataclass(frozen=True)
class Ranked:
    """A row of a budget's table on the page: cells as (number, what stands below it), or ``words`` in their place."""

    name: str
    best: bool
    cells: tuple[tuple[str, str], ...]
    words: str


@dataclass(frozen=True)
class About:
    """A row of the table of mitigations."""

    name: str
    number: int
    methods: str
    size: str
    seconds: str
    monotone: str
    notes: tuple[str, ...]


RANKED_COLUMNS = (
    "λ", "Bias, points", "Change to the base model", "Difference to the best other", "KL, nats a token",
    "Change of accuracy, %", "Perplexity ratio",
)  # fmt: skip


def ranked(comparison: Comparison, place: int) -> list[Ranked]:
    """The mitigations at one budget, lowest held-out bias first, those that can't keep it last."""
    rows = [(one, one.at[place]) for one in comparison.mitigations]
    rows.sort(key=lambda row: (not row[1].metrics, not row[1].acts, _value(row[1].bias)))
    return [_ranked(one, at, comparison.best[place]) for one, at in rows]


def about(comparison: Comparison) -> list[About]:
    """What each mitigation is, in the order given."""
    return [
        About(
            name=one.name,
            number=number,
            methods=", ".join(one.methods),
            size=_size(one.size),
            seconds=_seconds(one.seconds),
            monotone=_monotone(one),
            notes=one.notes,
        )
        for number, one in enumerate(comparison.mitigations)
    ]


def comparison_table(results: Results) -> Group:
    """The terminal's table: a row a mitigation, a column a budget; and the verdict. Print it with a ``Console``."""
    comparison = Comparison.of(results)
    assert comparison is not None
    (view,) = (one for one in task_views(results) if one.task == comparison.task)
    base = None if view.base is None else view.base.metrics.get("per_occupation_bias")
    seeds = f"seed {results.seeds[0]}" if len(results.seeds) == 1 else f"{len(results.seeds)} seeds"
    table = plain_table(
        f"{comparison.task}: {wording.model_name(results)}, held-out bias in points at KL budgets",
        f"Below each bias its {100 * results.level:g} % interval and the strength, which was chosen on validation"
        f" items. Base model: {_points(base)}. {seeds}.",
    )
    table.add_column("mitigation", overflow="fold")
    for name in ("entries", "fit", "monotone"):
        table.add_column(name, justify="right", no_wrap=True)
    for budget in comparison.budgets:
        table.add_column(f"KL ≤ {budget:g}", justify="right", no_wrap=True)
    for one in comparison.mitigations:
        cells = [Text(one.name), Text(_size(one.size)), Text(_seconds(one.seconds)), Text(_monotone(one))]
        cells += [_cell(at, best == one.name) for at, best in zip(one.at, comparison.best, strict=True)]
        table.add_row(*cells)
    remarks = [(one.name, remark) for one in comparison.mitigations for remark in remarks_of(one)]
    lines = [Text.assemble((f"{name}: ", "bold"), remark) for name, remark in remarks]
    taken = results.recommendation is not None and results.recommendation.mitigation is not None
    verdict = Text(comparison.verdict, style="bold green" if taken else "bold yellow")
    return Group(table, *lines, Padding(verdict, (1, 0)))


def remarks_of(one: Compared) -> list[str]:
    """Everything worth a sentence: its notes, and why it has no strength at a budget."""
    by_reason: dict[str, list[str]] = {}
    for at in one.at:
        if at.reason is not None:
            by_reason.setdefault(at.reason, []).append(f"{at.budget:g}")
    return [*one.notes, *(f"KL ≤ {', '.join(found)}: {reason}" for reason, found in by_reason.items())]


def strengths_of(at: AtBudget, dial: bool) -> str:
    """λ, or the range over the seeds."""
    if not dial:
        return "on" if at.acts else "off"
    low, high = min(at.strengths.values()), max(at.strengths.values())
    return f"{low:.2g}" if math.isclose(low, high) else f"{low:.2g}–{high:.2g}"


def _ranked(one: Compared, at: AtBudget, best: str | None) -> Ranked:
    if not at.metrics or not at.acts:
        return Ranked(one.name, False, (), at.reason or "not measured")
    other = None if at.best_other is None else at.differences.get(at.best_other)
    return Ranked(
        one.name,
        one.name == best,
        (
            (strengths_of(at, one.dial), ""),
            _number(at.bias, "points"),
            _number(at.changes.get("per_occupation_bias"), "points"),
            _number(other, "points", "" if at.best_other is None else f"to {at.best_other}"),
            _number(at.metrics.get("kl_to_base"), "nats"),
            _number(at.changes.get("unambiguous_accuracy"), "percent"),
            _number(at.metrics.get("perplexity_ratio"), "nats"),
        ),
        at.reason or "",
    )


def _number(estimate: Estimate | None, kind: wording.Kind, more: str = "") -> tuple[str, str]:
    if estimate is None or not wording.is_known(estimate):
        return "–", ""
    below = wording.interval(estimate, kind)
    return wording.number(estimate.value, kind), f"{below}, {more}" if more else below


def _cell(at: AtBudget, best: bool) -> Text:
    if not at.metrics:
        return Text("over it", style="dim")
    if not at.acts:
        return Text("no effect", style="dim")
    assert at.bias is not None
    text = Text(
        ("▸ " if best else "") + wording.number(at.bias.value, "points"), style="bold" if best else ""
    )
    low, high = (wording.number(end, "points") for end in (at.bias.low, at.bias.high))
    text.append(f"\n{low}…{high}\nλ {strengths_of(at, True)}", style="dim not bold")
    fair, skew = at.metrics.get("fairness"), at.metrics.get("attribute_kl")
    if fair is not None and skew is not None:
        numbers = f"{wording.number(fair.value, 'percent')} %, KL½ {wording.number(skew.value, 'nats')}"
        text.append(f"\nfair {numbers}", style="dim not bold")
    return text


def _size(size: float) -> str:
    return f"{size:,.0f}".replace(",", "\u202f")


def _seconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _monotone(one: Compared) -> str:
    return "–" if one.monotone is None else "yes" if one.monotone else "no"


def _points(estimate: Estimate | None) -> str:
    if estimate is None or not wording.is_known(estimate):
        return "not measured"
    return f"{wording.number(estimate.value, 'points')} ({wording.interval(estimate, 'points')})"


def _value(estimate: Estimate | None) -> float:
    return math.inf if estimate is None or math.isnan(estimate.value) else estimate.value
