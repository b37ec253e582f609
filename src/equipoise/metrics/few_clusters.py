"""How much wider an interval must be because only a few clusters were resampled."""

from __future__ import annotations

import numpy as np
from scipy import stats

from .clusters import Floats


def widening(deviations: Floats, templates: Floats, groups: int, level: float) -> float:
    """Factor on the deviations [B] of a bootstrap.

    ``templates`` [T, B] are the templates' multiplicities in the same draws (no rows: there are none), ``groups`` the
    number of groups (0: none were resampled).

    c resampled clusters vary by (c - 1) / c too little, and the spread that they show is itself uncertain, by c - 1
    degrees of freedom. Both are averaged with the share of the variance that templates and groups explain: the
    templates' share is what a regression of the deviations on the multiplicities explains, the rest is the groups'.
    """
    share = _explained(deviations, templates) if groups else 1.0
    parts = [(share, len(templates)), (1 - share, groups)]
    lacking = sum(part * count / (count - 1) for part, count in parts if part)
    freedom = 1 / sum(part**2 / (count - 1) for part, count in parts if part)
    upper = (1 + level) / 2
    return float(np.sqrt(lacking) * stats.t.ppf(upper, freedom) / stats.norm.ppf(upper))


def _explained(deviations: Floats, counts: Floats) -> float:
    """Adjusted R² of a linear regression, in [0, 1]."""
    size, predictors = len(deviations), len(counts)
    if predictors < 2 or size <= predictors or np.ptp(deviations) == 0:
        return 0.0
    # The multiplicities of a draw add up to T, so they span the intercept.
    residual = deviations - counts.T @ np.linalg.lstsq(counts.T, deviations, rcond=None)[0]
    unexplained = residual.var() / deviations.var() * (size - 1) / (size - predictors)
    return float(np.clip(1 - unexplained, 0, 1))
