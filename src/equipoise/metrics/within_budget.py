"""Which strength to use a mitigation at where it may cost only so much: chosen on validation data alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# A search for the strength that spends a budget aims a little inside it, and is content from here on.
_AIM = 0.98
_CONTENT = 0.93

# How far accuracy on unambiguous items may fall; of few, two more wrong answers are no evidence.
_DROP = 0.01
_CHANCE = 2
_MOST = 0.1


def accuracy_drop(n: int) -> float:
    """How far accuracy on ``n`` clear items may fall: a point, or two answers if that is more; a tenth at most."""
    return max(_DROP, min(_MOST, _CHANCE / n)) if n else _DROP


@dataclass(frozen=True)
class Candidate:
    """A strength, its KL to the base model in nats a token, and its bias on validation items (infinite: unknown)."""

    strength: float
    kl: float
    bias: float


def best_within(candidates: Sequence[Candidate], budget: float) -> Candidate | None:
    """The candidate of lowest validation bias among those whose KL is within the budget; the weakest of equals.

    None if there is none. A KL or a bias that is not a number is not within any budget.
    """
    allowed = [one for one in candidates if one.kl <= budget and not math.isnan(one.bias)]
    return min(allowed, key=lambda one: (one.bias, one.strength), default=None)


def crossing(found: Sequence[tuple[float, float]], budget: float) -> float | None:
    """A strength at which KL should lie just within the budget, from measured (strength, KL), those of 0 among them.

    It lies between the last strength before KL first exceeds the budget and that one; KL grows with about the square
    of the strength, so its root is interpolated. None where every KL is within the budget, or the last one already
    spends nearly all of it.
    """
    ordered = sorted(found)
    over = next((place for place, (_, kl) in enumerate(ordered) if not kl <= budget), None)
    if not over:
        return None
    (low, kl_low), (high, kl_high) = ordered[over - 1], ordered[over]
    if kl_low >= _CONTENT * budget:
        return None
    if not math.isfinite(kl_high):
        return (low + high) / 2
    start, end = math.sqrt(max(kl_low, 0.0)), math.sqrt(kl_high)
    share = (math.sqrt(_AIM * budget) - start) / (end - start)
    # A step that hardly moves would spend the search's few measurements on one end.
    return low + (high - low) * min(max(share, 0.01), 0.95)


def vertex(candidates: Sequence[Candidate], best: Candidate) -> float | None:
    """Where the parabola through the best candidate and its two neighbours is lowest; None at an end, or if it is flat.

    Of a method that overshoots, the lowest bias lies between the strengths of a grid.
    """
    ordered = sorted(candidates, key=lambda one: one.strength)
    place = ordered.index(best)
    if not 0 < place < len(ordered) - 1:
        return None
    left, right = ordered[place - 1], ordered[place + 1]
    p, q = best.strength - left.strength, right.strength - best.strength
    rise, fall = (right.bias - best.bias) / q, (best.bias - left.bias) / p
    bend = rise - fall
    if not math.isfinite(bend) or bend <= 0:
        return None
    # The slope at ``best`` of the parabola, over its second derivative.
    slope = (rise * p + fall * q) / (p + q)
    found = best.strength - slope * (p + q) / (2 * bend)
    inside = left.strength < found < right.strength
    return found if inside and abs(found - best.strength) > 0.05 * min(p, q) else None
