"""Clusters: which items rise and fall together, and how often a draw of the bootstrap takes each of them.

Items share occupations ("groups") and templates, so they are no independent sample. Both are resampled whole, each
factor by itself (the pigeonhole bootstrap: Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Names = tuple[str, ...]


class Sample(Protocol):
    """Items with the clusters they belong to; every input of a statistic is one."""

    @property
    def groups(self) -> tuple[Names, ...]:
        """One tuple an item: the groups (occupations) that it measures."""

    @property
    def templates(self) -> Names:
        """One template an item; empty where items have no template (texts)."""

    def __len__(self) -> int: ...


class TooFewClusters(ValueError):
    """Not enough items for an interval: the message says what there is and what is needed."""


def group_names(sample: Sample) -> Names:
    """The distinct groups of a sample, in order of first appearance."""
    return tuple(dict.fromkeys(name for names in sample.groups for name in names))


def members(sample: Sample) -> dict[str, NDArray[np.intp]]:
    """Group -> the indices of its items. An item with two groups is listed under both."""
    rows: dict[str, list[int]] = {name: [] for name in group_names(sample)}
    for index, names in enumerate(sample.groups):
        for name in dict.fromkeys(names):
            rows[name].append(index)
    return {name: np.array(indices, dtype=np.intp) for name, indices in rows.items()}


@dataclass(frozen=True, eq=False)
class Draws:
    """How often each group and template occurs in each of B draws.

    ``groups`` and ``templates`` map a name to its row in ``group_counts`` [G, B] and ``template_counts`` [T, B].

    The weight of an item is the product over its groups times its template's multiplicity. For an item with two
    groups (a sentence about a pair of occupations) that is the bootstrap for pairwise data: drawing occupations with
    replacement and keeping every pair among the drawn ones makes the pair (a, b) occur m_a * m_b times.
    """

    groups: Mapping[str, int]
    templates: Mapping[str, int]
    group_counts: Floats
    template_counts: Floats

    @classmethod
    def resample(cls, groups: Iterable[str], templates: Iterable[str], draws: int, seed: int) -> Draws:
        """Draw as many groups as there are, and as many templates, with replacement, ``draws`` times."""
        generator = np.random.default_rng(seed)

        def counts(names: Names) -> Floats:
            if not names:
                return np.ones((0, draws))
            return generator.multinomial(len(names), np.full(len(names), 1 / len(names)), draws).T.astype(
                float
            )

        # Sorted, so that the order of the items does not matter.
        by_group, by_template = tuple(sorted(set(groups))), tuple(sorted(set(templates)))
        return cls(_rows(by_group), _rows(by_template), counts(by_group), counts(by_template))

    @classmethod
    def once(cls, sample: Sample) -> Draws:
        """One draw that takes every cluster exactly once: a statistic on it is the plain estimate."""
        groups, templates = _rows(group_names(sample)), _rows(tuple(dict.fromkeys(sample.templates)))
        return cls(groups, templates, np.ones((len(groups), 1)), np.ones((len(templates), 1)))

    def of_groups(self, names: Sequence[str]) -> Floats:
        """Multiplicities [len(names), B] of groups."""
        return self.group_counts[[self.groups[name] for name in names]]

    def of_templates(self, names: Sequence[str]) -> Floats:
        """Multiplicities [len(names), B] of templates."""
        return self.template_counts[[self.templates[name] for name in names]]

    def of_items(
        self, sample: Sample, rows: NDArray[np.intp] | None = None, without: str | None = None
    ) -> Floats:
        """Weights [n, B] of the items ``rows`` (all by default).

        ``without`` leaves one group's own multiplicity out: within one group it is a constant factor, and a group
        that a draw missed still has a defined mean.
        """
        indices = range(len(sample)) if rows is None else [int(row) for row in rows]
        if sample.templates:
            weights = self.template_counts[[self.templates[sample.templates[i]] for i in indices]]
        else:
            weights = np.ones((len(indices), self.group_counts.shape[1]))
        others = [[self.groups[g] for g in dict.fromkeys(sample.groups[i]) if g != without] for i in indices]
        for place in range(max(map(len, others), default=0)):
            have = [k for k, names in enumerate(others) if len(names) > place]
            weights[have] *= self.group_counts[[others[k][place] for k in have]]
        return weights


def _rows(names: Names) -> dict[str, int]:
    return {name: row for row, name in enumerate(names)}


def unlimited(_: object) -> tuple[float, float]:
    """Limits of a statistic that can be anything."""
    return -np.inf, np.inf


def unit(_: object) -> tuple[float, float]:
    """Limits of a share or a rate."""
    return 0.0, 1.0


def signed(_: object) -> tuple[float, float]:
    """Limits of a difference between two shares, or of a correlation."""
    return -1.0, 1.0


S_contra = TypeVar("S_contra", bound=Any, contravariant=True)


@dataclass(frozen=True)
class Statistic(Generic[S_contra]):
    """A number about a sample, in the form that the bootstrap needs.

    ``draws(sample, draws)`` gives its value [B] in every draw, NaN where it is undefined. ``limits(sample)`` is the
    range it can take. ``cautious(sample)`` is given for statistics made of absolute values, which noise can only
    raise: an estimate whose expectation is no higher than the truth (see :mod:`equipoise.metrics.intervals`).
    ``share`` marks what is computed from yes-or-no items, such as a share of them, whose draws cannot vary when all
    items agree.
    """

    name: str
    draws: Callable[[S_contra, Draws], Floats]
    limits: Callable[[S_contra], tuple[float, float]] = unlimited
    cautious: Callable[[S_contra], float] | None = None
    share: bool = False

    def __call__(self, sample: S_contra) -> float | None:
        """The plain estimate; None where it is undefined (for example because nobody answered)."""
        value = float(self.draws(sample, Draws.once(sample))[0])
        return None if np.isnan(value) else value


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Means [..., B] of ``values`` [n, ...] under ``weights`` [n, B]; rows with a NaN are left out, no rows -> NaN."""
    flat = values.reshape(len(values), -1)
    valid = ~np.isnan(flat).any(axis=1)
    kept = weights[valid]
    totals = kept.sum(axis=0)
    sums = flat[valid].T @ kept
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(totals > 0, sums / totals, np.nan)
    return means.reshape(*values.shape[1:], -1)


def group_means(sample: Sample, values: Floats, counts: Draws) -> Floats:
    """Mean [G, ..., B] of ``values`` [n, ...] over the items of each group, in order of :func:`group_names`.

    NaN for a group without values.
    """
    means = [
        weighted_mean(values[rows], counts.of_items(sample, rows, without=name))
        for name, rows in members(sample).items()
    ]
    return np.stack(means) if means else np.zeros((0, *values.shape[1:], counts.group_counts.shape[1]))


def over_groups(sample: Sample, values: Floats, counts: Draws) -> Floats:
    """Mean [B] over groups of the groups' ``values`` [G, B], groups with NaN left out."""
    weights = np.where(np.isnan(values), 0.0, counts.of_groups(group_names(sample)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nansum(weights * values, axis=0) / weights.sum(axis=0))
