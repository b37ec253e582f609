"""SocialCounterfactuals (Howard et al., CVPR 2024) from the hub dataset's parquet files.

An image belongs to a ``counterfactual_set``, whose captions are one sentence with other attributes ("A photo of a
Black female doctor", "… a tattooed female doctor"). ``a1a2`` names the two attributes. They and the occupation are read
from the caption: the words of a gender and a race, the word for a look before them, and what follows the last of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import InputError, tell_left_out
from .image import Picture
from .portrait import Portrait, gender_of

_RACES = ("white", "black", "asian", "indian", "latino", "middle eastern", "hispanic")
_RACE = re.compile(rf"\b({'|'.join(_RACES)})\b", re.IGNORECASE)
# What follows the last article before a gender or a race: "tattooed", of the sets that vary looks.
_LOOK = re.compile(r"\b(?:an?|the)\s+((?:(?!\b(?:an?|the)\b).)*)$", re.IGNORECASE)
_GENDER = re.compile(r"\b(male|female|man|woman)\b", re.IGNORECASE)
_NEEDED = ("image", "counterfactual_set", "a1a2")


def load_social_counterfactuals(path: Path, *, most: int | None = None) -> list[Portrait]:
    """The portraits whose captions name a gender or a race and an occupation.

    Args:
        path: a parquet file, or a folder of them.
        most: stop after so many portraits; None reads everything. Images stay in their file until they are needed: the
            set is larger than most memories.

    Raises :class:`InputError` for a missing file or column, an image that is none, or if no caption is understood.
    """
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise InputError(f"socialcounterfactuals: there is no parquet file at {path}")
    found: list[Portrait] = []
    read = 0
    for file in files:
        for number, (row, image) in enumerate(_rows(file)):
            portrait = _portrait(row, image, f"{file.name}, row {number}")
            read += 1
            if portrait is not None:
                found.append(portrait)
            if most is not None and len(found) >= most:
                return found
    if not found:
        raise InputError(
            f"socialcounterfactuals: no caption in {path} names a gender or a race and an occupation"
        )
    why = "their captions don't name a gender or a race and an occupation"
    tell_left_out("socialcounterfactuals: images", read - len(found), read, why)
    return found


class _Images:
    """The images of one parquet file, a row group in memory at a time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._group: int | None = None
        self._images: list[Any] = []

    def read(self, group: int, row: int) -> Any:
        """What the column ``image`` has there, the file's bytes if all is well."""
        if group != self._group:
            import pyarrow.parquet as parquet

            with _told(self._file), parquet.ParquetFile(self._file) as table:
                self._images = table.read_row_group(group, columns=["image"])["image"].to_pylist()
            self._group = group
        image = self._images[row]
        return image.get("bytes") if isinstance(image, dict) else image


def _rows(file: Path) -> Iterator[tuple[dict[str, Any], Callable[[], Any]]]:
    """Each row without its image, and what reads that."""
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise InputError("parquet files are read by pyarrow: pip install 'equipoise[hub]'") from error
    try:
        table = parquet.ParquetFile(file)
    except Exception as error:
        raise InputError(f"socialcounterfactuals: {file} is no parquet file ({error})") from error
    with table:
        names = table.schema_arrow.names
        missing = [name for name in _NEEDED if name not in names]
        if missing:
            raise InputError(f"socialcounterfactuals: {file} has no column {missing[0]!r}")
        others, images = [name for name in names if name != "image"], _Images(file)
        for group in range(table.num_row_groups):
            with _told(file):
                rows = table.read_row_group(group, columns=others).to_pylist()
            for number, row in enumerate(rows):
                yield row, partial(images.read, group, number)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """What pyarrow finds wrong while reading, as one line."""
    try:
        yield
    except (OSError, ValueError) as error:  # the footer may be whole where a page is not
        raise InputError(f"socialcounterfactuals: {file} is damaged ({error}): get it again") from error


def _portrait(row: dict[str, Any], image: Callable[[], Any], where: str) -> Portrait | None:
    captions = [value for name, value in row.items() if "caption" in name and isinstance(value, str)]
    caption = captions[0] if captions else ""
    gender, race = _GENDER.search(caption), _RACE.search(caption)
    named = [match for match in (gender, race) if match]
    words = caption[max(match.end() for match in named) :].strip(" .,") if named else ""
    if not words:
        return None
    if not isinstance(image(), bytes):
        raise InputError(f"socialcounterfactuals: {where}: the image has no bytes")
    labels = {"gender": gender_of(gender.group(), where)} if gender else {}
    labels |= {"race": race.group().lower()} if race else {}
    look = _LOOK.search(caption[: min(match.start() for match in named)])
    if look and look[1].strip():
        labels["look"] = look[1].strip().lower()
    shown = Picture(name=f"socialcounterfactuals, {where}", source=image)
    # Now, while its row group is at hand: later, pictures are compared in another order.
    _ = shown.digest
    return Portrait(
        shown,
        words.lower(),
        labels,
        str(row["counterfactual_set"]),
    )
