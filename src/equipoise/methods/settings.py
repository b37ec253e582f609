"""Settings of methods: read from texts, and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar, cast

from ..errors import InputError

T = TypeVar("T")


def parse_settings(kind: type[T], method: str, given: Mapping[str, str]) -> T:
    """A settings dataclass from texts; each field's default says whether it is an int, a float or a word."""
    known: dict[str, Any] = {field.name: field.default for field in fields(cast(Any, kind))}
    values: dict[str, Any] = {}
    for key, text in given.items():
        if key not in known:
            raise InputError(f"{method} has no setting {key!r}: choose from {', '.join(known)}")
        wanted = type(known[key])
        try:
            values[key] = wanted(text)
        except ValueError:
            raise InputError(
                f"{method} setting {key}={text!r}: give a number, such as {known[key]}"
            ) from None
    return kind(**values)


def require(method: str, settings: object, least: Mapping[str, float]) -> None:
    """Raise InputError for a setting below its least value, or not finite."""
    for name, value in least.items():
        found = getattr(settings, name)
        if not value <= found < float("inf"):
            raise InputError(f"{method} setting {name}={found}: it must be at least {value:g}")


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
