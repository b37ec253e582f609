"""Accuracy, always beside what it takes no understanding to reach."""

from __future__ import annotations

from collections.abc import Sequence

from .clusters import Draws, Floats, Statistic, unit, weighted_mean
from .responses import Judgements


def _draws(judgements: Judgements, counts: Draws) -> Floats:
    return weighted_mean(judgements.correct, counts.of_items(judgements))


accuracy = Statistic("accuracy", _draws, unit, share=True)
"""Share of items answered right; None without items."""


def best_baseline(samples: Sequence[Judgements]) -> str | None:
    """Name of the trivial baseline with the highest accuracy, the mean over ``samples`` (one a seed).

    Of those that every sample has; None if there are none.
    """
    if not samples:
        return None
    shared = [name for name in samples[0].baselines if all(name in sample.baselines for sample in samples)]
    right = {name: sum(accuracy(sample.baseline(name)) or 0.0 for sample in samples) for name in shared}
    return max(shared, key=right.__getitem__, default=None)
