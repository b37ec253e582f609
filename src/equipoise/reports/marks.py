"""What the figures are made of: curves with bands, rings around points, limits, labels, legends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..metrics import Estimate
from . import wording
from .canvas import GOOD, INK, MARKERS, MUTED, PAPER, SERIES
from .curves import Curve, TaskView
from .results import Run

RING = "ring "  # the gid of a ring is this and its key; the page shows one setting's rings at a time
_DASHED = (0, (4, 2))
Point = tuple[str, Run, Estimate]


def known(curve: Curve, name: str) -> list[Point]:
    """Key, run and estimate of the points at which a metric was measured."""
    found = []
    for key, run in zip(curve.keys, curve.points, strict=True):
        estimate = run.metrics.get(name)
        if estimate is not None and wording.is_known(estimate):
            found.append((key, run, estimate))
    return found


def sweep(
    axes: Axes, view: TaskView, name: str, scale: float, *, ringed: bool = True, bands: bool = True
) -> None:
    """A metric against λ for every mitigation; those without a dial are level lines.

    ``ringed`` adds :func:`rings`, ``bands`` the intervals.
    """
    for number, curve in enumerate(view.curves):
        points = known(curve, name)
        if not points:
            continue
        if not curve.has_dial:
            value = scale * points[-1][2].value
            label = f"{curve.label} (no dial)"
            axes.axhline(
                value, color=SERIES[number % len(SERIES)], linewidth=1.4, linestyle="-.", label=label
            )
            continue
        x = [run.strength or 0.0 for _, run, _ in points]
        values = [scale * estimate.value for _, _, estimate in points]
        if bands:
            ends = [(place, estimate) for place, (_, _, estimate) in zip(x, points, strict=True)]
            band(axes, ends, scale, number, len(view.curves))
        axes.plot(x, values, label=curve.label, clip_on=False, **style(number))
        if ringed:
            rings(axes, [key for key, _, _ in points], x, values)
    axes.set_xlim(left=-0.03 * axes.get_xlim()[1])


def band(
    axes: Axes, points: Sequence[tuple[float, Estimate]], scale: float, number: int, several: int
) -> None:
    """The intervals of a curve as a band; ``number`` of ``several`` curves."""
    if not points:
        return
    placed = sorted(points, key=lambda point: point[0])
    low, high = (
        [scale * end for end in ends] for ends in zip(*((e.low, e.high) for _, e in placed), strict=True)
    )
    # Many bands on top of each other should not become a wall.
    opacity = 0.16 if several < 4 else 0.07
    color = SERIES[number % len(SERIES)]
    axes.fill_between([x for x, _ in placed], low, high, color=color, alpha=opacity, linewidth=0)


def line(axes: Axes, points: Sequence[tuple[float, Estimate]], scale: float, number: int, label: str) -> None:
    """Many points as a line with small markers, and their intervals as a band; nothing for no points."""
    if not points:
        return
    band(axes, points, scale, number, 1)
    values = [scale * estimate.value for _, estimate in points]
    look = style(number) | {"markersize": 3}
    axes.plot([x for x, _ in points], values, label=label, clip_on=False, **look)


def recommended(axes: Axes, point: tuple[float, float]) -> None:
    """The point that is recommended, whatever the page's dial shows."""
    axes.plot(
        [point[0]],
        [point[1]],
        marker="*",
        markersize=15,
        color=GOOD,
        markeredgecolor=PAPER,
        linestyle="none",
        label="recommended",
        clip_on=False,
        zorder=4,
    )


def companion(axes: Axes, curve: Curve, name: str, scale: float, color: str, label: str) -> None:
    """A second metric of one mitigation, dashed, without band."""
    points = [(run.strength or 0.0, scale * estimate.value) for _, run, estimate in known(curve, name)]
    if points:
        axes.plot(*zip(*points, strict=True), color=color, linewidth=1.3, linestyle=_DASHED, label=label)


def style(number: int) -> dict[str, Any]:
    """Colour and marker of the mitigation with this number."""
    color, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
    return {"color": color, "marker": marker, "markersize": 4.5, "linewidth": 1.7}


def rings(axes: Axes, keys: Iterable[str], x: Sequence[float], y: Sequence[float]) -> None:
    """A ring around every point, each with its key."""
    for key, along, up in zip(keys, x, y, strict=True):
        axes.plot(
            [along],
            [up],
            marker="o",
            markersize=11,
            markerfacecolor="none",
            markeredgecolor=INK,
            markeredgewidth=1.6,
            linestyle="none",
            gid=f"{RING}{key}",
            clip_on=False,
            zorder=5,
        )


def limit(axes: Axes, value: float | None, scale: float, label: str) -> None:
    """A dotted level line with its name at the left."""
    if value is None or np.isnan(value):
        return
    axes.axhline(scale * value, color=MUTED, linewidth=1, linestyle=":")
    note(axes, label, (0, scale * value), ("axes fraction", "data"), (3, 3), "left", "bottom")


def note(
    axes: Axes,
    text: str,
    point: tuple[float, float],
    coordinates: tuple[str, str],
    offset: tuple[float, float],
    across: str,
    up: str,
) -> None:
    """A small muted remark."""
    axes.annotate(
        text,
        point,
        xycoords=coordinates,
        xytext=offset,
        textcoords="offset points",
        ha=across,
        va=up,
        color=MUTED,
        fontsize=9,
    )


class Labels:
    """λ beside points, left out where another label is in the way. Ask in order of importance, axes settled."""

    def __init__(self, axes: Axes) -> None:
        self._axes = axes
        self._placed: list[tuple[float, float]] = []

    def add(self, text: str, point: tuple[float, float]) -> None:
        """Label the point ``(x, y)`` in data coordinates."""
        x, y = self._axes.transData.transform(point)
        if any(abs(x - other[0]) < 32 and abs(y - other[1]) < 17 for other in self._placed):
            return
        self._placed.append((float(x), float(y)))
        self._axes.annotate(
            text,
            point,
            xytext=(6, 5),
            textcoords="offset points",
            color=INK,
            fontsize=9,
            annotation_clip=False,
        )


def legend(axes: Axes, loc: Any = "best") -> None:
    """A legend where there is more than one thing to tell apart."""
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(loc=loc)


def by_block(axes: Axes) -> None:
    """Block numbers along x: a model of few blocks has no quarters of one."""
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.set_xlabel("block")
