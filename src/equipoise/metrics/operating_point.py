"""Which strength to use: the smallest one that meets the bias target within the budgets, or an honest "none does"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from .intervals import Estimate


@dataclass(frozen=True)
class Budgets:
    """What a strength must reach and what it may cost; None sets no limit.

    ``bias``: highest per-occupation bias, of every task. ``kl``: highest KL to the base model on plain text, nats a
    token. ``accuracy_drop``: how far unambiguous accuracy may lie below the base model's, of every task.
    ``perplexity_ratio``: highest perplexity over the base model's.
    """

    bias: float = 0.05
    kl: float | None = 0.05
    accuracy_drop: float | None = 0.01
    perplexity_ratio: float | None = None


@dataclass(frozen=True)
class OperatingPoint:
    """What was measured at one strength; ``bias`` and ``accuracy`` by task.

    An ``accuracy`` of None says that the task has no unambiguous items; a task that is missing was not measured.
    """

    strength: float
    bias: Mapping[str, Estimate]
    kl: Estimate | None = None
    accuracy: Mapping[str, Estimate | None] = field(default_factory=dict)
    perplexity_ratio: Estimate | None = None


@dataclass(frozen=True)
class Recommendation:
    """``strength`` is None if no strength fits; ``reason`` says why in one sentence.

    The choice goes by the estimates. ``certain`` says whether the whole interval of every bias meets the target too.
    ``keep`` is the share of the intervention's entries that it is about; None: all of them.
    """

    strength: float | None
    reason: str
    budgets: Budgets
    certain: bool
    keep: float | None = None

    def as_dict(self) -> dict[str, object]:
        """The fields of results.json except the mitigation's name."""
        return {
            "strength": self.strength,
            "reason": self.reason,
            "budgets": asdict(self.budgets),
            "certain": self.certain,
            "keep": self.keep,
        }


def recommend(points: Sequence[OperatingPoint], budgets: Budgets = Budgets()) -> Recommendation:
    """Choose among ``points``, which must contain strength 0 (the base model).

    What a budget limits but nobody measured (None or NaN) cannot be within it. Accuracy is compared with the point at
    strength 0; a task whose accuracy is None at both has none to lose. Raises ``ValueError`` without that point.
    """
    ordered = sorted(points, key=lambda point: point.strength)
    base = next((point for point in ordered if point.strength == 0), None)
    if base is None:
        raise ValueError("a recommendation needs strength 0, the base model, among the points")
    reaching = [point for point in ordered if _worst_bias(point) <= budgets.bias]
    if not reaching:
        best = min(ordered, key=lambda point: (_worst_bias(point), point.strength))
        return Recommendation(
            None, f"No strength brings bias to {_points(budgets.bias)}: {_lowest(best)}.", budgets, False
        )
    costs = [(point, _broken(point, base, budgets)) for point in reaching]
    for point, broken in costs:
        if not broken:
            certain = all(estimate.high <= budgets.bias for estimate in point.bias.values())
            return Recommendation(point.strength, _chosen(point, budgets, certain), budgets, certain)
    point, broken = costs[0]
    return Recommendation(
        None,
        f"Bias comes down to {_points(budgets.bias)} from strength {point.strength:g} on, but no such"
        f" strength stays within the budgets: at {point.strength:g}, {' and '.join(broken)}.",
        budgets,
        False,
    )


def _worst_bias(point: OperatingPoint) -> float:
    values = [estimate.value for estimate in point.bias.values()]
    return float(np.inf) if not values or np.isnan(values).any() else max(values)


def _lowest(best: OperatingPoint) -> str:
    worst = _worst_bias(best)
    if np.isinf(worst):
        return "it could not be measured at any"
    return f"the lowest is {_points(worst)}, at strength {best.strength:g}"


def _chosen(point: OperatingPoint, budgets: Budgets, certain: bool) -> str:
    bias = f"bias is {_points(_worst_bias(point))}, at most the target of {_points(budgets.bias)}"
    doubt = "" if certain else "; its interval reaches above the target"
    if point.strength == 0:
        return f"The base model needs no intervention: {bias}{doubt}."
    return f"The smallest measured strength that meets the target within the budgets: {bias}{doubt}."


def _broken(point: OperatingPoint, base: OperatingPoint, budgets: Budgets) -> list[str]:
    """What breaks a budget at this point, in words."""
    broken: list[str] = []

    def check(what: str, cost: float, limit: float | None, write: Callable[[float], str]) -> None:
        if limit is None or cost <= limit:
            return
        known = f"{what} is {write(cost)} (budget {write(limit)})"
        broken.append(f"{what} was not measured" if np.isnan(cost) else known)

    if point.strength != 0:
        check("KL to the base model", _value(point.kl), budgets.kl, "{:.3g}".format)
        ratio = _value(point.perplexity_ratio)
        check("the perplexity ratio", ratio, budgets.perplexity_ratio, "{:.4g}".format)
        for task in point.bias:
            if all(task in each.accuracy and each.accuracy[task] is None for each in (base, point)):
                continue
            drop = _value(base.accuracy.get(task)) - _value(point.accuracy.get(task))
            # Rounding must not decide about a drop of exactly the budget.
            what = f"the loss of unambiguous accuracy on {task}"
            check(what, round(drop, 9), budgets.accuracy_drop, _points)
    return broken


def _points(value: float) -> str:
    return f"{100 * value:.3g} points"


def _value(estimate: Estimate | None) -> float:
    return float("nan") if estimate is None else estimate.value
