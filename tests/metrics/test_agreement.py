"""Krippendorff's α equals the values that he works out by hand, and its bounds hold."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.metrics import jaccard, krippendorff_alpha

# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), examples A and C; None is a missing value.
TWO: list[list[int | None]] = [list(map(int, row)) for row in ("0100000010", "1110010000")]
FOUR = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def units(annotators: list[list[int | None]]) -> list[list[int]]:
    return [[v for v in column if v is not None] for column in zip(*annotators, strict=True)]


def test_his_examples() -> None:
    assert krippendorff_alpha(units(TWO)) == pytest.approx(0.095, abs=5e-4)
    assert krippendorff_alpha(units(FOUR)) == pytest.approx(0.743, abs=5e-4)


def test_sets_of_labels_by_hand() -> None:
    sets = [[frozenset("a"), frozenset("ab")], [frozenset("b"), frozenset("b")]]
    observed = (2 * 0.5 / 1 + 0) / 4
    # a-ab ½, a-b 1 (twice), ab-b ½ (twice), b-b 0: each pair in both orders.
    expected = 2 * (0.5 + 1 + 1 + 0.5 + 0.5 + 0) / (4 * 3)
    assert krippendorff_alpha(sets, jaccard) == pytest.approx(1 - observed / expected)
    assert jaccard(frozenset(), frozenset()) == 0
    assert jaccard(frozenset("ab"), frozenset("bc")) == pytest.approx(2 / 3)


def test_full_agreement_disagreement_and_nothing_to_agree_on() -> None:
    assert krippendorff_alpha([[1, 1], [2, 2]]) == 1
    assert krippendorff_alpha([[1, 2], [2, 1]]) == pytest.approx(1 - 1 / (8 / 12))
    for nothing in ([], [[1]], [[1], [2]], [[1, 1], [1, 1]]):
        assert krippendorff_alpha(nothing) is None


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(0, 2), min_size=0, max_size=4), max_size=8))
def test_alpha_is_at_most_one_and_names_do_not_matter(rows: list[list[int]]) -> None:
    found = krippendorff_alpha(rows)
    other = krippendorff_alpha([[7 - v for v in reversed(row)] for row in reversed(rows)])
    assert (found is None) == (other is None)
    if found is not None and other is not None:
        assert found <= 1 + 1e-12 and found == pytest.approx(other)
