"""Shares: the mean, whole groups resampled; a twin shows that the groups matter."""

import numpy as np
import pytest

from equipoise.metrics import Bootstrap, Shares, mean_share


def test_a_mean_is_the_mean_and_items_of_a_group_count_together() -> None:
    values = np.repeat([0.1, 0.3, 0.5, 0.7, 0.9, 0.2, 0.4, 0.6], 4)
    together = Shares(values, np.repeat(list("abcdefgh"), 4).tolist())
    apart = Shares(values, [str(i) for i in range(len(values))])
    wide, narrow = (Bootstrap.over(one).estimate(mean_share, one) for one in (together, apart))
    assert wide.value == narrow.value == pytest.approx(values.mean())
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_a_paired_difference_is_narrower_than_its_parts() -> None:
    values, groups = np.linspace(0.1, 0.9, 12), [str(i) for i in range(12)]
    before, after = Shares(values, groups), Shares(values - 0.1, groups)
    draws = Bootstrap.over(before)
    change = draws.difference(mean_share, after, before)
    assert change.value == pytest.approx(-0.1) and change.high == pytest.approx(-0.1)
    assert draws.estimate(mean_share, after).high > 0.5


def test_what_is_no_share_is_refused() -> None:
    for values, groups in (([0.5, 1.5], ["a", "b"]), ([float("nan")], ["a"]), ([0.5], ["a", "b"])):
        with pytest.raises(ValueError, match="between 0 and 1"):
            Shares(values, groups)
