"""Shares by cluster: numbers in [0, 1], one an item, of which whole groups are resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .clusters import Draws, Floats, Names, Statistic, unit, weighted_mean
from .responses import freeze


@dataclass(frozen=True, eq=False, init=False)
class Shares:
    """``values`` [n] in [0, 1], and the one group that each item belongs to; there are no templates."""

    values: Floats
    groups: tuple[Names, ...]

    def __init__(self, values: ArrayLike, groups: Sequence[str]) -> None:
        found = np.array(values, dtype=float)
        if found.shape != (len(groups),) or not ((found >= 0) & (found <= 1)).all():
            raise ValueError(f"{len(groups)} groups need as many numbers between 0 and 1")
        freeze(self, values=found, groups=tuple((name,) for name in groups))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def templates(self) -> Names:
        """None."""
        return ()


def _draws(shares: Shares, counts: Draws) -> Floats:
    return weighted_mean(shares.values, counts.of_items(shares))


mean_share = Statistic("mean_share", _draws, unit, share=True)
"""The mean over items."""
