"""Which concept an eraser erases: what the stereotype favours, as a label of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import InputError
from ..models import LoadedModel
from ..scoring import encode_all
from ..tasks import Item
from .contrast import Contrast, Row, as_row

Concept = Literal["auto", "option", "mention", "statement"]
CONCEPTS = get_args(Concept)


@dataclass(frozen=True, eq=False)
class Labelled:
    """Texts as tokens, read at their last, with a class each.

    Attributes:
        rows: token ids, or prompts with images.
        labels: [n] integers.
        concept: which of :data:`Concept` they are labelled by, never ``auto``.
        classes: what the integers stand for.
    """

    rows: tuple[Row, ...]
    labels: Tensor
    concept: str
    classes: tuple[str, ...]


def labelled(loaded: LoadedModel, items: Sequence[Item], concept: Concept) -> Labelled:
    """Ambiguous items as labelled texts.

    - ``option``: the prompt, labelled by the text of the option that the stereotype favours. For items that share
      their options, of which one is favoured (`pronouns`: is it " he" or " she" that the occupation suggests?).
    - ``mention``: the prompt, labelled by whether it mentions the favoured option first or later. For items with
      ``first_mentioned`` in their metadata (`coreference`: which of the two occupations fits the pronoun?).
    - ``statement``: prompt and answer, labelled by whether the answer follows the stereotype. For every task.
    - ``auto``: the first of these that the items allow.

    Raises InputError for items that don't allow the given concept.
    """
    shared = len({frozenset(item.options) for item in items}) == 1
    if concept in ("auto", "option") and shared and all(item.outcomes.count("pro") == 1 for item in items):
        return _prompts(loaded, items, "option", [item.options[_favoured(item)] for item in items])
    if concept in ("auto", "mention") and all("first_mentioned" in item.metadata for item in items):
        first = [_favoured(item) == item.metadata["first_mentioned"] for item in items]
        return _prompts(loaded, items, "mention", ["first" if hit else "later" for hit in first])
    if concept in ("option", "mention"):
        lack = "share their options" if concept == "option" else "say which option is mentioned first"
        raise InputError(f"concept={concept}: the task's items don't all {lack}: take concept=statement")
    contrast = Contrast.of(loaded, items)
    labels = torch.tensor([0] * len(contrast.anti) + [1] * len(contrast.pro))
    return Labelled(tuple(contrast.rows), labels, "statement", ("anti", "pro"))


def _favoured(item: Item) -> int:
    return item.outcomes.index("pro")


def _prompts(loaded: LoadedModel, items: Sequence[Item], concept: str, names: Sequence[str]) -> Labelled:
    classes = tuple(sorted(set(names)))
    rows = tuple(as_row(encoded) for encoded in encode_all(loaded, items))
    return Labelled(rows, torch.tensor([classes.index(name) for name in names]), concept, classes)
