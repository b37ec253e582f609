"""Settings of methods: read from texts, and checked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar, cast

from ..errors import InputError

T = TypeVar("T")

AUTO = "auto"
"""The value of a setting that is chosen on validation data; such a setting also takes a number, or a word."""


def parse_settings(kind: type[T], method: str, given: Mapping[str, str], *, texts: Sequence[str] = ()) -> T:
    """A settings dataclass from texts; each field's default says whether it is an int, a float or a word.

    A default of ``auto`` also takes a number, but for the fields in ``texts``, which stay texts.
    """
    known: dict[str, Any] = {field.name: field.default for field in fields(cast(Any, kind))}
    values: dict[str, Any] = {}
    for key, text in given.items():
        if key not in known:
            raise InputError(f"{method} has no setting {key!r}: choose from {', '.join(known)}")
        wanted = type(known[key])
        try:
            values[key] = _number_or_word(text) if known[key] == AUTO and key not in texts else wanted(text)
        except ValueError:
            raise InputError(
                f"{method} setting {key}={text!r}: give a number, such as {known[key]}"
            ) from None
    return kind(**values)


def _number_or_word(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def require_auto(method: str, settings: object, name: str, *, whole: bool = False) -> None:
    """Raise InputError unless a setting is ``auto`` or a number above 0 (of ``whole`` ones: 1 or more)."""
    found = getattr(settings, name)
    kinds = int if whole else (int, float)
    if found != AUTO and not (isinstance(found, kinds) and 0 < found < float("inf")):
        kind = "a whole number of at least 1" if whole else "a number above 0"
        raise InputError(f"{method} setting {name}={found}: give auto, or {kind}")


def fixed(value: float | str) -> float | None:
    """The number that a setting fixes; None if it is to be chosen."""
    return None if isinstance(value, str) else float(value)


def require(method: str, settings: object, least: Mapping[str, float]) -> None:
    """Raise InputError for a setting below its least value, or not finite."""
    for name, value in least.items():
        found = getattr(settings, name)
        if not value <= found < float("inf"):
            kind = "" if math.isfinite(found) else "a finite number of "
            raise InputError(f"{method} setting {name}={found}: it must be {kind}at least {value:g}")


def require_budget(method: str, settings: object, *names: str) -> None:
    """Raise InputError for a budget that isn't above 0."""
    for name in names:
        if not getattr(settings, name) > 0:
            raise InputError(f"{method} setting {name}={getattr(settings, name)}: a budget must be above 0")


def require_share(method: str, settings: object, name: str) -> None:
    """Raise InputError for a share outside (0, 1]."""
    if not 0 < getattr(settings, name) <= 1:
        raise InputError(
            f"{method} setting {name}={getattr(settings, name)}: a share must be above 0 and at most 1"
        )


def require_word(method: str, settings: object, name: str, words: Sequence[str]) -> None:
    """Raise InputError, naming the words there are, for another one."""
    if getattr(settings, name) not in words:
        raise InputError(
            f"{method} setting {name}={getattr(settings, name)!r}: choose one of {', '.join(words)}"
        )
