"""How a workflow says how far it is: a callable that gets a fraction and a few words."""

from collections.abc import Callable

Report = Callable[[float, str], None]
"""Called with the fraction done, in [0, 1], and what is being done now."""


def silent(fraction: float, message: str) -> None:
    """Says nothing."""


def part(report: Report, start: float, end: float) -> Report:
    """The report of a step that takes the stretch from ``start`` to ``end`` of the whole."""
    return lambda fraction, message: report(start + (end - start) * fraction, message)
