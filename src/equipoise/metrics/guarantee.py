"""An operating point with a guarantee: learn then test.

Angelopoulos, Bates, Candès, Jordan & Lei 2021, "Learn then test". Every setting of a grid gets a p-value for "this
setting breaks a limit", from calibration data that nothing else has seen; a procedure that keeps the chance of any
false rejection below δ then says which settings keep all limits, with confidence 1 − δ for all of them at once. So the
one that is used may be chosen among them in any way.

*p-values.* Losses lie in [0, 1], one an independent cluster (an occupation, a passage), and a limit is broken if their
expectation is above it. :func:`betting_p_value` is exact for any such distribution, whatever the sample size.

*Bias* is a mean over occupations of |μ|, μ the occupation's expected signed answer. What is seen of an occupation is
the mean of a few items, and E|mean of items| ≥ |μ| (Jensen): noise makes the observed loss larger in expectation, never
smaller, so a p-value for "the expected observed loss is above the limit" is one for "the bias is above the limit" too,
on the safe side. It assumes that calibration occupations are drawn independently, as those will be that the guarantee
is for, and it speaks of the wordings of the calibration set: these are shared by all occupations, so they are no
independent draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from .bias import largest_bias, target_distribution
from .clusters import Draws, Floats, group_means, members
from .responses import Judgements, Responses
from .text import Texts

Procedure = Literal["fixed-sequence", "bonferroni"]

# A mixture over bets costs at most the logarithm of their number and needs no tuning on the data.
_FRACTIONS = np.arange(1, 21) / 20
KL_CAP = 5.0
"""A passage counts with at most so many times the KL budget, since a guarantee needs losses with a bound."""


def betting_p_value(losses: ArrayLike, limit: float) -> float:
    """p-value for "the expected loss is ``limit`` or more", from independent losses [n] in [0, 1].

    1 / K, K the mean over bets λ of Π (1 + λ (limit − loss)), 0 < λ ≤ 1 / (1 − limit): every product is never negative
    and its expectation is at most 1 where the hypothesis holds, so P(1 / K ≤ δ) ≤ δ by Markov's inequality
    (Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by betting"). It stays valid for draws
    without replacement. Raises ValueError for losses outside [0, 1], or none.
    """
    values = np.asarray(losses, dtype=float)
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("losses must be one or more numbers in [0, 1]")
    if limit <= 0:
        return 1.0
    if limit >= 1:
        return 0.0
    bets = _FRACTIONS / (1 - limit)
    factors = np.maximum(1 + bets[:, None] * (limit - values), 0.0)
    with np.errstate(divide="ignore", over="ignore"):
        wealth = np.exp(np.log(factors).sum(axis=1)).mean()
        return float(min(1.0, 1.0 / wealth)) if wealth > 0 else 1.0


@dataclass(frozen=True, eq=False)
class Risk:
    """Losses [n] in [0, 1], one an independent cluster, and the highest expectation that is allowed."""

    losses: Floats
    limit: float

    @property
    def p_value(self) -> float:
        """See :func:`betting_p_value`."""
        return betting_p_value(self.losses, self.limit)


@dataclass(frozen=True)
class Guarantee:
    """``certified`` settings (indices, in the order of testing) keep every limit, all at once, with ``confidence``.

    ``p_values`` has each setting's largest p-value over the risks; ``order`` the order of testing.
    """

    confidence: float
    procedure: Procedure
    p_values: tuple[float, ...]
    order: tuple[int, ...]
    certified: tuple[int, ...]


def learn_then_test(
    risks: Sequence[Mapping[str, Risk]],
    *,
    order: Sequence[int],
    confidence: float = 0.9,
    procedure: Procedure = "fixed-sequence",
) -> Guarantee:
    """Which settings keep every limit.

    Args:
        risks: for each setting, its risks by name, from calibration data.
        order: all settings, the most promising first, found on *other* data. ``fixed-sequence`` tests them in turn,
            each at δ = 1 − confidence, and stops at the first that fails.
        confidence: 1 − δ.
        procedure: ``bonferroni`` tests each at δ over the number of settings, in any order.

    A setting breaks the limits if it breaks any, so its p-value is the largest of its risks' (intersection-union).
    Raises ValueError for an order that does not name each setting once, or an unknown procedure.
    """
    if sorted(order) != list(range(len(risks))):
        raise ValueError(f"the order must name each of {len(risks)} settings once")
    if procedure not in get_args(Procedure):
        raise ValueError(f"the procedure must be one of {list(get_args(Procedure))}, not {procedure!r}")
    p_values = tuple(max((risk.p_value for risk in each.values()), default=1.0) for each in risks)
    # 0.1 is not 1 − 0.9 to the last bit.
    delta = round(1 - confidence, 12)
    certified = []
    for index in order:
        if procedure == "bonferroni":
            if p_values[index] <= delta / len(risks):
                certified.append(index)
        elif p_values[index] <= delta:
            certified.append(index)
        else:
            break
    return Guarantee(confidence, procedure, p_values, tuple(order), tuple(certified))


def bias_risk(responses: Responses, limit: float, target: Sequence[float] | None = None) -> Risk:
    """Per-occupation bias as a risk: one loss an occupation, over the largest that is possible.

    An occupation for which nothing was answered has the largest loss. Raises ValueError where items have several
    groups: then occupations share items and are not independent.
    """
    if any(len(set(groups)) > 1 for groups in responses.groups):
        raise ValueError("occupations share items, so they are not independent clusters")
    fair = target_distribution(responses, target)
    largest = largest_bias(fair)
    apart = group_means(responses, responses.given_answer - fair, Draws.once(responses))[:, :, 0]
    losses = np.abs(apart).sum(axis=1) / largest
    return Risk(np.clip(np.where(np.isnan(losses), 1.0, losses), 0.0, 1.0), limit / largest)


def accuracy_risk(now: Judgements, base: Judgements, limit: float) -> Risk:
    """The drop of accuracy below the base model's, paired; one loss (1 + drop) / 2 a group.

    Raises ValueError where items have several groups.
    """
    if any(len(set(groups)) > 1 for groups in now.groups):
        raise ValueError("occupations share items, so they are not independent clusters")
    drops = [float((base.correct[rows] - now.correct[rows]).mean()) for rows in members(now).values()]
    return Risk((1 + np.array(drops)) / 2, (1 + limit) / 2)


def kl_risk(divergence: Texts, limit: float) -> Risk:
    """KL a token as a risk: one loss a passage, its mean KL, which counts up to :data:`KL_CAP` times the limit."""
    if limit <= 0:
        return Risk(np.ones(len(divergence)), 0.0)
    each = divergence.nats / divergence.tokens
    return Risk(np.clip(each / (KL_CAP * limit), 0.0, 1.0), 1 / KL_CAP)
