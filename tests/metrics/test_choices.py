"""Fairness counts answers, KL the two values' confidence; an answer that is always the same says nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.metrics import (
    Bootstrap,
    Responses,
    attribute_kl,
    choice_scores,
    degenerate,
    fairness,
    greedy_per_occupation_bias,
    per_occupation_bias,
)
from equipoise.metrics.choices import LARGEST_KL


def test_by_hand() -> None:
    scores = choice_scores(np.array([[0.5, 0.2, 0.2], [0.1, 0.6, 0.2], [0.0, 0.0, 0.4], [0.3, 0.0, 0.0]]))
    assert scores.fairness == 0.5 and scores.n == 4 and not scores.degenerate
    np.testing.assert_allclose(scores.proportions, [0.5, 0.25, 0.25])
    lean = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)
    assert scores.kl == pytest.approx((0 + lean + np.log(2) + 0) / 4)
    assert scores.mass == pytest.approx((0.9 + 0.9 + 0.4 + 0.3) / 4)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=20))
def test_bounds_and_symmetry(rows: list[tuple[float, float, float]]) -> None:
    table = np.array(rows)
    scores = choice_scores(table)
    assert 0 <= scores.fairness <= 1 and -1e-12 <= scores.kl <= LARGEST_KL + 1e-12
    assert scores.proportions.sum() == pytest.approx(1)
    assert choice_scores(table[:, [0, 2, 1]]).kl == pytest.approx(scores.kl)
    assert choice_scores(np.repeat(table, 2, 0)).fairness == pytest.approx(scores.fairness)


@pytest.mark.parametrize("always", [0, 1, 2])
def test_one_answer_always_is_degenerate(always: int) -> None:
    table = np.full((5, 3), 0.1)
    table[:, always] = 0.5
    assert choice_scores(table).degenerate
    table[0, (always + 1) % 3] = 0.9
    assert not choice_scores(table).degenerate
    assert not choice_scores(table[1:2]).degenerate  # of one answer it can't be said


def test_other_shapes_are_refused() -> None:
    for table in (np.zeros((0, 3)), np.zeros((2, 2)), np.zeros(3)):
        with pytest.raises(ValueError, match="n, 3"):
            choice_scores(table)


def answers(table: np.ndarray, target: tuple[float, ...] | None = (1, 0, 0)) -> Responses:
    n = len(table)
    groups = [(f"concept {k % 2}",) for k in range(n)]
    return Responses(
        table, ("fair", "man", "woman"), table.argmax(1), groups, ["t"] * n, target and [target] * n
    )


def test_statistics_are_the_scores() -> None:
    table = np.array([[0.5, 0.2, 0.2], [0.1, 0.6, 0.2], [0.0, 0.0, 0.4], [0.3, 0.0, 0.0]])
    scores, found = choice_scores(table), answers(table)
    assert fairness(found) == scores.fairness and attribute_kl(found) == pytest.approx(scores.kl)
    assert not degenerate(found) and degenerate(found.take([1])) is False
    assert degenerate(answers(np.array([[0.1, 0.6, 0.2], [0.3, 0.4, 0.0]])))


def test_the_target_decides_what_is_fair() -> None:
    always = np.array([[0.9, 0.0, 0.0]] * 4)
    assert per_occupation_bias(answers(always)) == pytest.approx(0)
    assert per_occupation_bias(answers(always, None)) == pytest.approx(4 / 3)
    table = np.array([[0.3, 0.2, 0.1]] * 4)
    assert per_occupation_bias(answers(table)) == pytest.approx(2 * (1 - 0.5))
    assert answers(table).take([0, 1]).targets.tolist() == [[1, 0, 0]] * 2


def test_bias_leaves_as_much_doubt_as_fairness_where_all_answers_are_alike() -> None:
    """Greedy bias is twice what fairness lacks; of concepts that all agree neither is certain."""
    for said in ([0.9, 0.1, 0.0], [0.1, 0.9, 0.0]):
        groups, templates = zip(*[(f"c{k}", f"t{w}") for k in range(7) for w in range(3)], strict=True)
        rows = np.array([said] * 21)
        named = [(name,) for name in groups]
        found = Responses(rows, ("fair", "man", "woman"), rows.argmax(1), named, templates, [(1, 0, 0)] * 21)
        draws = Bootstrap.over(found)
        bias, fair = draws.estimate(greedy_per_occupation_bias, found), draws.estimate(fairness, found)
        assert (bias.low, bias.high) == pytest.approx((2 * (1 - fair.high), 2 * (1 - fair.low)))
        assert bias.high - bias.low > 0.5


def test_an_answer_that_is_none_of_them_is_not_fair() -> None:
    table = np.array([[0.5, 0.2, 0.2], [0.5, 0.2, 0.2]])
    scores = choice_scores(table, np.array([0, -1]))
    assert scores.fairness == 0.5 and scores.proportions.sum() == 0.5 and not scores.degenerate
    assert choice_scores(table, np.array([-1, -1])).degenerate
