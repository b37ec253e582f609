"""Holm's correction by hand and by simulation, and p-values of paired differences."""

import numpy as np
import pytest

from equipoise.metrics import Bootstrap, Table, holm, mean_of


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    adjusted = holm([0.5, float("nan"), 0.02])
    assert adjusted[0] == 0.5 and np.isnan(adjusted[1]) and adjusted[2] == pytest.approx(0.04)


def tables(
    generator: np.random.Generator, shift: float, clusters: int = 40, each: int = 4
) -> tuple[Table, Table]:
    lean = generator.uniform(0.2, 0.8, clusters).repeat(each)
    move = (shift + 0.1 * generator.standard_normal(clusters)).repeat(each)
    groups = [(f"c{n}",) for n in np.arange(clusters).repeat(each)]

    def answers(share: np.ndarray) -> Table:
        return Table({"x": generator.random(len(share)) < share}, groups)

    return answers(lean), answers(np.clip(lean + move, 0, 1))


def rejections(shift: float, problems: int = 200) -> float:
    generator = np.random.default_rng(0)
    found = []
    for _ in range(problems):
        base, now = tables(generator, shift)
        found.append(Bootstrap.over(base, draws=200).p_value(mean_of("x"), now, base))
    return float(np.mean(np.array(found) < 0.05))


def test_p_values_reject_a_true_null_at_their_level_and_a_false_one_more_often() -> None:
    """Clusters differ in how much they move, and not on average: 0.05 ± 3 standard errors of 200 problems."""
    assert rejections(0.0) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert rejections(0.2) > 0.8


def test_nothing_moved_is_no_evidence() -> None:
    base, _ = tables(np.random.default_rng(1), 0.0)
    assert Bootstrap.over(base).p_value(mean_of("x"), base, base) == 1
