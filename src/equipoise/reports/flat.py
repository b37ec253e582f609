"""Nested values as names and texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_LONGEST_LIST = 12


def flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested values as names and texts; long lists (sampled weights) by their length only."""
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in flat(item, f"{name} {key}".strip())]
    if isinstance(value, (list, tuple)):
        if len(value) > _LONGEST_LIST:
            return [(name, f"{len(value)} values")]
        return [(name, ", ".join(map(str, value)))]
    return [] if value is None else [(name, re.sub(r"\s+", " ", str(value)))]
