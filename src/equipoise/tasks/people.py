"""Images of people that differ in one attribute alone, from folders, packages and published sets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError, tell_left_out
from .emoji import load_emoji
from .image import Picture
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
    """All pairs that differ in ``attribute``, which has the two ``values``, and in nothing else that is labelled.

    An image without its twin is left out, with one warning that says how many there are; so is one of a third gender or
    race (of skin tones the ends of the scale are meant). Raises :class:`InputError` for
    two images with the same labels: either could be the twin of a third; and for twins that are one image.
    """
    alike: dict[tuple[str, ...], dict[str, Picture]] = defaultdict(dict)
    labelled = [portrait for portrait in portraits if attribute in portrait.labels]
    others = {portrait.labels[attribute] for portrait in labelled} - set(values)
    for portrait in labelled:
        value = portrait.labels[attribute]
        if value in values:
            rest = sorted(f"{k}={v}" for k, v in portrait.labels.items() if k != attribute)
            same = alike[portrait.category, portrait.concept, " ".join([portrait.scene, *rest])]
            if value in same:
                raise InputError(
                    f"{same[value].name} and {portrait.picture.name} have the same labels ({portrait.concept},"
                    f" {value}), so that no image has one twin: give those that belong together a style of their own (a"
                    " folder, or the column style)"
                )
            same[value] = portrait.picture
    found = [
        Twins(concept, category, scene, {value: shown[value] for value in values})
        for (category, concept, scene), shown in sorted(alike.items())
        if len(shown) == len(values)
    ]
    for pair in found:
        pictures = list(pair.shown.values())
        if len(set(pictures)) < len(pictures):
            raise InputError(
                f"{' and '.join(one.name for one in pictures)} are one image, labelled {' and '.join(values)}: correct"
                " the labels, or replace one of them"
            )
    alone = [one for shown in alike.values() if len(shown) < len(values) for one in shown.values()]
    if found and others and attribute != "tone":
        number = sum(portrait.labels[attribute] in others for portrait in labelled)
        why = f"{attribute} is compared between {' and '.join(values)}, and theirs is {', '.join(sorted(others))}"
        tell_left_out("images of people", number, len(labelled), why)
    if found and alone:
        total = len(alone) + len(values) * len(found)
        why = f"no other image differs from them in {attribute} alone, such as {alone[0].name}"
        tell_left_out("images of people", len(alone), total, why)
    return found


def load_people(source: str) -> list[Portrait]:
    """The labelled images that ``source`` names.

    Args:
        source: ``emoji`` or ``emoji:STYLE,STYLE`` (:mod:`equipoise.tasks.emoji`), ``pairs:PATH`` (the PAIRS
            repository), ``socialcounterfactuals:PATH`` (the hub dataset's parquet file or folder), or a folder of
            labelled images
            (:mod:`equipoise.tasks.labelled_images`).

    Raises :class:`InputError` for anything else, and for images or labels that are missing.
    """
    name, colon, path = source.partition(":")
    if name == "emoji":
        return load_emoji(path) if colon else load_emoji()
    if colon and name in _LOADERS:
        if not path:
            raise InputError(f"{name} needs data: write {name}:PATH")
        return _LOADERS[name](Path(path))
    if source and Path(source).is_dir():
        return load_folder(Path(source))
    raise InputError(
        f"there are no images of people at {source!r}: name emoji, emoji:STYLE, a folder of labelled images,"
        f" {', '.join(f'{one}:PATH' for one in _LOADERS)}"
    )


_LOADERS: dict[str, Callable[[Path], list[Portrait]]] = {
    "pairs": load_pairs,
    "socialcounterfactuals": load_social_counterfactuals,
}
