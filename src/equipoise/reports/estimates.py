"""Estimates in JSON: a number that is not finite is null."""

from __future__ import annotations

import math
from typing import Any

from ..errors import InputError
from ..metrics import Estimate
from .checked import Node


def estimates(node: Node, count: int) -> dict[str, Estimate | None]:
    """A mapping of estimates; ``count`` where one doesn't say its n."""
    return {name: read_estimate(node.optional(name), count) for name in node.value}


def read_estimate(node: Node | None, count: int) -> Estimate | None:
    """None for null and for a null value; missing ends of an interval are NaN."""
    if node is None:
        return None
    value, low, high = (node.number_or_none(name) for name in ("value", "low", "high"))
    if value is None:
        return None
    if low is not None and high is not None and not low <= high:
        raise InputError(f"{node.place}: low {low} lies above high {high}")
    n = node.integer_or_none("n")
    low, high = (math.nan if end is None else end for end in (low, high))
    return Estimate(value, low, high, count if n is None else n)


def read_estimates(value: Any, count: int) -> dict[str, Estimate | None]:
    """A mapping of estimates in a key that the contract leaves open; empty for null."""
    return {} if value is None else estimates(Node(value, "results"), count)


def write_estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    """Null for what was not measured."""
    return None if estimate is None or math.isnan(estimate.value) else estimate.as_dict()
