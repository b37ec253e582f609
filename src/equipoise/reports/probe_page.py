"""Probes by layer: the table for a terminal, and one page that needs nothing else."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.text import Text

from ..analysis import LayerProbe
from ..metrics import Estimate
from .canvas import MUTED, new_figure, styled
from .flat import flat
from .marks import by_block, legend, line
from .plots import Labelled
from .probes import CategoryProbes, ProbeResults
from .rendering import drawn, template
from .terminal import plain_table

_KINDS = {"out": "residual stream", "heads": "heads' outputs"}


def render_probes(results: ProbeResults) -> str:
    """The page, as HTML text."""
    names = [one.category for one in results.categories]
    return template("probes.html").render(
        results=results,
        made_by=results.equipoise,
        headline=headline(results),
        level=f"{100 * results.level:g}",
        categories=[_category(one, number) for number, one in enumerate(results.categories)],
        names=", ".join(names),
        facts=[("equipoise", results.equipoise), *((f"model {k}", v) for k, v in flat(results.model))]
        + [("statements", results.statements), ("seed", str(results.seed))]
        + [(k, v) for key, value in results.extra.items() for k, v in flat({key: value})],
    )


def headline(results: ProbeResults) -> str:
    """What was found, in one sentence that doesn't say more than the held-out intervals do."""
    clear = [one.category for one in results.categories if one.heldout.low > 0.5]
    total = len(results.categories)
    if not clear:
        return f"No detector is clearly better than chance on held-out statements ({total} tried)."
    shares = [one.heldout.value for one in results.categories]
    span = (
        f"{100 * min(shares):.0f} to {100 * max(shares):.0f} %" if total > 1 else f"{100 * shares[0]:.0f} %"
    )
    return (
        f"Detectors judge {span} of held-out statements right; for {len(clear)} of {total} "
        f"{'category' if total == 1 else 'categories'} the whole interval lies above chance."
    )


def probe_table(results: ProbeResults) -> Group:
    """One row a category; print it with a rich ``Console``."""
    table = plain_table(
        f"probes: {results.model['name']}, {results.statements}",
        "Accuracy in %. Cross-validated within groups that the held-out column never saw; the best of all sites is "
        "picked on the former, so read the latter. Words: the same procedure on which words occur. "
        f"Intervals hold {100 * results.level:g} % and resample whole groups.",
    )
    for name in ("category", "best site"):
        table.add_column(name, no_wrap=True)
    for name in ("cross-validated", "shuffled", "words", "held-out", "held-out words"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in results.categories:
        best = one.layer(one.best)
        cells = (best.accuracy, best.control, one.words, one.heldout, one.heldout_words)
        table.add_row(Text(one.category), Text(one.best), *(Text.assemble(*_cell(cell)) for cell in cells))
    return Group(table)


def _cell(estimate: Estimate | None) -> tuple[str | tuple[str, str], ...]:
    if estimate is None:
        return (("–", "dim"),)
    return (_percent(estimate.value), (f"\n{_range(estimate)}", "dim"))


def _percent(value: float) -> str:
    return f"{100 * value:.0f}"


def _range(estimate: Estimate) -> str:
    return f"{_percent(estimate.low)}…{_percent(estimate.high)}"


@styled
def layers_figure(category: CategoryProbes) -> Labelled:
    """Accuracy by block for each kind of site, with bands; the shuffled control dashed, the words' accuracy dotted."""
    figure, axes = new_figure()
    for number, (kind, probes) in enumerate(_curves(category).items()):
        x = [block for block, _ in probes]
        line(axes, [(block, one.accuracy) for block, one in probes], 100, number, _KINDS.get(kind, kind))
        shuffled = [100 * one.control.value for _, one in probes if one.control is not None]
        if len(shuffled) == len(x):
            label = "shuffled labels" if number == 0 else None
            axes.plot(x, shuffled, color=MUTED, linewidth=1, linestyle=(0, (4, 2)), label=label)
    axes.axhline(100 * category.words.value, color=MUTED, linewidth=1, linestyle=":", label="words alone")
    by_block(axes)
    axes.set(ylabel="accuracy, %")
    axes.set_ylim(max(0, min(30, axes.get_ylim()[0])), 102)
    legend(axes)
    return Labelled(
        figure,
        category.category,
        f"Cross-validated on {category.groups} groups. Bands are intervals over groups, site by site.",
    )


def _curves(category: CategoryProbes) -> dict[str, list[tuple[int, LayerProbe]]]:
    """Kind of site -> (block, probe), by block."""
    found: dict[str, list[tuple[int, LayerProbe]]] = {}
    for one in category.layers:
        parts = one.site.split(".")
        if parts[0] == "block":
            found.setdefault(".".join(parts[2:]), []).append((int(parts[1]), one))
    return {kind: sorted(curve, key=lambda entry: entry[0]) for kind, curve in found.items()}


def _category(one: CategoryProbes, number: int) -> dict[str, Any]:
    best = one.layer(one.best)
    cells = (best.accuracy, best.control, best.above_control, one.words, one.heldout, one.heldout_words)
    return {
        "name": one.category,
        "figure": drawn(layers_figure(one), f"c{number}"),
        "best": one.best,
        "steered": one.steered,
        "cells": [None if cell is None else (_percent(cell.value), _range(cell)) for cell in cells],
        "sites": [
            (
                layer.site,
                [
                    None if cell is None else (_percent(cell.value), _range(cell))
                    for cell in (layer.accuracy, layer.control)
                ],
            )
            for layer in one.layers
        ],
        "groups": one.groups,
        "heldout_groups": one.heldout_groups,
    }
