"""One labelled image of a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import InputError
from .image import Picture

CATEGORIES = ("occupation", "status", "potential crime")


@dataclass(frozen=True)
class Portrait:
    """An image of a person, and what is known of it.

    Attributes:
        picture: the image.
        concept: what the person is or does, in words that fit a sentence: ``police officer``.
        labels: the person's attributes: ``gender`` (woman, man), ``tone``, ``race``, ``look``.
        scene: what parallel images share: a drawing style, or a set of counterfactuals.
        category: what kind of concept it is: one of :data:`CATEGORIES`.
    """

    picture: Picture
    concept: str
    labels: Mapping[str, str] = field(hash=False)
    scene: str = ""
    category: str = "occupation"


_GENDERS = {"woman": "woman", "female": "woman", "man": "man", "male": "man"}


def gender_of(word: str, where: str) -> str:
    """``woman`` or ``man`` for a word that means one; other words as they are, in lower case."""
    found = word.strip().lower()
    if not found:
        raise InputError(f"{where}: the gender is missing: write woman, man or another")
    return _GENDERS.get(found, found)
