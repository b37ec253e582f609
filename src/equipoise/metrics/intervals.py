"""Intervals: whole groups and whole templates resampled, paired between everything that shares a :class:`Bootstrap`.

*Resampling.* Groups and templates are drawn with replacement, each by itself, and an item counts as often as the
product of its clusters' multiplicities (:class:`~equipoise.metrics.clusters.Draws`). This errs on the wide side where
the noise is of single items (Owen 2007). The draws belong to names, so that every strength, and every seed's held-out
part, meets the same draws: differences are paired, and what seeds share does not count as independent.

*Which interval.* Smooth statistics (gap, accuracy, rates, KL, perplexity) get the percentile interval. A mean of
absolute values does not: noise only raises it, once in the estimate and once more in every draw, so that percentiles
lie too high and miss a bias near 0 every time. There the deviations of the draws from *their* mean are used, the upper
end measured from the estimate, whose expectation is no lower than the truth, and the lower end from a cross-signed
estimate (each item's sign taken from other clusters), whose expectation is no higher. Where bias is large the two
agree; near 0 the interval reaches down to 0.

*Few clusters* make it wider: :mod:`equipoise.metrics.few_clusters`. Tests check the coverage by simulation.

*Seeds.* Given a sequence of samples, one a seed, an estimate is the mean over seeds. Its deviations are those of the
mean over seeds within each draw, plus s / sqrt(S) times Student's t with S - 1 degrees, s the standard deviation
between the seeds: the few seeds are themselves a sample. That counts the held-out items' part of s twice, on the wide
side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import stats

from .bias import group_apart, group_share, largest_bias, target_distribution
from .clusters import Draws, Floats, Names, Sample, Statistic, TooFewClusters, group_names, members
from .few_clusters import widening
from .responses import Responses

MIN_GROUPS = 5
MIN_TEMPLATES = 2
# Draws that differ by less differ by rounding.
_ROUNDING = 1e-12
S = TypeVar("S", bound=Sample)


@dataclass(frozen=True)
class Estimate:
    """A number, its interval and the number of items behind it (all seeds together). NaN: undefined."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def alone(cls, value: float, n: int) -> Estimate:
        """A number whose interval isn't known: too few clusters, or a mean whose parts' draws are gone."""
        return cls(float(value), float("nan"), float("nan"), n)

    def as_dict(self) -> dict[str, float | int | None]:
        """The form of results.json; NaN becomes null."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {**{key: None if np.isnan(x) else float(x) for key, x in numbers.items()}, "n": self.n}


@dataclass(frozen=True, eq=False)
class _Measured:
    """One statistic on one or more samples (seeds): plain and cautious values [S], draws [S, B], limits."""

    plain: Floats
    cautious: Floats
    draws: Floats
    limits: tuple[float, float]
    absolute: bool
    share: bool
    groups: Names
    templates: Names
    n: int

    def minus(self, other: _Measured) -> _Measured:
        span = self.limits[1] - other.limits[0]
        return _Measured(
            self.plain - other.plain,
            self.cautious - other.cautious,
            self.draws - other.draws,
            (-span, span),
            self.absolute,
            self.share and other.share,
            self.groups,
            self.templates,
            self.n,
        )


class Bootstrap:
    """The draws, made once for a set of groups and templates, and the estimates made with them.

    ``level`` is the coverage of the intervals. Raises :class:`TooFewClusters` for fewer than 5 groups, or fewer than
    2 templates where there are templates at all.
    """

    def __init__(
        self,
        groups: Sequence[str] | set[str],
        templates: Sequence[str] | set[str] = (),
        *,
        draws: int = 1000,
        seed: int = 0,
        level: float = 0.95,
    ) -> None:
        _check(len(set(groups)), len(set(templates)) if templates else None)
        self.level = level
        self.seed = seed
        self._draws = Draws.resample(groups, templates, draws, seed)

    @classmethod
    def over(cls, *samples: Sample, draws: int = 1000, seed: int = 0, level: float = 0.95) -> Bootstrap:
        """A bootstrap over all groups and templates that occur in ``samples``."""
        groups = {name for sample in samples for name in group_names(sample)}
        templates = {name for sample in samples for name in sample.templates}
        return cls(groups, templates, draws=draws, seed=seed, level=level)

    def estimate(self, statistic: Statistic[S], samples: S | Sequence[S]) -> Estimate:
        """``statistic`` on a sample, or its mean over a sequence of samples (one a seed)."""
        return self._interval(self._measure(statistic, samples))

    def difference(
        self, statistic: Statistic[S], samples: S | Sequence[S], reference: S | Sequence[S]
    ) -> Estimate:
        """``statistic`` on ``samples`` minus on ``reference``, both on the same draws; seeds are paired in order."""
        return self._interval(self._measure(statistic, samples).minus(self._measure(statistic, reference)))

    def p_value(self, statistic: Statistic[S], samples: S | Sequence[S], reference: S | Sequence[S]) -> float:
        """Two-sided p-value of "the paired difference of :meth:`difference` is 0"; NaN where it is undefined.

        Student's t with one degree less than there are resampled groups (or seeds, of several), of the difference over
        the standard deviation of its draws, to which the spread between seeds is added. With few clusters, or answers
        that hardly ever change, it is approximate. Where every draw says the same, so that there is no spread to go by,
        it is the exact sign test's over groups.
        """
        measured = self._measure(statistic, samples).minus(self._measure(statistic, reference))
        value, draws = float(_mean(measured.plain)), _mean(measured.draws)
        draws = draws[~np.isnan(draws)]
        if np.isnan(value) or not draws.size:
            return float("nan")
        if abs(value) < _ROUNDING:
            return 1.0
        clusters = len(measured.groups)
        between = measured.plain[~np.isnan(measured.plain)]
        variance = draws.var() * clusters / (clusters - 1)
        if len(between) > 1:
            variance += between.var(ddof=1) / len(between)
        if variance <= _ROUNDING**2:  # every group changed alike: the sign test
            return min(1.0, 2 * 0.5**clusters)
        freedom = min(clusters, len(between) if len(between) > 1 else clusters) - 1
        return float(2 * stats.t.sf(abs(value) / np.sqrt(variance), freedom))

    def group_shares(
        self, responses: Responses | Sequence[Responses], outcome: str = "pro"
    ) -> dict[str, Estimate]:
        """Group -> P(outcome | an answer), over the seeds that have the group; only templates (and partners) vary.

        Where nothing varies (a single template, equal draws) nothing is known of the spread: the interval is [0, 1].
        """
        parts = [responses] if isinstance(responses, Responses) else list(responses)
        names = dict.fromkeys(name for part in parts for name in group_names(part))
        return {name: self._share(self._group(parts, name, outcome)) for name in names}

    def group_biases(self, responses: Responses | Sequence[Responses]) -> dict[str, Estimate]:
        """Group -> its bias (:func:`equipoise.metrics.per_group_bias`), over the seeds that have the group.

        The interval reaches as far to both sides as the mean answer may be from the true one, by the distance Σ|p − p'|
        of the draws: no bias can be further (the triangle inequality), so it errs on the wide side. Where nothing
        varies, as in :meth:`group_shares`, it is all that a bias can be.
        """
        parts = [responses] if isinstance(responses, Responses) else list(responses)
        limits = 0.0, largest_bias(target_distribution(parts[0], None))
        names = dict.fromkeys(name for part in parts for name in group_names(part))
        return {name: self._bias(parts, name, limits) for name in names}

    def _bias(self, parts: Sequence[Responses], name: str, limits: tuple[float, float]) -> Estimate:
        having = [part for part in parts if any(name in groups for groups in part.groups)]
        own = [tuple(part.templates[row] for row in members(part)[name]) for part in having]
        count = sum(map(len, own))
        plain = [group_apart(part, name, Draws.once(part)) for part in having]
        biases = np.array([np.abs(apart).sum() for apart in plain])
        value = float(_mean(biases))
        if np.isnan(value):
            return Estimate(value, value, value, count)
        drawn = [group_apart(part, name, self._draws) for part in having]
        distances = np.array([np.abs(d - p).sum(axis=0) for d, p in zip(drawn, plain, strict=True)])
        distances = _mean(distances)
        distances = distances[~np.isnan(distances)]
        templates = self._draws.of_templates(_distinct(own))
        if not distances.size or np.ptp(distances) < _ROUNDING or len(templates) < MIN_TEMPLATES:
            return Estimate(value, *limits, count)
        reach = np.quantile(distances, self.level) * widening(distances, templates, 0, self.level)
        reach += np.quantile(np.abs(self._seed_error(biases, distances.size)), self.level)
        return Estimate(
            value, float(max(value - reach, limits[0])), float(min(value + reach, limits[1])), count
        )

    def _share(self, measured: _Measured) -> Estimate:
        value, draws = float(_mean(measured.plain)), _mean(measured.draws)
        draws = draws[~np.isnan(draws)]
        alike = draws.size and np.ptp(draws) < _ROUNDING
        if not np.isnan(value) and (alike or len(measured.templates) < MIN_TEMPLATES):
            return Estimate(value, *measured.limits, measured.n)
        return self._interval(measured)

    def _group(self, parts: Sequence[Responses], name: str, outcome: str) -> _Measured:
        having = [part for part in parts if any(name in groups for groups in part.groups)]
        plain = [group_share(part, name, outcome, Draws.once(part))[0] for part in having]
        draws = [group_share(part, name, outcome, self._draws) for part in having]
        own = [tuple(part.templates[row] for row in members(part)[name]) for part in having]
        return _Measured(
            np.array(plain),
            np.array(plain),
            np.array(draws),
            (0.0, 1.0),
            False,
            False,
            (),
            _distinct(own),
            sum(map(len, own)),
        )

    def _measure(self, statistic: Statistic[S], samples: S | Sequence[S]) -> _Measured:
        parts: list[S] = list(samples) if isinstance(samples, (list, tuple)) else [samples]  # type: ignore[list-item]
        for part in parts:
            _check(len(group_names(part)), len(set(part.templates)) if part.templates else None)
        plain = np.array([statistic.draws(part, Draws.once(part))[0] for part in parts])
        cautious = (
            plain if statistic.cautious is None else np.array([statistic.cautious(part) for part in parts])
        )
        draws = np.stack([statistic.draws(part, self._draws) for part in parts])
        return _Measured(
            plain,
            cautious,
            draws,
            statistic.limits(parts[0]),
            statistic.cautious is not None,
            statistic.share,
            _distinct(group_names(part) for part in parts),
            _distinct(part.templates for part in parts),
            sum(map(len, parts)),
        )

    def _interval(self, measured: _Measured) -> Estimate:
        value = float(_mean(measured.plain))
        draws = _mean(measured.draws)
        defined = ~np.isnan(draws)
        draws = draws[defined]
        if np.isnan(value) or not draws.size:
            return Estimate.alone(float("nan"), measured.n)
        tail = (1 - self.level) / 2
        centre = draws.mean() if measured.absolute else value
        templates = self._draws.of_templates(measured.templates)[:, defined]
        wider = widening(draws, templates, len(measured.groups), self.level)
        deviations = (draws - centre) * wider + self._seed_error(measured.plain, draws.size)
        lowest, highest = np.quantile(deviations, [tail, 1 - tail])
        if measured.absolute:
            centres = value, float(_mean(measured.cautious))
            low, high = min(centres) + lowest, max(centres) + highest
        else:
            low, high = value + lowest, value + highest
        floor, ceiling = measured.limits
        at_limit = np.isclose(value, measured.limits, rtol=0, atol=_ROUNDING)
        if measured.share and np.ptp(draws) < _ROUNDING and at_limit.any():
            # All items agree, so no draw varies: the exact binomial limit with groups as the units instead.
            unknown = (1 - tail ** (1 / max(len(measured.groups), 1))) * (ceiling - floor)
            if at_limit[1]:
                low = min(low, ceiling - unknown)
            else:
                high = max(high, floor + unknown)
        return Estimate(
            value, float(max(min(low, value), floor)), float(min(max(high, value), ceiling)), measured.n
        )

    def _seed_error(self, values: Floats, size: int) -> Floats:
        values = values[~np.isnan(values)]
        if len(values) < 2:
            return np.zeros(size)
        errors = np.random.default_rng([self.seed, len(values)]).standard_t(len(values) - 1, size)
        return np.asarray(errors * values.std(ddof=1) / np.sqrt(len(values)))


def _distinct(names: Iterable[Names]) -> Names:
    return tuple(dict.fromkeys(name for part in names for name in part))


def _mean(values: Floats) -> Floats:
    """Mean over the first axis, NaN left out; all NaN -> NaN."""
    valid = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(valid, values, 0).sum(axis=0) / valid.sum(axis=0))


def _check(groups: int, templates: int | None) -> None:
    if groups < MIN_GROUPS or (templates is not None and templates < MIN_TEMPLATES):
        have = f"{groups} groups" + ("" if templates is None else f" and {templates} templates")
        raise TooFewClusters(
            f"not enough items for an interval: {have}, but it takes at least {MIN_GROUPS} groups"
            f" and {MIN_TEMPLATES} templates"
        )
