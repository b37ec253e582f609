"""SocialCounterfactuals (Howard et al., CVPR 2024) from the hub dataset's parquet files.

An image belongs to a ``counterfactual_set``, whose captions are one sentence with other attributes ("A photo of a
Black female doctor", "… a tattooed female doctor"). ``a1a2`` names the two attributes. They and the occupation are read
from the caption: the words of a gender and a race, the word for a look before them, and what follows the last of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError, tell_left_out
from .image import picture
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
        most: stop after so many portraits; None reads everything (images are kept in memory as they are stored).

    Raises :class:`InputError` for a missing file or column, an image that is none, or if no caption is understood.
    """
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise InputError(f"socialcounterfactuals: there is no parquet file at {path}")
    found: list[Portrait] = []
    read = 0
    for file in files:
        for number, row in enumerate(_rows(file)):
            portrait = _portrait(row, f"{file.name}, row {number}")
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


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise InputError("parquet files are read by pyarrow: pip install 'equipoise[hub]'") from error
    try:
        table = parquet.ParquetFile(file)
    except Exception as error:
        raise InputError(f"socialcounterfactuals: {file} is no parquet file ({error})") from error
    missing = [name for name in _NEEDED if name not in table.schema_arrow.names]
    if missing:
        raise InputError(f"socialcounterfactuals: {file} has no column {missing[0]!r}")
    batches = table.iter_batches(batch_size=64)
    while True:
        try:
            batch = next(batches, None)
        except (OSError, ValueError) as error:  # the footer may be whole where a page is not
            raise InputError(f"socialcounterfactuals: {file} is damaged ({error}): get it again") from error
        if batch is None:
            return
        yield from batch.to_pylist()


def _portrait(row: dict[str, Any], where: str) -> Portrait | None:
    captions = [value for name, value in row.items() if "caption" in name and isinstance(value, str)]
    caption = captions[0] if captions else ""
    gender, race = _GENDER.search(caption), _RACE.search(caption)
    named = [match for match in (gender, race) if match]
    words = caption[max(match.end() for match in named) :].strip(" .,") if named else ""
    if not words:
        return None
    image = row["image"]
    data = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(data, bytes):
        raise InputError(f"socialcounterfactuals: {where}: the image has no bytes")
    labels = {"gender": gender_of(gender.group(), where)} if gender else {}
    labels |= {"race": race.group().lower()} if race else {}
    look = _LOOK.search(caption[: min(match.start() for match in named)])
    if look and look[1].strip():
        labels["look"] = look[1].strip().lower()
    return Portrait(
        picture(data, f"socialcounterfactuals, {where}"),
        words.lower(),
        labels,
        str(row["counterfactual_set"]),
    )
