"""Krippendorff's α: how far annotators agree beyond what chance would give (Krippendorff 2011)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence, Set
from itertools import permutations
from typing import TypeVar

V = TypeVar("V")


def nominal(a: Hashable, b: Hashable) -> float:
    """0 for equal values, 1 for others."""
    return float(a != b)


def jaccard(a: Set[str], b: Set[str]) -> float:
    """1 − |a ∩ b| / |a ∪ b|: how much two sets of labels differ; two empty ones don't."""
    union = a | b
    return 1 - len(a & b) / len(union) if union else 0.0


def krippendorff_alpha(
    units: Sequence[Sequence[V]], distance: Callable[[V, V], float] = nominal
) -> float | None:
    """α = 1 − D_o / D_e over units, each the values that annotators gave it.

    With m_u values in unit u and n values in all units that have two or more, D_o = Σ_u Σ_{i≠j in u} δ / (m_u − 1) / n,
    and D_e = Σ_{i≠j in all} δ / (n (n − 1)). Missing values are simply not there.

    Returns:
        α, at most 1; 0 is chance, below it is systematic disagreement. None where no unit has two values, or all
        values are the same, so that nothing could be disagreed on.
    """
    paired = [list(unit) for unit in units if len(unit) > 1]
    values = [value for unit in paired for value in unit]
    if not values:
        return None
    n = len(values)
    observed = sum(sum(distance(a, b) for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in paired)
    expected = sum(distance(a, b) for a, b in permutations(values, 2)) / (n - 1)
    return None if expected == 0 else 1 - observed / expected
