"""What attention heads carry: a heat map of their scores and a table of the best, on a page and in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rich.console import Group
from rich.text import Text

from . import canvas
from .plots import Labelled
from .rendering import drawn, template
from .terminal import plain_table

SCORES = {
    "ablation": ("Ablation", "What removing the head takes from the gap."),
    "direct": ("Direct", "What the head itself writes towards the gap."),
}
STATES = {"base": "as it is", "scaled": "these heads scaled", "random": "as many random heads scaled"}
METRICS = {
    "said": "says the association",
    "share": "prefers it to the counterfactual",
    "mentions": "writes it",
}


@dataclass(frozen=True)
class _Row:
    state: str
    subject: str
    cells: tuple[str, ...]


def render_heads(found: Mapping[str, Any]) -> str:
    """The page for the content of a scope's JSON file (docs/contract.md), as HTML text."""
    figures = [
        drawn(Labelled(figure, *words), name)
        for name, words in SCORES.items()
        if (figure := heat_map(found["heads"], name)) is not None
    ]
    return template("heads.html").render(
        made_by=found["equipoise"],
        found=found,
        figures=figures,
        heads=_best(found["heads"], len(_chosen(found["heads"])) + 8),
        columns=tuple(METRICS.values()),
        rows=_measures(found),
        number=_signed,
    )


@canvas.styled
def heat_map(heads: Sequence[Mapping[str, Any]], score: str) -> Figure | None:
    """Blocks down, heads across, red for what speaks for the association; the chosen are framed. None if unmeasured."""
    known = [head for head in heads if head[score] is not None]
    if not known:
        return None
    blocks = sorted({head["block"] for head in heads})
    width = max(head["head"] for head in heads) + 1
    grid = np.full((len(blocks), width), np.nan)
    for head in known:
        grid[blocks.index(head["block"]), head["head"]] = head[score]
    reach = float(np.nanmax(np.abs(grid))) or 1.0
    figure, axes = canvas.new_figure((4.9, min(9.0, 1.2 + 0.19 * len(blocks))))
    mesh = axes.pcolormesh(grid, cmap="RdBu_r", vmin=-reach, vmax=reach, edgecolors="none")
    for head in _chosen(heads):
        place = head["head"], blocks.index(head["block"])
        axes.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor=canvas.INK, linewidth=1.6))
    every = max(1, len(blocks) // 12)
    axes.set_yticks(np.arange(0, len(blocks), every) + 0.5, [str(block) for block in blocks[::every]])
    step = max(1, width // 12)
    axes.set_xticks(np.arange(0, width, step) + 0.5, [str(head) for head in range(0, width, step)])
    axes.invert_yaxis()
    axes.grid(False)
    axes.set_xlabel("head")
    axes.set_ylabel("block")
    figure.colorbar(mesh, ax=axes, label="logits", pad=0.02)
    return figure


def head_tables(found: Mapping[str, Any]) -> Group:
    """The chosen heads and what scaling them does; print it with a rich ``Console``."""
    heads = plain_table(f"heads that carry {found['association']}")
    for name in ("block", "head", "ablation", "direct", "gradient", "recurs"):
        heads.add_column(name, justify="right")
    for head in _chosen(found["heads"]):
        heads.add_row(
            str(head["block"]),
            str(head["head"]),
            *(_signed(head[name]) for name in ("ablation", "direct", "gradient")),
            f"{head['recurrence']:.0%}",
        )
    measured = plain_table("held-out prompts, in %")
    for name in ("heads", "asked about"):
        measured.add_column(name, overflow="fold")
    for label in METRICS.values():
        measured.add_column(label, justify="right")
    for row in _measures(found):
        measured.add_row(row.state, row.subject, *row.cells)
    return Group(heads, Text(), measured, Text(_cost(found)))


def _cost(found: Mapping[str, Any]) -> str:
    kl = found["kl_to_base"]
    return f"KL to the base model on plain text: {kl['scaled']:.3g} nats a token (random heads: {kl['random']:.3g})"


def _measures(found: Mapping[str, Any]) -> list[_Row]:
    return [
        _Row(
            STATES[one["state"]], str(one["subject"]), tuple(_cell(one["metrics"][name]) for name in METRICS)
        )
        for one in found["measures"]
    ]


def _cell(estimate: Mapping[str, Any]) -> str:
    text = f"{100 * estimate['value']:.1f}"
    if estimate["low"] is None:
        return text
    return f"{text} ({100 * estimate['low']:.1f}–{100 * estimate['high']:.1f})"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"


def _chosen(heads: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    found = [head for head in heads if head["chosen"] is not None]
    return sorted(found, key=lambda head: head["chosen"])


def _best(heads: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """The chosen heads, and after them those that recur next."""
    rest = [head for head in heads if head["chosen"] is None]
    rest.sort(key=lambda head: (-head["recurrence"], -abs(head["gradient"])))
    return [*_chosen(heads), *rest][:count]
