"""The figures of a report, each a matplotlib ``Figure`` of its own: no global state, no window."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from . import wording
from .canvas import INK, MUTED, PAPER, SERIES, new_figure, styled
from .curves import TaskView
from .marks import RING, Labels, band, companion, known, legend, limit, note, recommended, rings, style, sweep
from .results import Results


@dataclass(frozen=True)
class Labelled:
    """A figure with the words that say what it shows."""

    figure: Figure
    title: str
    caption: str


@styled
def bias_figure(view: TaskView) -> Labelled:
    """Bias against λ with its band, the target dotted; of a single mitigation the greedy answers' bias, dashed."""
    figure, axes = new_figure()
    sweep(axes, view, "per_occupation_bias", 100)
    if len(view.curves) == 1 and axes.lines:
        axes.lines[0].set_label("probabilities")
        companion(axes, view.curves[0], "greedy_per_occupation_bias", 100, MUTED, "greedy answers")
    limit(axes, view.target, 100, "target")
    axes.set(xlabel="strength λ", ylabel="bias, points")
    axes.set_ylim(bottom=0)
    legend(axes)
    return Labelled(
        figure,
        "Bias against strength",
        "How far the answers about an average occupation lean to one side. Bands are intervals.",
    )


@styled
def accuracy_figure(view: TaskView) -> Labelled | None:
    """Accuracy on unambiguous items against λ, with the trivial baseline; None if it was not measured."""
    if not any(known(curve, "unambiguous_accuracy") for curve in view.curves):
        return None
    figure, axes = new_figure()
    sweep(axes, view, "unambiguous_accuracy", 100)
    caption = "Accuracy where only one answer is right; the trivial baseline needs no understanding."
    if len(view.curves) == 1 and known(view.curves[0], "abstention_rate"):
        caption += " Abstention is the probability of giving none of the answers."
        axes.lines[0].set_label("accuracy")
        companion(axes, view.curves[0], "abstention_rate", 100, SERIES[1], "abstention")
    trivial = None if view.base is None else view.base.metrics.get("trivial_accuracy")
    limit(axes, None if trivial is None else trivial.value, 100, "trivial baseline")
    axes.set(xlabel="strength λ", ylabel="%")
    axes.set_ylim(0, 104)
    legend(axes)
    return Labelled(figure, "What should stay", caption)


@styled
def kl_figure(view: TaskView, budget: float | None = None) -> Labelled | None:
    """KL to the base model against λ; None if it was not measured."""
    if not any(known(curve, "kl_to_base") for curve in view.curves):
        return None
    figure, axes = new_figure()
    sweep(axes, view, "kl_to_base", 1)
    limit(axes, budget, 1, "budget")
    axes.set(xlabel="strength λ", ylabel="KL, nats a token")
    axes.set_ylim(bottom=0)
    legend(axes)
    return Labelled(
        figure,
        "What it costs",
        "KL of the steered to the base model on plain text that played no part in fitting.",
    )


@styled
def tradeoff_figure(view: TaskView, budget: float | None = None) -> Labelled | None:
    """Bias against KL, points labelled with λ; None if either was not measured."""
    figure, axes = new_figure()
    if not _tradeoff(axes, view, budget):
        return None
    return Labelled(
        figure,
        "The trade-off",
        "Each point is one strength λ: lower is fairer, further left is closer to the base model. Bands are intervals "
        "of bias.",
    )


def _tradeoff(axes: Axes, view: TaskView, budget: float | None) -> int:
    """Draw into ``axes``; returns the number of points."""
    drawn: list[tuple[bool, bool, str, tuple[float, float]]] = []
    for number, curve in enumerate(view.curves):
        kl = {key: estimate.value for key, _, estimate in known(curve, "kl_to_base")}
        points = [point for point in known(curve, "per_occupation_bias") if point[0] in kl]
        keys = [key for key, _, _ in points]
        x, y = [kl[key] for key in keys], [100 * estimate.value for _, _, estimate in points]
        band(axes, [(kl[key], estimate) for key, _, estimate in points], 100, number, len(view.curves))
        axes.plot(x, y, label=curve.label, clip_on=False, **style(number))
        if view.chosen_key in keys:
            place = keys.index(view.chosen_key)
            recommended(axes, (x[place], y[place]))
        rings(axes, keys, x, y)
        for place, (key, run, _) in enumerate(points):
            text = "base" if key == "base" else wording.strength(run.strength)
            end = place in (0, len(points) - 1)
            drawn.append((key != view.chosen_key, not end, text, (x[place], y[place])))
    axes.set(xlabel="KL to the base model, nats a token", ylabel="bias, points")
    axes.set_xlim(left=-0.03 * axes.get_xlim()[1])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylim(bottom=0)
    limit(axes, view.target, 100, "target")
    if budget is not None and budget <= axes.get_xlim()[1]:
        axes.axvline(budget, color=MUTED, linewidth=1, linestyle=":")
        note(axes, "budget", (budget, 1), ("data", "axes fraction"), (-4, -2), "right", "top")
    labels = Labels(axes)
    for other, between, text, point in sorted(drawn, key=lambda entry: entry[:2]):
        # With several mitigations only the ends and the chosen point have room for their strength.
        if not (other and between and len(view.curves) > 1):
            labels.add(text, point)
    legend(axes)
    return len(drawn)


@styled
def readme_figure(results: Results, view: TaskView) -> Figure:
    """Two panels for a README: bias against λ, and against what it costs."""
    budget = None if results.recommendation is None else results.recommendation.budgets.get("kl")
    figure = Figure(figsize=(9.6, 3.9), layout="constrained", facecolor=PAPER)
    left, right = figure.subplots(1, 2)
    sweep(left, view, "per_occupation_bias", 100)
    limit(left, view.target, 100, "target")
    left.set(xlabel="strength λ", ylabel="bias, points")
    left.set_ylim(bottom=0)
    legend(left)
    _tradeoff(right, view, budget)
    for axes, title in ((left, "Bias against strength"), (right, "Bias against its price")):
        axes.set_title(title, loc="left", fontsize=10, color=MUTED)
        for line in axes.lines:
            gid = str(line.get_gid())
            if gid.startswith(RING):
                line.set_visible(gid == f"{RING}{view.chosen_key}")
    headline = "\n".join(textwrap.wrap(wording.headline(results, view), 94))
    figure.suptitle(headline, x=0.01, ha="left", fontsize=12, color=INK)
    return figure
