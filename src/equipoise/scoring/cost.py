"""How many tokens scoring runs through a model, and how few would do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..models import LoadedModel
from .answers import shared_tokens
from .batching import MAX_ROWS, MAX_TOKENS, answer_batches
from .encoding import EncodedItem
from .memory import memory


@dataclass(frozen=True)
class TokenCount:
    """Tokens.

    Attributes:
        computed: that run through the backbone, padding included.
        unique: in the distinct prefixes of all texts: what would do if every state were computed once.
    """

    computed: int = 0
    unique: int = 0

    def __add__(self, other: TokenCount) -> TokenCount:
        return TokenCount(self.computed + other.computed, self.unique + other.unique)

    def __mul__(self, times: int) -> TokenCount:
        return TokenCount(self.computed * times, self.unique * times)


def answer_tokens(
    loaded: LoadedModel,
    encoded: Sequence[EncodedItem],
    *,
    max_rows: int = MAX_ROWS,
    max_tokens: int = MAX_TOKENS,
) -> TokenCount:
    """Of one call of :func:`equipoise.scoring.score_options`. Image features are not counted."""
    computed = 0
    for batch in answer_batches(encoded, max_rows=max_rows, max_tokens=max_tokens):
        rows, length = batch.prompts.shape
        shared = shared_tokens(loaded, batch)
        computed += shared + rows * (length - shared)
        if batch.rest is not None:
            computed += batch.rest.numel() + (0 if memory(loaded).repeats else len(batch.rest) * length)
    return TokenCount(computed, distinct_prefixes(_read(encoded)))


def text_tokens(passages: Iterable[Sequence[int]], *, before: int = 0) -> TokenCount:
    """Of one pass over running text, ``before`` tokens of an instruction in front of each passage."""
    texts = [tuple(passage) for passage in passages]
    computed = sum(before + len(text) for text in texts)
    return TokenCount(computed, before + distinct_prefixes(texts))


def distinct_prefixes(texts: Iterable[Sequence[Any]]) -> int:
    """The number of distinct non-empty prefixes: the nodes of the texts' trie."""
    found = 0
    before: tuple[Any, ...] = ()
    for text in sorted(map(tuple, texts)):
        pairs = enumerate(zip(text, before, strict=False))
        shared = next((n for n, (a, b) in pairs if a != b), min(len(text), len(before)))
        found += len(text) - shared
        before = text
    return found


def _read(encoded: Sequence[EncodedItem]) -> Iterator[tuple[tuple[str, int], ...]]:
    """What must be read to say how probable each option is: all but its last token, with the images that are seen."""
    for item in encoded:
        seen = "" if item.sight is None else " ".join(image.digest for image in item.sight.images)
        for option in item.options:
            yield tuple((seen, token) for token in (*item.prompt, *option[:-1]))
