"""Statements: biased sentences beside neutral ones, for probes, detectors and steering vectors."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import InputError
from ..files import read_text, table_rows
from .crows_pairs import bias_type, joined

Label = Literal["biased", "neutral"]
BUILT_IN = "builtin"
MIN_GROUPS = 20
"""A category needs so many groups: a fifth of them is held out, and the rest is cut into folds."""

_COLUMNS = ("statement", "category", "label", "group")
_CROWS = ("sent_more", "sent_less", "bias_type")


@dataclass(frozen=True)
class Statement:
    """A sentence.

    Attributes:
        text: the sentence, without a line break at either end.
        category: the kind of bias it is about, such as ``gender``.
        label: ``biased`` if it carries a stereotype, else ``neutral``.
        group: sentences of one group (a minimal pair, say) are never on both sides of a split.
    """

    text: str
    category: str
    label: Label
    group: str


def load_statements(spec: str | os.PathLike[str]) -> tuple[Statement, ...]:
    """The statements that ``spec`` names: ``builtin``, ``crows_pairs:PATH``, or a JSON or CSV file.

    A file has the columns statement, category, label (biased or neutral) and group; JSON is a list of objects with
    these keys. Groups belong to their category: two categories may use the same name.

    Raises :class:`InputError`, one line with the file, the row and a remedy, for what can't be read, a missing column,
    an unknown label, an empty statement, a statement in two groups, a group with one label only, or a category with
    fewer than 20 groups.
    """
    name = os.fspath(spec)
    kind, colon, path = name.partition(":")
    if name == BUILT_IN:
        return _built_in()
    if kind == "crows_pairs" and colon:
        if not path:
            raise InputError("crows_pairs needs data: write crows_pairs:PATH, PATH being its CSV file")
        return _crows_pairs(path)
    suffix = Path(name).suffix.lower()
    if suffix == ".json":
        found = _statements(name, _json_rows(name))
    elif suffix == ".csv":
        found = _statements(name, _csv_rows(name, _read(name), _COLUMNS))
    else:
        raise InputError(
            f"statements {name!r}: use {BUILT_IN}, crows_pairs:PATH, or a .json or .csv file with the columns "
            f"{', '.join(_COLUMNS)}"
        )
    return check_statements(found, name)


def check_statements(statements: Iterable[Statement], name: str = "statements") -> tuple[Statement, ...]:
    """The statements, if every group has both labels and every category enough groups.

    ``name`` begins the message of the :class:`InputError` that is raised otherwise.
    """
    found = tuple(statements)
    groups: dict[tuple[str, str], set[str]] = {}
    home: dict[tuple[str, str], str] = {}
    for one in found:
        groups.setdefault((one.category, one.group), set()).add(one.label)
        if home.setdefault((one.category, one.text), one.group) != one.group:
            raise InputError(
                f"{name}: {_short(one.text)} stands in the groups {home[one.category, one.text]!r} and {one.group!r}: "
                "give both one group, or it would be learned from and tested on"
            )
    for (category, group), labels in groups.items():
        if len(labels) == 1:
            raise InputError(
                f"{name}: group {group!r} of {category!r} has only {next(iter(labels))} statements: "
                "give each group at least one biased and one neutral statement"
            )
    if not found:
        raise InputError(f"{name}: there are no statements: give at least {MIN_GROUPS} groups")
    for category, count in Counter(category for category, _ in groups).items():
        if count < MIN_GROUPS:
            raise InputError(
                f"{name}: {category!r} has {count} group{'s' if count > 1 else ''}, and a probe needs at least "
                f"{MIN_GROUPS}: add pairs, or leave the category out"
            )
    return found


def categories_of(statements: Iterable[Statement]) -> tuple[str, ...]:
    """The categories, in order of first appearance."""
    return tuple(dict.fromkeys(one.category for one in statements))


def statements_fingerprint(statements: Iterable[Statement]) -> str:
    """SHA-256 (hex) over texts, categories, labels and groups, in order."""
    digest = hashlib.sha256()
    for one in statements:
        record = [one.text, one.category, one.label, one.group]
        digest.update(json.dumps(record, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


@cache
def _built_in() -> tuple[Statement, ...]:
    name = "statements.csv"
    text = resources.files(__package__).joinpath(f"data/{name}").read_text(encoding="utf-8")
    return check_statements(_statements(name, _csv_rows(name, text, _COLUMNS)), name)


def _read(path: str) -> str:
    return read_text(path, "statements", "give a UTF-8 text file")


def _csv_rows(name: str, text: str, columns: Sequence[str]) -> list[tuple[str, Mapping[str, Any]]]:
    """Place and content of each row."""
    rows = table_rows(text, name, f"the first line must name {', '.join(columns)}", columns)
    return [(f"{name}: line {line}", row) for line, row in rows]


def _json_rows(name: str) -> list[tuple[str, Mapping[str, Any]]]:
    try:
        entries = json.loads(_read(name))
    except ValueError as error:
        raise InputError(f"{name}: is no JSON ({error}): mend it") from None
    if not isinstance(entries, list):
        raise InputError(
            f"{name}: must be a list of objects with the keys {', '.join(_COLUMNS)}: put them into […]"
        )
    found = []
    for number, entry in enumerate(entries, 1):
        place = f"{name}: entry {number}"
        lacking = [key for key in _COLUMNS if not isinstance(entry, dict) or key not in entry]
        if lacking:
            raise InputError(f"{place}: {lacking[0]!r} is missing: each needs {', '.join(_COLUMNS)}")
        found.append((place, entry))
    return found


def _statements(name: str, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Statement]:
    found = []
    for place, row in rows:
        values = {key: "" if row[key] is None else str(row[key]).strip() for key in _COLUMNS}
        label = values["label"].lower()
        if label not in get_args(Label):
            raise InputError(
                f"{place}: unknown label {values['label']!r}: it must be {' or '.join(get_args(Label))}"
            )
        for key in _COLUMNS:
            if not values[key]:
                raise InputError(f"{place}: the {key} is empty: fill it in, or take the row out")
        found.append(Statement(values["statement"], values["category"], label, values["group"]))  # type: ignore[arg-type]
    return found


def _crows_pairs(path: str) -> tuple[Statement, ...]:
    """CrowS-Pairs (Nangia et al. 2020): ``sent_more`` is the more stereotyping sentence of each pair.

    Some of its sentences stand in several pairs; such pairs become one group. Categories with too few pairs for a
    probe are left out.
    """
    pairs: list[tuple[str, str, str]] = []
    for place, row in _csv_rows(path, _read(path), _CROWS):
        more, less, category = (str(row[key] or "").strip() for key in _CROWS)
        if not more or not less or not category:
            raise InputError(f"{place}: a sentence or its bias_type is empty: take the row out")
        if more != less:
            pairs.append((more, less, bias_type(category, place)))
    groups = joined([[(category, text) for text in (more, less)] for more, less, category in pairs])
    sizes = Counter(pairs[number][2] for number in set(groups))
    found = []
    for (more, less, category), number in zip(pairs, groups, strict=True):
        if sizes[category] >= MIN_GROUPS:
            group = f"pair {number}"
            found += [
                Statement(more, category, "biased", group),
                Statement(less, category, "neutral", group),
            ]
    return check_statements(found, path)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}…")
