"""What a model writes without and with a mitigation, word by word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby

from .results import Generation

Pieces = tuple[tuple[str, bool], ...]
"""A text in pieces; True where the other text says something else."""


@dataclass(frozen=True)
class SideBySide:
    """One prompt; ``steered`` is None without a mitigation, ``same`` says that both texts are equal."""

    prompt: str
    base: Pieces
    steered: Pieces | None
    same: bool


def side_by_side(generation: Generation) -> SideBySide:
    """Both texts with the words marked that differ."""
    base = generation.base.strip()
    if generation.steered is None:
        return SideBySide(generation.prompt, ((base, False),), None, False)
    steered = generation.steered.strip()
    return SideBySide(generation.prompt, *differing(base, steered), base == steered)


def differing(one: str, other: str) -> tuple[Pieces, Pieces]:
    """Both texts in pieces, whole words marked; what stays put together gives each text back."""
    ours, theirs = _words(one), _words(other)
    # Blanks go with the word after them, so that words are compared and not what stands between them.
    a, b = ([word.strip() for word in words] for words in (ours, theirs))
    left: list[tuple[str, bool]] = []
    right: list[tuple[str, bool]] = []
    for kind, i, j, m, n in SequenceMatcher(a=a, b=b, autojunk=False).get_opcodes():
        for pieces, words in ((left, ours[i:j]), (right, theirs[m:n])):
            text = "".join(words)
            word = text.strip()
            if kind == "equal" or not word:
                pieces.append((text, False))
            else:
                before, _, after = text.partition(word)
                pieces += [(before, False), (word, True), (after, False)]
    return _joined(left), _joined(right)


def _joined(pieces: Sequence[tuple[str, bool]]) -> Pieces:
    """Neighbours of one kind as one piece."""
    groups = groupby((piece for piece in pieces if piece[0]), key=lambda piece: piece[1])
    return tuple(("".join(text for text, _ in group), differs) for differs, group in groups)


def _words(text: str) -> list[str]:
    """Words with the blanks before them; a text that ends in blanks has them as a last one."""
    return re.findall(r"\s*\S+|\s+$", text)
