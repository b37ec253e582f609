"""What two audits differ in: values, a table for the terminal, JSON and a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..metrics import Estimate
from . import wording
from .estimates import write_estimate
from .rendering import template
from .terminal import plain_table

Pairing = Literal["items", "passages", "occupations", "none"]
_PAIRED = {
    "items": "the same items",
    "passages": "the same passages",
    "occupations": "the same occupations",
    "none": "not paired",
}


@dataclass(frozen=True)
class Difference:
    """One metric at one setting of both.

    ``change`` is B's minus A's. ``p`` bounds the p-value of a two-sided test of no difference from above: the test
    rejects at ``p``. None: not even at 0.5, or no test.
    """

    metric: str
    a: Estimate
    b: Estimate
    change: Estimate
    p: float | None
    paired: Pairing

    @property
    def certain(self) -> bool:
        """Whether the interval of the change excludes 0."""
        return self.change.low > 0 or self.change.high < 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = {name: write_estimate(getattr(self, name)) for name in ("a", "b", "change")}
        return {"metric": self.metric, **found, "p": self.p, "paired": self.paired}


@dataclass(frozen=True)
class Pair:
    """One task at a setting of A and one of B; ``main`` marks what a terminal shows at once."""

    task: str
    a: str
    b: str
    main: bool
    differences: tuple[Difference, ...]

    @property
    def label(self) -> str:
        """The setting, or both."""
        return self.a if self.a == self.b else f"{self.a} → {self.b}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = [one.to_dict() for one in self.differences]
        return {"task": self.task, "a": self.a, "b": self.b, "main": self.main, "differences": found}


@dataclass(frozen=True)
class Diff:
    """Two results side by side; ``notes`` say what could not be compared, or only less well."""

    a: str
    b: str
    models: tuple[str, str]
    level: float
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()
    equipoise: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the shape is in docs/contract.md."""
        return {
            "schema": 1,
            "equipoise": self.equipoise,
            "a": {"results": self.a, "model": self.models[0]},
            "b": {"results": self.b, "model": self.models[1]},
            "level": self.level,
            "pairs": [pair.to_dict() for pair in self.pairs],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Row:
    metric: str
    a: str
    b: str
    change: str
    interval: str
    p: str
    paired: str
    certain: bool


def diff_tables(diff: Diff, *, everything: bool = False) -> Group:
    """A table for each pair of settings, ``everything`` or only the main ones; print it with a rich ``Console``."""
    parts: list[Table | Text] = [Text(f"A  {diff.a}: {diff.models[0]}\nB  {diff.b}: {diff.models[1]}\n")]
    shown = [pair for pair in diff.pairs if pair.main or everything]
    for pair in shown:
        table = plain_table(f"{pair.task}: {pair.label}")
        for name, justify in (("metric", "left"), ("A", "right"), ("B", "right"), ("B − A", "right")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        table.add_column(f"{100 * diff.level:g} % interval", justify="right")
        table.add_column("p", justify="right")
        table.add_column("paired by", style="dim")
        for row in _rows(pair):
            cells = (row.metric, row.a, row.b, row.change, row.interval, row.p, row.paired)
            table.add_row(*map(Text, cells), style="bold" if row.certain else None)
        parts += [table, Text("")]
    hidden = len(diff.pairs) - len(shown)
    if hidden:
        parts.append(Text(f"{hidden} more settings: --all shows them.", style="dim"))
    parts += [Text(note, style="dim") for note in diff.notes]
    parts.append(
        Text("Bold: the interval excludes 0. p is not corrected for the number of rows.", style="dim")
    )
    return Group(*parts)


def render_diff(diff: Diff) -> str:
    """The page, as HTML text."""
    return template("diff.html").render(
        made_by=diff.equipoise,
        diff=diff,
        level=f"{100 * diff.level:g}",
        headline=headline(diff),
        units=wording.units(wording.metric(one.metric) for pair in diff.pairs for one in pair.differences),
        pairs=[(pair, _rows(pair)) for pair in diff.pairs],
    )


def headline(diff: Diff) -> str:
    """The result in one sentence."""
    moved = [
        f"{pair.task} ({pair.label})"
        for pair in diff.pairs
        if pair.main and any(one.metric == "per_occupation_bias" and one.certain for one in pair.differences)
    ]
    if not moved:
        return "No difference in bias is larger than chance explains"
    return f"Bias differs by more than chance explains on {', '.join(moved)}"


def _rows(pair: Pair) -> Sequence[_Row]:
    rows = []
    for one in pair.differences:
        metric = wording.metric(one.metric)
        kind = metric.kind
        rows.append(
            _Row(
                metric.label,
                wording.number(one.a.value, kind),
                wording.number(one.b.value, kind),
                wording.number(one.change.value, kind),
                wording.interval(one.change, kind),
                _p(one),
                _PAIRED[one.paired],
                one.certain,
            )
        )
    return rows


def _p(one: Difference) -> str:
    if one.paired == "none" or math.isnan(one.change.value):
        return "–"
    if one.p is None:
        return "> 0.5"
    return f"≤ {one.p:.3g}" if one.paired != "occupations" else f"{one.p:.3g}"
