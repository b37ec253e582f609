"""Accuracy, always beside what it takes no understanding to reach."""

from __future__ import annotations

from .clusters import Draws, Floats, Statistic, weighted_mean
from .responses import Judgements


def _draws(judgements: Judgements, counts: Draws) -> Floats:
    return weighted_mean(judgements.correct, counts.of_items(judgements))


def _rate(_: Judgements) -> tuple[float, float]:
    return 0.0, 1.0


accuracy = Statistic("accuracy", _draws, _rate, share=True)
"""Share of items answered right; None without items."""


def baseline_accuracies(judgements: Judgements) -> dict[str, float | None]:
    """Accuracy of every trivial baseline, best first."""
    values = {name: accuracy(judgements.baseline(name)) for name in judgements.baselines}
    return dict(sorted(values.items(), key=lambda entry: -(-1.0 if entry[1] is None else entry[1])))


def best_baseline(judgements: Judgements) -> str | None:
    """Name of the trivial baseline with the highest accuracy; None if there are none."""
    return next(iter(baseline_accuracies(judgements)), None)
