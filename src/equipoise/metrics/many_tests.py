"""Many tests at once: Holm's correction, and p-values of paired differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Adjusted p-values [m] that keep the chance of any false finding at the level they are compared with.

    Holm 1979, "A simple sequentially rejective multiple test procedure", valid under any dependence: the i-th smallest
    (from 0) times m − i, made monotone, at most 1. NaN (not tested) stays NaN and does not count.
    """
    given = np.asarray(p_values, dtype=float)
    adjusted = np.full(given.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1.0)
    return adjusted
