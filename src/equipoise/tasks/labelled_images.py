"""A user's folder of labelled parallel images.

Either a ``labels.csv`` in it has a row for each image, with the columns ``file`` and ``concept`` and any of ``gender``,
``tone``, ``race``, ``style`` and ``category``; or the files say it themselves, ``concept__gender__tone.png`` with
underscores for spaces, those of each style in a folder of its own.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..files import read_table
from .image import picture
from .portrait import CATEGORIES, Portrait, gender_of

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
_ATTRIBUTES = ("gender", "tone", "race")


def load_folder(folder: Path) -> list[Portrait]:
    """The portraits in ``folder``. Raises :class:`InputError` for a missing label or file, or if there are none."""
    labels = folder / "labels.csv"
    found = _by_labels(labels) if labels.is_file() else _by_names(folder)
    if not found:
        raise InputError(
            f"{folder} holds no labelled images: name them concept__gender__tone.png, or add a labels.csv"
        )
    return found


def _by_labels(file: Path) -> list[Portrait]:
    remedy = "give a UTF-8 table with the columns file and concept"
    found = []
    for line, row in read_table(file, "labelled images", remedy, ("file", "concept")):
        where = f"{file}, line {line}"
        concept = (row["concept"] or "").strip()
        name = (row["file"] or "").strip()
        if not concept or not name:
            raise InputError(f"{where}: the {'file' if concept else 'concept'} is missing: complete the row")
        given = {name: (row.get(name) or "").strip().lower() for name in _ATTRIBUTES}
        values = {name: value for name, value in given.items() if value}
        if not values:
            raise InputError(f"{where}: there is no label: give at least one of {', '.join(_ATTRIBUTES)}")
        if "gender" in values:
            values["gender"] = gender_of(values["gender"], where)
        category = (row.get("category") or "").strip() or CATEGORIES[0]
        if category not in CATEGORIES:
            raise InputError(f"{where}: {category!r} is no category: use one of {', '.join(CATEGORIES)}")
        shown = picture(file.parent / name)
        found.append(Portrait(shown, concept, values, (row.get("style") or "").strip(), category))
    return found


def _by_names(folder: Path) -> list[Portrait]:
    found = []
    for path in sorted(p for p in folder.rglob("*") if _is_meant(p)):
        parts = path.stem.split("__")
        if len(parts) not in (2, 3) or not all(parts):
            raise InputError(
                f"{path}: its name doesn't say what it shows: write concept__gender.png or concept__gender__tone.png,"
                " or add a labels.csv"
            )
        labels = {"gender": gender_of(parts[1], str(path))}
        if len(parts) == 3:
            labels["tone"] = parts[2].replace("_", " ").lower()
        style = path.parent.relative_to(folder).as_posix()
        found.append(
            Portrait(picture(path), parts[0].replace("_", " "), labels, "" if style == "." else style)
        )
    return found


def _is_meant(path: Path) -> bool:
    """Whether it is meant as an image: by its suffix, whatever its name, or by its name, whatever its suffix."""
    hidden = path.name.startswith(".")
    return path.is_file() and not hidden and (path.suffix.lower() in _SUFFIXES or "__" in path.stem)
