"""The figures of a comparison: each mitigation has one colour and one marker in all of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from . import wording
from .canvas import INK, MUTED, PAPER, new_figure, styled
from .comparison import Comparison
from .curves import TaskView
from .marks import known, limit, note, style, sweep
from .plots import Labelled

# Ticks of a KL axis, on which all budgets can be read and the base model stands at 0.
_TICKS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
# From this many times the base model's on, perplexity needs a logarithmic axis.
_STEEP = 5.0


def panels(view: TaskView, comparison: Comparison) -> list[tuple[str, str, Callable[[Axes], None]]]:
    """Title, caption and drawing of each figure that there are numbers for."""
    found: list[tuple[str, str, Callable[[Axes], None]]] = [
        (
            "Bias against what it costs",
            "Held-out bias against KL to the base model on plain text, from the base model on the left through"
            " growing strengths. Dotted: the budgets. Rings: the strengths chosen for them on validation items.",
            lambda axes: _against_kl(axes, view, comparison),
        ),
        (
            "Bias against strength",
            "Strength 1 is each fit's own full strength, so that only the shapes compare. Bands are intervals.",
            lambda axes: _against_strength(axes, view, "per_occupation_bias", 100, "bias, points"),
        ),
    ]
    if any(known(curve, "unambiguous_accuracy") for curve in view.curves):
        found.append(
            (
                "Accuracy where one answer is right",
                "What should stay. The trivial baseline needs no understanding.",
                lambda axes: _accuracy(axes, view),
            )
        )
    if any(known(curve, "perplexity") for curve in view.curves):
        found.append(("Perplexity on plain text", "What should stay.", lambda axes: _perplexity(axes, view)))
    return found


@styled
def comparison_figures(view: TaskView, comparison: Comparison) -> list[Labelled]:
    """Each panel as a figure of its own, for the page, whose legend stands above them."""
    found = []
    for title, caption, draw in panels(view, comparison):
        figure, axes = new_figure((4.9, 3.4))
        draw(axes)
        found.append(Labelled(figure, title, caption))
    return found


@styled
def comparison_figure(view: TaskView, comparison: Comparison, title: str) -> Figure:
    """All panels in one figure with one legend."""
    figure = Figure(figsize=(10.4, 8.2), layout="constrained", facecolor=PAPER)
    grid = np.ravel(figure.subplots(2, 2))
    drawn = panels(view, comparison)
    for axes, (name, _, draw) in zip(grid, drawn, strict=False):
        draw(axes)
        axes.set_title(name, loc="left", fontsize=10, color=MUTED)
    for axes in grid[len(drawn) :]:
        axes.set_visible(False)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK)
    return figure


def _against_kl(axes: Axes, view: TaskView, comparison: Comparison) -> None:
    furthest = 3.0 * max(comparison.budgets)
    for number, curve in enumerate(view.curves):
        points = [
            (run.metrics.get("kl_to_base"), estimate)
            for _, run, estimate in known(curve, "per_occupation_bias")
        ]
        pairs = [
            (kl.value, 100 * bias.value) for kl, bias in points if kl is not None and wording.is_known(kl)
        ]
        if pairs:
            axes.plot(*zip(*pairs, strict=True), label=curve.label, **style(number))
    for number, one in enumerate(comparison.mitigations):
        for at in one.at:
            kl, bias = at.metrics.get("kl_to_base"), at.bias
            if at.acts and kl is not None and bias is not None:
                axes.plot(
                    [kl.value], [100 * bias.value], marker="o", markersize=10, markerfacecolor="none",
                    markeredgecolor=style(number)["color"], markeredgewidth=1.2, linestyle="none", zorder=5,
                )  # fmt: skip
    least = min(comparison.budgets)
    axes.set_xscale("symlog", linthresh=least, linscale=0.6)
    axes.set_xlim(-0.06 * least, furthest)
    ticks = [
        0.0,
        *comparison.budgets,
        *(tick for tick in _TICKS if max(comparison.budgets) < tick <= furthest),
    ]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for budget in comparison.budgets:
        axes.axvline(budget, color=MUTED, linewidth=1, linestyle=":")
    axes.set(xlabel="KL to the base model, nats a token", ylabel="bias, points")
    axes.set_ylim(bottom=0)
    outside = sum(
        1
        for curve in view.curves
        for _, run, _ in known(curve, "kl_to_base")
        if (kl := run.metrics["kl_to_base"]) is not None and kl.value > furthest
    )
    if outside:
        note(
            axes,
            f"{outside} point{'s lie' if outside > 1 else ' lies'} further right",
            (1, 1),
            ("axes fraction",) * 2,
            (-2, 2),
            "right",
            "bottom",
        )


def _against_strength(axes: Axes, view: TaskView, name: str, scale: float, label: str) -> None:
    sweep(axes, view, name, scale, ringed=False)
    axes.set(xlabel="strength λ", ylabel=label)
    axes.set_ylim(bottom=0)


def _accuracy(axes: Axes, view: TaskView) -> None:
    _against_strength(axes, view, "unambiguous_accuracy", 100, "%")
    trivial = None if view.base is None else view.base.metrics.get("trivial_accuracy")
    limit(axes, None if trivial is None else trivial.value, 100, "trivial baseline")
    axes.set_ylim(0, 104)


def _perplexity(axes: Axes, view: TaskView) -> None:
    # Which texts were drawn moves all of them alike; the tables have the paired ratio and its interval.
    sweep(axes, view, "perplexity", 1, ringed=False, bands=False)
    axes.set(xlabel="strength λ", ylabel="perplexity")
    values = [estimate.value for curve in view.curves for _, _, estimate in known(curve, "perplexity")]
    if max(values) > _STEEP * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=12))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_ylim(0.8 * min(values), 1.3 * max(values))
