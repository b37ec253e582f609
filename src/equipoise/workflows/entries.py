"""What a comparison is asked to compare: names, each with the methods to fit and the files to load for it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..methods import METHODS
from ..methods.mitigation import Mitigation
from ..tasks import Task
from .cautions import warn_of_seeds
from .fit import fitter_of, parse
from .inputs import SEED_FIELD, Source, the_mitigations

# A name becomes a file's name, and stands in lists with commas and sums.
_NAME = re.compile(r"[\w.+-]+")
_FILE = re.compile(r"\s*(.*?\.safetensors)\s*(?:\+|$)")


@dataclass(frozen=True)
class ToFit:
    """A method that is to be fitted, under a label of its own, and its settings."""

    label: str
    method: str
    fitter: Callable[..., Any]
    settings: Any


@dataclass(frozen=True, eq=False)
class Given:
    """A mitigation that is there already, for each seed; ``name`` is its file's, None for a value."""

    name: str | None
    mitigations: Mapping[int, Mitigation]


@dataclass(frozen=True, eq=False)
class Entry:
    """What is compared under one name: the sum of its terms, often a single one."""

    name: str
    terms: tuple[ToFit | Given, ...]

    @property
    def fits(self) -> tuple[ToFit, ...]:
        """The terms that have to be fitted."""
        return tuple(term for term in self.terms if isinstance(term, ToFit))


def the_entries(
    methods: str | Sequence[str] | Mapping[str, Source | Mapping[int, Source]],
    task: Task,
    seeds: Sequence[int],
    settings: Mapping[str, Mapping[str, str]],
) -> tuple[Entry, ...]:
    """The entries of a comparison, each name once; files are read, nothing is fitted.

    Args:
        methods: ``dso,caa,mine=a.safetensors+b.safetensors``; a list of such pieces; or a mapping from name to
            such a sum, a value, or a mapping from seed to values.
        task: what the methods will be fitted on.
        seeds: for which seeds.
        settings: texts for each method's settings, by the method's name or by the entry's.

    Raises :class:`InputError` for an unknown method, a name given twice, or settings of a method that isn't there.
    """
    named = _named(methods)
    if not named:
        raise InputError(f"there is no method to compare: give some of {', '.join(METHODS)}")
    names = [name for name, _ in named]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"{name!r} is given more than once: name each once (another=… gives another name)"
            )
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} can't be a name: use letters, digits and any of . + - _")
    entries = []
    for name, given in named:
        if isinstance(given, str):
            pieces = split_terms(given)
            terms = tuple(_term(name, piece, len(pieces) == 1, task, seeds, settings) for piece in pieces)
        else:
            terms = (Given(None, the_mitigations(given, seeds)[0]),)
        entries.append(Entry(name, terms))
    known = {label for entry in entries for fit in entry.fits for label in (fit.label, fit.method)}
    for label in settings:
        if label not in known:
            raise InputError(f"there are settings for {label!r}, which is not compared: name one of {names}")
    return tuple(entries)


def split_terms(text: str) -> tuple[str, ...]:
    """The terms of a sum: methods' names and files. Raises :class:`InputError` for what is neither."""
    if Path(text).is_file():
        return (text,)
    method = re.compile(rf"\s*({'|'.join(map(re.escape, METHODS))})\s*(?:\+|$)")
    pieces: list[str] = []
    rest = text
    while rest or not pieces:
        match = method.match(rest) or _FILE.match(rest)
        if match is None or (match[0].endswith("+") and match.end() == len(rest)):
            wrong = (rest if match is None else text).strip()
            raise InputError(
                f"unknown method {wrong!r}: use one of {', '.join(METHODS)}, a .safetensors file, or a sum, a+b"
            )
        pieces.append(match[1])
        rest = rest[match.end() :]
    return tuple(pieces)


def parse_method_settings(entries: Sequence[str]) -> dict[str, dict[str, str]]:
    """``method.key=value`` entries by method. Raises :class:`InputError` for another form or a key given twice."""
    found: dict[str, dict[str, str]] = {}
    for entry in entries:
        place, equals, value = entry.partition("=")
        method, dot, key = place.strip().rpartition(".")
        if not equals or not dot or not method or not key:
            raise InputError(f"setting {entry!r} must be METHOD.key=value, for example dso.kl=0.02")
        if key in found.setdefault(method, {}):
            raise InputError(f"setting {place.strip()!r} is given twice: keep one")
        found[method][key] = value.strip()
    return found


def _named(
    methods: str | Sequence[str] | Mapping[str, Source | Mapping[int, Source]],
) -> list[tuple[str, Source | Mapping[int, Source]]]:
    if isinstance(methods, Mapping):
        return [(name, os.fspath(v) if isinstance(v, os.PathLike) else v) for name, v in methods.items()]
    pieces = methods.split(",") if isinstance(methods, str) else list(methods)
    found: list[tuple[str, Source | Mapping[int, Source]]] = []
    for piece in pieces:
        text = piece.strip()
        name, equals, rest = text.partition("=")
        # An equals sign may stand in a file's name.
        if equals and _NAME.fullmatch(name.strip()) and not Path(text).is_file():
            found.append((name.strip(), rest.strip()))
        elif text:
            found.append((_default_name(text), text))
    return found


def _default_name(text: str) -> str:
    if Path(text).is_file():
        return Path(text).stem
    pieces = [Path(p).stem if p.endswith(".safetensors") else p for p in split_terms(text)]
    return "+".join(piece.replace(SEED_FIELD, "").strip("-_.") for piece in pieces)


def _term(
    name: str,
    piece: str,
    alone: bool,
    task: Task,
    seeds: Sequence[int],
    settings: Mapping[str, Mapping[str, str]],
) -> ToFit | Given:
    if piece not in METHODS:
        found, file = the_mitigations(piece, seeds)
        warn_of_seeds(piece, found)
        return Given(file, found)
    own = settings.get(name, {}) if alone else {}
    fitter = fitter_of(piece, task)
    return ToFit(
        # Two entries may fit one method with other settings.
        label=name if alone else piece,
        method=piece,
        fitter=fitter,
        settings=parse(fitter, {**settings.get(piece, {}), **own}),
    )
