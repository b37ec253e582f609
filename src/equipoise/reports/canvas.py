"""How figures look and how they are written: colours, type, and SVG that follows the page around it."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")

# Okabe and Ito's palette, told apart with any colour vision, and two more; markers differ as well.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b3fa8", "#7d6b2f")
# One more than there are colours, so that a ninth mitigation doesn't look like the first.
MARKERS = "osD^vPX*<"
GLYPHS = "●■◆▲▼✚✖★◀"  # the same markers as text
INK, MUTED, LINE, PAPER, GOOD = "#1f2430", "#5d6473", "#d9dbe1", "#ffffff", "#1b7a4b"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    PAPER: "--card",
    GOOD: "--good",
    **{color: f"--series-{i}" for i, color in enumerate(SERIES)},
}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "equipoise",
    "text.parse_math": False,  # a name may hold a dollar sign
}
_SIZE = (4.9, 3.2)


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Draw in this house's style, whatever the program around it has set."""

    @functools.wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        with rc_context(_STYLE):
            return draw(*args, **kwargs)

    return inside


def new_figure(size: tuple[float, float] = _SIZE) -> tuple[Figure, Axes]:
    """A transparent figure with one pair of axes; call it inside :func:`styled`."""
    figure = Figure(figsize=size, layout="constrained", facecolor="none")
    axes = figure.subplots()
    axes.set_facecolor("none")
    return figure, axes


def _render(figure: Figure, form: str, style: dict[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    with rc_context({**_STYLE, **style}):
        # Without a date the same results give the same bytes.
        figure.savefig(buffer, format=form, dpi=200, metadata={"Date": None} if form == "svg" else None)
    return buffer.getvalue()


def svg(figure: Figure, prefix: str, active: str | None = None) -> str:
    """The figure as an ``<svg>`` element for a page.

    ``prefix`` keeps its ids apart from those of other figures. Rings that mark the points of one setting have the
    class ``ring`` and ``data-key``; those of ``active`` have the class ``on`` as well.
    """
    text = _render(figure, "svg", {"svg.fonttype": "none"}).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    for attribute in ("width", "height"):  # the page decides; the viewBox keeps the shape
        text = re.sub(rf'(<svg[^>]*?) {attribute}="[^"]*"', r"\1", text, count=1)
    text = re.sub(r' (xmlns(:xlink)?|version)="[^"]*"', "", text)

    def ring(match: re.Match[str]) -> str:
        state = "ring on" if match[1] == active else "ring"
        return f'<g class="{state}" data-key="{match[1]}">'

    text = re.sub(r'<g id="ring ([^"]*)">', ring, text)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    return re.sub(r"\n\s*", "\n", text).strip()


def image(figure: Figure, form: str = "svg") -> bytes:
    """The figure as a file of its own, ``svg`` (text as outlines) or ``png``."""
    return _render(figure, form, {"svg.fonttype": "path"})
