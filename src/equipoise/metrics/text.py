"""Capability on plain text: perplexity and KL to the base model, with paragraphs as clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .clusters import Draws, Floats, Names, Statistic
from .responses import freeze


@dataclass(frozen=True, eq=False, init=False)
class Texts:
    """Sums over the tokens of n paragraphs.

    ``nats`` [n] is the sum of -log p(token) (for :data:`perplexity`) or of KL(steered || base) (for
    :data:`kl_to_base`) over a paragraph's ``tokens`` [n] predicted tokens; ``paragraphs`` [n] are its names, the
    clusters that are resampled.
    """

    nats: Floats
    tokens: Floats
    paragraphs: Names

    def __init__(self, nats: ArrayLike, tokens: ArrayLike, paragraphs: Sequence[str] | None = None) -> None:
        sums, counts = np.array(nats, dtype=float), np.array(tokens, dtype=float)
        names = tuple(paragraphs) if paragraphs is not None else tuple(str(i) for i in range(len(sums)))
        if sums.shape != (len(names),) or counts.shape != (len(names),) or (counts < 1).any():
            raise ValueError(
                f"{len(names)} paragraphs need {len(names)} sums and counts of at least one token"
            )
        freeze(self, nats=sums, tokens=counts, paragraphs=names)

    @classmethod
    def from_tokens(cls, nats: Sequence[ArrayLike], paragraphs: Sequence[str] | None = None) -> Texts:
        """From the numbers of the single tokens, one array a paragraph."""
        arrays = [np.asarray(values, dtype=float) for values in nats]
        return cls([values.sum() for values in arrays], [values.size for values in arrays], paragraphs)

    def __len__(self) -> int:
        return len(self.nats)

    @property
    def groups(self) -> tuple[Names, ...]:
        """Every paragraph is a cluster of its own."""
        return tuple((name,) for name in self.paragraphs)

    @property
    def templates(self) -> Names:
        """None: texts have no templates."""
        return ()

    def relative_to(self, base: Texts) -> Texts:
        """Differences to ``base`` on the same paragraphs: their :data:`perplexity` is the paired perplexity ratio."""
        if self.paragraphs != base.paragraphs or not np.array_equal(self.tokens, base.tokens):
            raise ValueError("a perplexity ratio needs the same paragraphs and tokens on both sides")
        return Texts(self.nats - base.nats, self.tokens, self.paragraphs)


def _mean_nats(texts: Texts, counts: Draws) -> Floats:
    weights = counts.of_items(texts)
    tokens = texts.tokens @ weights
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(tokens > 0, texts.nats @ weights / tokens, np.nan))


def _perplexity(texts: Texts, counts: Draws) -> Floats:
    return np.exp(_mean_nats(texts, counts))


def _positive(_: Texts) -> tuple[float, float]:
    return 0.0, np.inf


kl_to_base = Statistic("kl_to_base", _mean_nats, _positive)
"""Mean nats a token; every token counts the same, so long paragraphs weigh more."""

perplexity = Statistic("perplexity", _perplexity, _positive)
"""exp of the mean -log p a token; on :meth:`Texts.relative_to`, the perplexity ratio."""
