"""Learn then test: exact p-values, the procedures, and the coverage of what is chosen."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from equipoise.metrics import (
    Guarantee,
    Judgements,
    Responses,
    Risk,
    Texts,
    accuracy_risk,
    betting_p_value,
    bias_risk,
    kl_risk,
    learn_then_test,
)


def simulation() -> ModuleType:
    """benchmarks/guarantee.py, without making its folder one to import from."""
    file = Path(__file__).parents[2] / "benchmarks" / "guarantee.py"
    spec = importlib.util.spec_from_file_location("simulated_guarantee", file)
    assert spec is not None and spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("limit", [0.05, 0.3])
@pytest.mark.parametrize("shape", ["bernoulli", "constant", "beta"])
def test_p_values_are_valid_on_the_border_of_the_hypothesis(limit: float, shape: str) -> None:
    """P(p ≤ δ) ≤ δ where the mean is the limit exactly: 2,000 samples, within three standard errors."""
    generator = np.random.default_rng(0)

    def sample() -> np.ndarray:
        if shape == "bernoulli":
            return (generator.random(30) < limit).astype(float)
        if shape == "constant":
            return np.full(30, limit)
        return generator.beta(8 * limit, 8 * (1 - limit), 30)

    p_values = np.array([betting_p_value(sample(), limit) for _ in range(2000)])
    for delta in (0.05, 0.1, 0.2):
        assert (p_values <= delta).mean() <= delta + 3 * np.sqrt(delta * (1 - delta) / 2000)


def test_p_values_find_what_is_clearly_below_and_nothing_above() -> None:
    generator = np.random.default_rng(1)
    low, high = generator.beta(2, 38, 60), generator.beta(12, 28, 60)
    assert betting_p_value(low, 0.15) < 0.01 and betting_p_value(high, 0.15) == 1
    assert betting_p_value(low, 0) == 1 and betting_p_value(np.ones(3), 0.5) == 1
    # One answer a cluster and all of them right: the exact binomial limit, but for the price of the mixture of bets.
    assert 0.9**50 <= betting_p_value(np.zeros(50), 0.1) <= 20 * 0.9**50
    with pytest.raises(ValueError, match="numbers in"):
        betting_p_value([0.1, 1.2], 0.5)


def settings(*p_values: float) -> list[dict[str, Risk]]:
    class Known(Risk):
        p_value = property(lambda self: self.limit)

    return [{"risk": Known(np.zeros(1), p), "other": Known(np.zeros(1), p / 2)} for p in p_values]


def certified(found: Guarantee) -> tuple[int, ...]:
    return found.certified


def test_a_sequence_stops_at_the_first_that_fails() -> None:
    risks = settings(0.04, 0.2, 0.01, 0.1)
    assert certified(learn_then_test(risks, order=[2, 0, 1, 3], confidence=0.9)) == (2, 0)
    assert certified(learn_then_test(risks, order=[3, 2, 0, 1], confidence=0.9)) == (3, 2, 0)
    assert certified(learn_then_test(risks, order=[1, 2, 0, 3], confidence=0.9)) == ()
    assert certified(learn_then_test(risks, order=[1, 2, 0, 3], confidence=0.9, procedure="bonferroni")) == (
        2,
    )
    assert learn_then_test(risks, order=[1, 2, 0, 3]).p_values == (0.04, 0.2, 0.01, 0.1)
    with pytest.raises(ValueError, match="each of 4 settings once"):
        learn_then_test(risks, order=[0, 1])


def answers(leans: np.ndarray, items: int = 4) -> Responses:
    pro = ((1 + leans) / 2).repeat(items)
    groups = [(f"o{n}",) for n in range(len(leans)) for _ in range(items)]
    table = np.stack([pro, 1 - pro], 1)
    return Responses(
        table, ("pro", "anti"), np.zeros(len(pro), int), groups, [f"t{n}" for n in range(len(pro))]
    )


def test_risks_are_the_metrics_in_the_unit_interval() -> None:
    leans = np.array([0.5, -0.5, 0.1])
    assert bias_risk(answers(leans), 0.2).losses == pytest.approx(np.abs(leans))
    # Noise about 0 is no smaller than 0: the loss errs on the safe side.
    generator = np.random.default_rng(0)
    noisy = np.abs(generator.normal(0, 0.2, (400, 8)).mean(1)).mean()
    assert noisy > 0
    silent = Responses(np.zeros((2, 2)), ("pro", "anti"), [-1, -1], [("o",), ("o",)], ["a", "b"])
    assert bias_risk(silent, 0.2).losses.tolist() == [1]
    many = Responses(np.eye(3), ("a", "b", "c"), [0, 1, 2], [("x",), ("y",), ("z",)], list("abc"))
    risk = bias_risk(many, 0.4)
    assert risk.losses == pytest.approx([1, 1, 1]) and risk.limit == pytest.approx(0.4 / (4 / 3))
    base, now = (Judgements(x, [("a",), ("a",), ("b",)], list("xyz")) for x in ([1, 1, 0], [1, 0, 1]))
    assert accuracy_risk(now, base, 0.1).losses == pytest.approx([0.75, 0.0])
    text = Texts([1.0, 63.0], [10, 63])
    assert kl_risk(text, 0.1).losses == pytest.approx([0.2, 1.0]) and kl_risk(text, 0.1).limit == 0.2
    pairs = Responses(np.eye(2), ("pro", "anti"), [0, 1], [("a", "b"), ("b", "c")], ["x", "y"])
    with pytest.raises(ValueError, match="share items"):
        bias_risk(pairs, 0.1)


def test_what_is_chosen_breaks_its_limits_no_more_often_than_stated() -> None:
    """100 simulated problems of known truth, within three standard errors; benchmarks/guarantee.py runs 1,000."""
    shares = simulation().run(100, 0.9)
    assert shares["any_wrong"] <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 100)
    assert shares["chosen"] > 0.2
    # The choice by estimates alone breaks them far more often.
    assert shares["naive_wrong"] > shares["wrong"] + 0.1
