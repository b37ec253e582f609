"""What was scored, kept as it is scored: a file of lines that an interrupted run goes on from.

The first line says what the numbers are of; every other one is an entry with a number ``i``, its values, and a
checksum. Lines are only ever appended, each batch with one write, so that a run that is killed leaves whole lines, and
two runs that write the same leave the same twice.
"""

from __future__ import annotations

import json
import os
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputWarning

Row = Mapping[str, Any]


class Journal:
    """The entries of one file, by number.

    Args:
        path: the file; it is made with its folder when something is first added.
        facts: what the numbers are of, for whoever reads the file; it is not compared.
        tally: counts the entries ``found`` and ``added``, and writes that ``failed``, after which none is tried again.

    Lines that are no entries (a disk's error, an editor) are left out, and one :class:`equipoise.errors.InputWarning`
    says how many.
    """

    def __init__(
        self, path: str | os.PathLike[str], facts: Mapping[str, Any], tally: Counter[str] | None = None
    ) -> None:
        self.path, self._facts = Path(path), dict(facts)
        self._tally: Counter[str] = Counter() if tally is None else tally
        self._rows: dict[int, Row] = {}
        self._torn = False
        self._begun = False
        self._read()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, numbers: Sequence[int]) -> list[Row] | None:
        """The entries of all ``numbers``; None if one of them is missing: a batch is computed whole or not at all."""
        if any(number not in self._rows for number in numbers):
            return None
        self._tally["found"] += len(numbers)
        return [self._rows[number] for number in numbers]

    def add(self, rows: Mapping[int, Row]) -> None:
        """Append entries, JSON values by name. Where it can't, one warning for all that count together."""
        lines = [_line({"i": number, **row}) for number, row in rows.items()]
        if not self._begun:
            lines.insert(0, json.dumps({"journal": 1, **self._facts}, ensure_ascii=False, default=str))
        if self._torn:
            lines.insert(0, "")
        self._rows |= rows
        self._tally["added"] += len(rows)
        if not self._tally["failed"]:
            self._append(("\n".join(lines) + "\n").encode())

    def part(self, numbers: Sequence[int]) -> Part:
        """The entries of some numbers, for what counts them from 0."""
        return Part(self, tuple(numbers))

    def _append(self, content: bytes) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                while content:
                    content = content[os.write(descriptor, content) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            # A full disk stays full: one word for all journals of a run.
            self._tally["failed"] += 1
            warnings.warn(
                f"{self.path} can't be written ({error.strerror}): what is measured is not kept, so an interrupted "
                "run can't go on from it; set EQUIPOISE_CACHE to another folder, or turn it off with --no-cache",
                InputWarning,
                stacklevel=3,
            )
        self._begun, self._torn = True, False

    def _read(self) -> None:
        try:
            content = self.path.read_bytes()
        except OSError:
            return
        self._begun = bool(content)
        self._torn = bool(content) and not content.endswith(b"\n")
        damaged = 0
        for line in content.split(b"\n"):
            row = _entry(line)
            if row is not None:
                self._rows[row.pop("i")] = row
            # Two runs that begin a file at the same moment both write its head.
            elif line and not _is_head(line):
                damaged += 1
        if damaged:
            warnings.warn(
                f"{self.path}: {damaged} damaged line{'s are' if damaged > 1 else ' is'} left out; what was in "
                f"{'them' if damaged > 1 else 'it'} is measured again",
                InputWarning,
                stacklevel=2,
            )


@dataclass(frozen=True, eq=False)
class Part:
    """Some of a journal's entries: its number k is ``numbers[k]`` there."""

    whole: Journal
    numbers: tuple[int, ...]

    def get(self, numbers: Sequence[int]) -> list[Row] | None:
        """See :meth:`Journal.get`."""
        return self.whole.get([self.numbers[number] for number in numbers])

    def add(self, rows: Mapping[int, Row]) -> None:
        """See :meth:`Journal.add`."""
        self.whole.add({self.numbers[number]: row for number, row in rows.items()})


def finite(values: Iterable[float]) -> list[float | None]:
    """Numbers for JSON, −inf as None."""
    return [None if value == float("-inf") else float(value) for value in values]


def infinite(values: Iterable[float | None]) -> list[float]:
    """Inverse of :func:`finite`."""
    return [float("-inf") if value is None else value for value in values]


def _line(row: Mapping[str, Any]) -> str:
    # Python writes the shortest digits that give a double back, so what is read is what was written.
    return json.dumps({**row, "crc": _checksum(row)}, allow_nan=False)


def _checksum(row: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(row, sort_keys=True, allow_nan=False).encode())


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
        whole = isinstance(row, dict) and isinstance(row.get("i"), int)
        return row if whole and row.pop("crc", None) == _checksum(row) else None
    except ValueError:
        return None


def _is_head(line: bytes) -> bool:
    try:
        head = json.loads(line)
    except ValueError:
        return False
    return isinstance(head, dict) and "journal" in head
