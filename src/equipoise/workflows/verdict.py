"""What a comparison says: which mitigation to take, and why."""

from __future__ import annotations

import math

from ..metrics import Estimate
from ..reports import AtBudget, Compared, Comparison

CONTROL = "random"


def pick(comparison: Comparison) -> tuple[Compared, AtBudget] | None:
    """The mitigation that is best within most budgets, and its entry for the middle one of those.

    None if nothing acts, or the random control comes out first.
    """
    named = [name for name in comparison.best if name is not None]
    if not named:
        return None
    wins = {
        one.name: [at for at, best in zip(one.at, comparison.best, strict=True) if best == one.name]
        for one in comparison.mitigations
    }
    middle = comparison.best[len(comparison.best) // 2]
    first = max(comparison.mitigations, key=lambda one: (len(wins[one.name]), one.name == middle))
    if first.methods == (CONTROL,):
        return None
    won = wins[first.name]
    at_middle = next(
        (at for at in won if at.budget == comparison.budgets[len(comparison.budgets) // 2]), None
    )
    return first, at_middle or won[len(won) // 2]


def verdict(comparison: Comparison, base: Estimate | None) -> str:
    """Which mitigation to take and why, in a few sentences that don't claim more than the intervals show."""
    found = pick(comparison)
    if found is None:
        if any(comparison.best):
            return "Take none: the random control comes out lowest, so no method shows an effect of its own here."
        dear = _lower_but_dear(comparison, len(comparison.budgets) - 1, math.inf)
        if dear:
            return f"Take none: what lowers bias within these budgets costs right answers. {' '.join(dear)}"
        return "Take none: within these budgets nothing lowers bias on validation items."
    one, at = found
    assert at.bias is not None
    before = "" if base is None else f" (the base model's is {_points(base.value)})"
    text = [
        f"Take {one.name}: at a KL of at most {at.budget:g} nats a token its held-out bias is"
        f" {_points(at.bias.value)} points{before}{_against(at)}."
    ]
    change = at.changes.get("per_occupation_bias")
    if change is not None and not change.high < 0:
        text.append("Its interval doesn't exclude that the base model is as good.")
    cost = at.changes.get("unambiguous_accuracy")
    if cost is not None and cost.high < 0:
        text.append(f"It costs {_points(-cost.value)} points of unambiguous accuracy ({_range(cost, -1)}).")
    text += _lower_but_dear(comparison, comparison.budgets.index(at.budget), at.bias.value)
    also = [
        f"{budget:g}"
        for budget, best in zip(comparison.budgets, comparison.best, strict=True)
        if best == one.name and budget != at.budget
    ]
    if also:
        text.append(f"It is also the lowest at {' and '.join(also)}.")
    for place, (budget, best) in enumerate(zip(comparison.budgets, comparison.best, strict=True)):
        if best is None and not _lower_but_dear(comparison, place, math.inf):
            text.append(f"At {budget:g} nothing lowers bias on validation items.")
        elif best is None:
            text.append(f"At {budget:g} whatever lowers bias costs right answers.")
        elif best != one.name:
            text.append(
                _elsewhere(one, next(m for m in comparison.mitigations if m.name == best), place, budget)
            )
    return " ".join(text)


def _lower_but_dear(comparison: Comparison, place: int, bias: float) -> list[str]:
    """A sentence for each mitigation that has less bias within a budget and isn't taken for its accuracy."""
    cells = [(one.name, one.at[place]) for one in comparison.mitigations]
    return [
        f"{name} {_price(at)}."
        for name, at in cells
        if at.acts and at.bias is not None and not at.keeps_accuracy and at.bias.value < bias
    ]


def _price(at: AtBudget) -> str:
    """What one that doesn't keep accuracy is not taken for."""
    cost = at.changes.get("unambiguous_accuracy")
    assert at.bias is not None and cost is not None
    return (
        f"has {_points(at.bias.value)} there, but costs {_points(-cost.value)} points of unambiguous accuracy"
        f" ({_range(cost, -1)})"
    )


def _against(at: AtBudget) -> str:
    difference = None if at.best_other is None else at.differences.get(at.best_other)
    if difference is None:
        return "; nothing else lowers it"
    if difference.high < 0:
        less = f"{_points(-difference.value)} points ({_range(difference, -1)})"
        return f", {less} below {at.best_other}'s, the next best"
    return (
        f", the lowest, but it can't be told apart from {at.best_other}'s: the difference is "
        f"{_points(difference.value)} points ({_range(difference)})"
    )


def _elsewhere(one: Compared, other: Compared, place: int, budget: float) -> str:
    mine = one.at[place]
    if not mine.metrics:
        return f"At {budget:g} take {other.name}: {one.name} can't keep to it."
    if not mine.keeps_accuracy:
        return f"At {budget:g} take {other.name}: {one.name} {_price(mine)}."
    gap = mine.differences.get(other.name)
    if gap is None:
        return f"At {budget:g} {other.name} is lower."
    sure = "" if gap.low > 0 else ", which may be chance"
    return f"At {budget:g} {other.name} is lower by {_points(gap.value)} points ({_range(gap)}){sure}."


def _points(value: float) -> str:
    return f"{100 * value:.1f}".replace("-", "−")


def _range(estimate: Estimate, sign: int = 1) -> str:
    low, high = sorted((sign * estimate.low, sign * estimate.high))
    return f"{_points(low)} to {_points(high)}"
