"""From options to what they mean: answers as metrics take them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..metrics import UNANSWERED, Responses
from ..tasks import Item, target_shares
from .answers import OptionScores


def responses(
    scores: OptionScores,
    items: Sequence[Item],
    outcomes: Sequence[str],
    target: Sequence[float] | None = None,
) -> Responses:
    """The scores of ``items``, in their order, by outcome; greedy is the most probable of the options.

    ``target`` are the outcomes' shares that would be fair; None for equal ones.

    Raises InputError if an item's outcome is none of ``outcomes``.
    """
    return Responses(
        by_outcome(scores.probabilities, items, outcomes),
        tuple(outcomes),
        decisions(scores.logp, items, outcomes),
        [item.groups for item in items],
        [item.template for item in items],
        target_shares(items, outcomes, target),
    )


def by_outcome(
    probabilities: NDArray[np.float64], items: Sequence[Item], outcomes: Sequence[str]
) -> NDArray[np.float64]:
    """[n, K] probability of each outcome, the sum over its options, from [n, options]."""
    table = np.zeros((len(items), len(outcomes)))
    for row, item in enumerate(items):
        for option, outcome in enumerate(item.outcomes):
            table[row, _index(outcomes, outcome, item)] += probabilities[row, option]
    return table


def decisions(logp: NDArray[np.float64], items: Sequence[Item], outcomes: Sequence[str]) -> NDArray[np.intp]:
    """[n] outcome of the most probable option; unanswered where no option has any probability."""
    best = logp.argmax(1)
    return np.array(
        [
            _index(outcomes, item.outcomes[option], item) if row[option] > -np.inf else UNANSWERED
            for item, row, option in zip(items, logp, best, strict=True)
        ],
        dtype=np.intp,
    )


def _index(outcomes: Sequence[str], outcome: str, item: Item) -> int:
    try:
        return list(outcomes).index(outcome)
    except ValueError:
        raise InputError(
            f"item {item.id!r}: the outcome {outcome!r} is none of the task's outcomes {list(outcomes)}"
        ) from None
