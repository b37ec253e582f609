"""Reading JSON of a known shape: every wrong thing is reported with its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from ..errors import InputError

T = TypeVar("T")
_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


class Node:
    """A JSON object together with its place in the file, for example ``results.json: runs[3].metrics``."""

    def __init__(self, value: Any, place: str) -> None:
        self.value: Mapping[str, Any] = value
        self.place = place
        self._taken: set[str] = set()

    def _get(self, key: str) -> Any:
        if not isinstance(self.value, Mapping):
            raise InputError(f"{self.place} is {_shown(self.value)}, but must be an object")
        self._taken.add(key)
        return self.value.get(key)

    def at(self, key: str) -> str:
        """The place of ``key``."""
        return f"{self.place}{'.' if ': ' in self.place else ': '}{key}"

    def take(self, key: str, kind: type[T]) -> T:
        """A required value of one kind."""
        value = self._get(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            found = _shown(value) if key in self.value else "missing"
            raise InputError(f"{self.at(key)} is {found}, but must be {_WORDS[kind]}")
        return value

    def text(self, key: str) -> str | None:
        """Text, or None for null and a missing key."""
        return None if self._get(key) is None else self.take(key, str)

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float:
        """A required number within [low, high]."""
        value = self.number_or_none(key)
        if value is None or not low <= value <= high:
            found = _shown(self._get(key)) if key in self.value else "missing"
            raise InputError(f"{self.at(key)} is {found}, but must be a number from {low:g} to {high:g}")
        return value

    def number_or_none(self, key: str) -> float | None:
        """A number; None for null, NaN and a missing key."""
        value = self._get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(f"{self.at(key)} is {_shown(value)}, but must be a number or null")
        return None if math.isnan(value) else value

    def count(self, key: str) -> int:
        """A required whole number that is not negative."""
        value = self.take(key, int)
        if value < 0:
            raise InputError(f"{self.at(key)} is {value}, but must not be negative")
        return value

    def integer(self) -> int:
        """This node itself as a whole number."""
        value: Any = self.value
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{self.place} is {_shown(value)}, but must be a whole number")
        return value

    def integer_or_none(self, key: str) -> int | None:
        """A whole number, or None for null and a missing key."""
        return None if self._get(key) is None else self.take(key, int)

    def optional(self, key: str) -> Node | None:
        """An object, or None for null and a missing key."""
        return None if self._get(key) is None else self.mapping(key)

    def mapping(self, key: str, *, required: bool = True) -> Node:
        """An object; an empty one if it is missing and not required."""
        value = self._get(key)
        if value is None and not required:
            value = {}
        if not isinstance(value, Mapping):
            found = _shown(value) if key in self.value else "missing"
            raise InputError(f"{self.at(key)} is {found}, but must be an object")
        return Node(value, self.at(key))

    def items(self, key: str, *, required: bool = True) -> list[Node]:
        """The entries of a list; none if it is missing and not required."""
        if not required and self._get(key) is None:
            return []
        entries: list[Any] = list(self.take(key, list))
        return [Node(entry, f"{self.at(key)}[{index}]") for index, entry in enumerate(entries)]

    def rest(self) -> dict[str, Any]:
        """What was not asked for."""
        return {key: value for key, value in self.value.items() if key not in self._taken}


def _shown(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
