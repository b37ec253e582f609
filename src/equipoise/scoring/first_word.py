"""How RES-FAIR reads a multiple-choice answer (arXiv 2505.23798, section 3): by the first tokens a model would say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..metrics import UNANSWERED
from ..models import LoadedModel
from ..tasks import Item
from .answers import next_states
from .batching import answer_batches
from .encoding import EncodedItem

TOP = 10
"""Of how many likeliest first tokens logits are summed."""


def first_words(
    loaded: LoadedModel,
    items: Sequence[Item],
    encoded: Sequence[EncodedItem],
    outcomes: Sequence[str],
    *,
    top: int = TOP,
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Confidence of each outcome, and the greedy answer, from the next token alone, as the paper has it.

    Of the ``top`` likeliest next tokens, those that begin an option (as text, case and space aside; if options of
    several outcomes begin so, none) are sorted by what it means; an outcome's score is the *sum of its tokens' logits*,
    and the softmax over outcomes with a token its confidence. An outcome without one has confidence 0. Sums of raw
    logits favour outcomes with many tokens, and shift with a constant that no probability knows.

    Returns:
        confidence [n, K], rows summing to 1, or to 0 where no token matches; and [n] the outcome of the likeliest
        token, -1 where that begins no option.
    """
    table = np.zeros((len(items), len(outcomes)))
    answers = np.full(len(items), UNANSWERED, dtype=np.intp)
    with torch.inference_mode():
        for batch in answer_batches(encoded):
            logits = loaded.anatomy.logits(next_states(loaded, batch)).float()
            values, ids = logits.topk(min(top, logits.shape[-1]), dim=-1)
            for row, scores, tokens in zip(batch.index.tolist(), values.tolist(), ids.tolist(), strict=True):
                meant = [_means(str(loaded.tokenizer.decode([t])), items[row], outcomes) for t in tokens]
                answers[row] = meant[0]
                table[row] = _confidence(scores, meant, len(outcomes))
    return table, answers


def _confidence(scores: Sequence[float], meant: Sequence[int], count: int) -> NDArray[np.float64]:
    sums = np.full(count, -np.inf)
    for outcome in set(meant) - {UNANSWERED}:
        sums[outcome] = sum(score for score, k in zip(scores, meant, strict=True) if k == outcome)
    if not np.isfinite(sums).any():
        return np.zeros(count)
    found = np.exp(sums - sums.max())
    return np.asarray(found / found.sum())


def _means(token: str, item: Item, outcomes: Sequence[str]) -> int:
    """The outcome that every option beginning with this text has; -1 if there is none, or several."""
    text = token.strip().casefold()
    if not text:
        return UNANSWERED
    pairs = zip(item.options, item.outcomes, strict=True)
    meant = {outcome for option, outcome in pairs if option.strip().casefold().startswith(text)}
    return list(outcomes).index(meant.pop()) if len(meant) == 1 else UNANSWERED
