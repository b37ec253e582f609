"""The questions of ``choices`` without options, to be answered in the model's own words, and what answers mean."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import InputError
from ..metrics import FAIR
from .choices import Choices
from .item import Item

UNCLEAR = "unclear"
SILENT = "silent"


def free_items(task: Choices, seed: int) -> Sequence[Item]:
    """The items of ``task`` whose prompts ask the same without a list of options; ids, images and groups are theirs."""
    prompts = task.prompts
    asked = copy.copy(task)
    asked.prompts = replace(prompts, templates=prompts.free, system=prompts.free_system)
    return asked.items(seed)


def said_words(task: Choices) -> Mapping[str, Sequence[str]]:
    """For each outcome of ``task`` the words by which :func:`meaning` knows it.

    Raises :class:`InputError` where the prompts don't say them for all outcomes.
    """
    found = task.prompts.said.get(task.attribute, {})
    if set(found) != set(task.outcomes):
        raise InputError(
            f"choices: the prompts have words for {', '.join(found) or 'nothing'}: [said.{task.attribute}] must have"
            f" them for {', '.join(task.outcomes)}"
        )
    return found


def meaning(text: str, words: Mapping[str, Sequence[str]]) -> str:
    """What a free answer says: a key of ``words``, :data:`UNCLEAR`, or :data:`SILENT` for one without a letter.

    Fair if one of its words or phrases is said; else the value of which alone a word is said; unclear if both are
    named, or none. Whole words, case aside. It reads words and no sense: "men are no better" counts as men.
    """
    text = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    if not any(letter.isalnum() for letter in text):
        return SILENT
    said = {means for means, ones in words.items() if _any(text, ones)}
    if FAIR in said:
        return FAIR
    return said.pop() if len(said) == 1 else UNCLEAR


def _any(text: str, words: Sequence[str]) -> bool:
    pattern = "|".join(re.escape(word) for word in words)
    return bool(words) and re.search(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.IGNORECASE) is not None
