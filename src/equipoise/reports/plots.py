"""The figures of a report, each a matplotlib ``Figure`` of its own: no global state, no window."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..metrics import Estimate
from . import wording
from .canvas import BEFORE, INK, MUTED, PAPER, SERIES, new_figure, styled
from .curves import TaskView
from .marks import RING, Labels, companion, known, legend, limit, note, rings, style, sweep
from .results import Results, Run

_MOST_BARS = 40
_LONGEST_NAME = 28


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
        "Each point is one strength λ: lower is fairer, further left is closer to the base model.",
    )


def _tradeoff(axes: Axes, view: TaskView, budget: float | None) -> int:
    """Draw into ``axes``; returns the number of points."""
    drawn: list[tuple[bool, bool, str, tuple[float, float]]] = []
    for number, curve in enumerate(view.curves):
        kl = {key: estimate.value for key, _, estimate in known(curve, "kl_to_base")}
        points = [point for point in known(curve, "per_occupation_bias") if point[0] in kl]
        keys = [key for key, _, _ in points]
        x, y = [kl[key] for key in keys], [100 * estimate.value for _, _, estimate in points]
        axes.plot(x, y, label=curve.label, clip_on=False, **style(number))
        rings(axes, keys, x, y)
        for place, (key, run, _) in enumerate(points):
            text = "base" if key == "base" else wording.strength(run.strength)
            end = place in (0, len(points) - 1)
            drawn.append((key != view.chosen_key, not end, text, (x[place], y[place])))
    axes.set(xlabel="KL to the base model, nats a token", ylabel="bias, points")
    axes.set_xlim(left=-0.03 * axes.get_xlim()[1])
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
def groups_figure(view: TaskView) -> Labelled | None:
    """Bars of every group's lean before and after, sorted; None where groups have no stereotypical side."""
    steered = view.chosen if view.chosen is not view.base else None
    before, after = _leans(view.base), _leans(steered)
    if not before:
        return None
    strongest = sorted(before, key=lambda name: -abs(before[name].value))[:_MOST_BARS]
    names = sorted(strongest, key=lambda name: before[name].value)
    rows = np.arange(len(names))
    figure, axes = new_figure((5.8, 0.8 + 0.23 * len(names)))
    widths = [before[name].value for name in names]
    axes.barh(rows, widths, height=0.72, color=BEFORE if after else SERIES[0], label="base model")
    if after and steered is not None:
        both = [row for row, name in zip(rows, names, strict=True) if name in after]
        label = f"at λ = {wording.strength(steered.strength)}" if steered.strength is not None else "steered"
        axes.barh(both, [after[names[row]].value for row in both], height=0.34, color=SERIES[0], label=label)
    for row, name in zip(rows, names, strict=True):
        lean = (after or before).get(name)
        if lean is not None and wording.has_interval(lean):
            axes.plot([lean.low, lean.high], [row, row], color=INK, linewidth=1, solid_capstyle="round")
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_yticks(rows, [textwrap.shorten(name, _LONGEST_NAME, placeholder="…") for name in names])
    axes.tick_params(axis="y", labelcolor=INK)
    reach = min(1.08 * max(20.0, *map(abs, widths)), 100.0)
    axes.set(xlim=(-reach, reach), ylim=(-0.6, len(names) - 0.4))
    # A line of its own: long names leave the axis too narrow for it and the two notes side by side.
    axes.set_xlabel("lean, points", labelpad=16)
    axes.grid(axis="y", visible=False)
    ends = ((0, "← against the stereotype", "left"), (1, "with the stereotype →", "right"))
    for side, words, across in ends:
        note(axes, words, (side, 0), ("axes fraction", "axes fraction"), (0, -20), across, "top")
    legend(axes, loc="lower right")
    hidden = len(before) - len(names)
    left_out = (
        f" The {len(names)} with the strongest lean; {hidden} more are in results.json." if hidden else ""
    )
    return Labelled(
        figure,
        "Occupation by occupation" + (", before and after" if after else ""),
        f"P(with the stereotype) − P(against it), given an answer. Thin lines are intervals.{left_out}",
    )


def _leans(run: Run | None) -> dict[str, Estimate]:
    """Group -> P(pro) − P(anti) in points, for the groups in which it is known."""
    known_groups = ((group.name, group.p_pro) for group in (run.groups if run is not None else ()))
    return {
        name: Estimate(200 * p.value - 100, 200 * p.low - 100, 200 * p.high - 100, p.n)
        for name, p in known_groups
        if p is not None and wording.is_known(p)
    }


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
