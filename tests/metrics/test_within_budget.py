"""Choosing a strength within a budget, and where to look for a better one: against direct computations."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.metrics import Candidate, best_within, crossing, vertex

numbers = st.floats(0, 10)
candidates = st.lists(st.builds(Candidate, numbers, numbers, numbers), min_size=1, max_size=8)


@given(candidates, numbers)
def test_nothing_within_the_budget_is_better_than_the_best(found: list[Candidate], budget: float) -> None:
    best = best_within(found, budget)
    allowed = [one for one in found if one.kl <= budget]
    assert (best is None) == (not allowed)
    if best is not None:
        assert best.kl <= budget and all(best.bias <= one.bias for one in allowed)
        assert all(best.strength <= one.strength for one in allowed if one.bias == best.bias)


def test_what_was_not_measured_is_not_within_a_budget() -> None:
    base = Candidate(0.0, 0.0, 0.3)
    assert best_within([base, Candidate(1.0, math.nan, 0.0), Candidate(2.0, 0.0, math.nan)], 1.0) is base
    assert best_within([base, Candidate(1.0, 0.5, 0.0)], 1.0).strength == 1.0


@given(st.floats(0.01, 5.0), st.floats(0.01, 1.0), st.integers(1, 8))
def test_a_quadratic_kl_is_hit_at_once_just_within_the_budget(
    curvature: float, budget: float, steps: int
) -> None:
    grid = [(2.0 * step / steps, curvature * (2.0 * step / steps) ** 2) for step in range(steps + 1)]
    aim = crossing(grid, budget)
    if aim is None:
        below = [kl for _, kl in grid if kl <= budget]
        assert len(below) == len(grid) or below[-1] >= 0.9 * budget
    else:
        assert curvature * aim**2 <= budget
        assert any(low[0] < aim < high[0] for low, high in pairwise(grid))


def test_the_search_stays_below_the_first_strength_that_is_too_dear() -> None:
    aim = crossing([(0.0, 0.0), (1.0, 0.5), (2.0, 0.01)], 0.1)
    assert aim is not None and 0 < aim < 1
    assert crossing([(0.0, 0.0), (1.0, math.inf)], 0.1) == 0.5
    assert crossing([(0.0, 0.0), (1.0, 0.05)], 0.1) is None


@given(st.floats(0.3, 1.2), st.floats(0.1, 3.0))
def test_the_vertex_of_a_parabola_is_found(lowest: float, bend: float) -> None:
    found = [Candidate(x, 0.0, bend * (x - lowest) ** 2) for x in (0.0, 0.2, 0.7, 1.5)]
    best = best_within(found, 1.0)
    aim = vertex(found, best)
    if aim is not None:
        assert aim == pytest.approx(lowest)
    else:
        assert abs(lowest - best.strength) <= 0.05 or best in (found[0], found[-1])


def test_a_line_and_an_end_have_no_vertex() -> None:
    falling = [Candidate(x, 0.0, 1 - x) for x in (0.0, 0.5, 1.0)]
    assert vertex(falling, falling[1]) is None and vertex(falling, falling[2]) is None
