"""Writing files whole or not at all, JSON, and reading text and tables."""

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

from .errors import InputError


def refuse_existing(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Return ``path``, or raise :class:`InputError` if something is there and ``force`` is not set."""
    target = Path(path)
    if target.exists() and not force:
        raise InputError(f"{target} exists already: choose another --out, or add --force to overwrite it")
    return target


def read_text(path: str | os.PathLike[str], what: str, remedy: str) -> str:
    """The UTF-8 text of a file, without the byte order mark that some programs put first.

    Raises :class:`InputError`, beginning with ``what`` and ending with ``remedy``, if it can't be read as that.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise InputError(f"{what}: can't read {path} ({reason}): {remedy}") from error


def text_lines(text: str) -> list[str]:
    """The lines of ``text``, which end with a line feed (or both characters of Windows) and with nothing else.

    ``str.splitlines`` also ends them at U+2028, U+0085 and others, which may stand in the middle of a line of JSON.
    """
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def read_rows(
    path: str | os.PathLike[str], what: str, remedy: str, **form: Any
) -> list[tuple[int, list[str]]]:
    """The rows of a CSV file that have anything in them, each after the number of its (last) line.

    ``form`` is passed to :func:`csv.reader`. Raises :class:`InputError` as :func:`read_text` does, also for what is no
    CSV, such as a quotation mark that is never closed.
    """
    return csv_rows(read_text(path, what, remedy), f"{what}: {path}", remedy, **form)


def csv_rows(text: str, place: str, remedy: str, **form: Any) -> list[tuple[int, list[str]]]:
    """:func:`read_rows` of a text; ``place`` begins the messages."""
    # Not split into lines first: a quoted field may hold a line break.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, **form)
    try:
        return [(reader.line_num, row) for row in reader if any(field.strip() for field in row)]
    except csv.Error as error:
        raise InputError(f"{place} is no CSV file (line {reader.line_num}: {error}): {remedy}") from None


def read_table(
    path: str | os.PathLike[str], what: str, remedy: str, columns: Sequence[str], **form: Any
) -> list[tuple[int, dict[str, str | None]]]:
    """The rows of a CSV file by the names in its first one, each after its line; None where a row is too short.

    Raises :class:`InputError` as :func:`read_rows` does, also where one of ``columns`` is missing or there twice, or a
    row is longer than the first: a comma without quotation marks shifts what follows it.
    """
    return table_rows(read_text(path, what, remedy), f"{what}: {path}", remedy, columns, **form)


def table_rows(
    text: str, place: str, remedy: str, columns: Sequence[str], **form: Any
) -> list[tuple[int, dict[str, str | None]]]:
    """:func:`read_table` of a text; ``place`` begins the messages."""
    (_, names), *rows = csv_rows(text, place, remedy, **form) or [(1, [])]
    header = [name.strip() for name in names]
    for column in columns:
        if header.count(column) != 1:
            count = "two columns" if column in header else "no column"
            raise InputError(f"{place} has {count} {column!r}: {remedy}")
    for line, row in rows:
        if any(field.strip() for field in row[len(header) :]):
            raise InputError(
                f"{place}, line {line}: {len(row)} fields, but the first line names {len(header)}: put quotation marks"
                " around a field that has the separator in it"
            )
    return [(line, dict(zip_longest(header, row[: len(header)]))) for line, row in rows]


def json_text(content: Any) -> str:
    """``content`` as in all our JSON files, for readers of any language: indented, UTF-8, without NaN."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_atomic(path: str | os.PathLike[str], data: bytes | str, *, force: bool = False) -> Path:
    """Write ``data`` to ``path`` so that a reader sees the old file or the new one, never a part.

    Text is written as UTF-8. Missing parent folders are made. Raises :class:`InputError` if the file
    exists and ``force`` is not set.
    """
    target = refuse_existing(path, force=force)
    target.parent.mkdir(parents=True, exist_ok=True)
    payload = data.encode("utf-8") if isinstance(data, str) else data
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files private; an ordinary result should be readable like any other new file.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def refuse_full(path: str | os.PathLike[str], mark: str, *, force: bool = False) -> Path:
    """Return ``path`` if a folder can be made there: nothing is there, or an empty folder.

    With ``force`` a folder that holds the file ``mark``, which says that this program made it, may be replaced too.
    Raises :class:`InputError` otherwise.
    """
    target = Path(path)
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return target
    if not target.is_dir():
        raise InputError(f"--out {target} is a file, but must be a folder: choose another")
    if not (target / mark).is_file():
        raise InputError(
            f"{target} holds other things (there is no {mark} in it): choose an empty or new folder"
        )
    return refuse_existing(target, force=force)


@contextmanager
def whole_folder(path: str | os.PathLike[str], mark: str, *, force: bool = False) -> Iterator[Path]:
    """A new folder to write into, which becomes ``path`` if all goes well; otherwise nothing has changed.

    See :func:`refuse_full` for ``mark`` and ``force``. Missing parent folders are made.
    """
    target = refuse_full(path, mark, force=force).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        made, old = place / "new", place / "old"
        made.mkdir()
        yield made
        if refuse_full(target, mark, force=force).exists():
            os.replace(target, old)
        os.replace(made, target)
    finally:
        shutil.rmtree(place, ignore_errors=True)
