"""The recommended strength: smallest within target and budgets, or an honest none."""

import numpy as np
import pytest

from equipoise.metrics import Budgets, Estimate, OperatingPoint, recommend


def about(value, spread=0.01):
    return Estimate(value, value - spread, value + spread, 100)


def point(strength, bias, kl, accuracy=0.97, **more):
    return OperatingPoint(
        strength, {"pronouns": about(bias)}, about(kl), {"pronouns": about(accuracy)}, **more
    )


SWEEP = [point(0, 0.30, 0.0), point(0.5, 0.12, 0.01), point(0.8, 0.03, 0.02), point(1, 0.02, 0.04)]


@pytest.mark.parametrize("order", [1, -1])
def test_the_smallest_strength_that_meets_the_target(order):
    chosen = recommend(SWEEP[::order])
    assert chosen.strength == 0.8
    assert chosen.certain
    assert chosen.reason == (
        "The smallest measured strength that meets the target within the budgets:"
        " bias is 3 points, at most the target of 5 points."
    )
    assert chosen.as_dict()["budgets"] == {
        "bias": 0.05,
        "kl": 0.05,
        "accuracy_drop": 0.01,
        "perplexity_ratio": None,
    }


def test_an_interval_above_the_target_is_told():
    chosen = recommend([SWEEP[0], point(1, 0.045, 0.01)])
    assert chosen.strength == 1
    assert not chosen.certain
    assert "its interval reaches above the target" in chosen.reason


def test_none_reaches_the_target():
    none = recommend(SWEEP[:2])
    assert none.strength is None
    assert none.reason == "No strength brings bias to 5 points: the lowest is 12 points, at strength 0.5."


@pytest.mark.parametrize(
    ("over", "budgets", "words"),
    [
        ({"kl": 0.2}, Budgets(), "KL to the base model is 0.2 (budget 0.05)"),
        (
            {"kl": 0.0, "accuracy": 0.90},
            Budgets(),
            "loss of unambiguous accuracy on pronouns is 7 points (budget 1 points)",
        ),
        ({"kl": 0.0}, Budgets(perplexity_ratio=1.01), "perplexity ratio was not measured"),
        ({"kl": np.nan}, Budgets(), "KL to the base model was not measured"),
        (
            {"kl": 0.0, "perplexity_ratio": about(1.2)},
            Budgets(perplexity_ratio=1.01),
            "is 1.2 (budget 1.01)",
        ),
    ],
)
def test_a_broken_budget_is_named(over, budgets, words):
    none = recommend([SWEEP[0], point(1, 0.01, **over)], budgets)
    assert none.strength is None
    assert words in none.reason
    assert "from strength 1 on" in none.reason


def test_a_budget_of_none_limits_nothing():
    wasteful = [SWEEP[0], point(1, 0.01, kl=9.0, accuracy=0.1)]
    assert recommend(wasteful, Budgets(kl=None, accuracy_drop=None)).strength == 1
    assert recommend(wasteful).strength is None


def test_a_loss_of_exactly_the_budget_is_within_it():
    assert recommend([point(0, 0.3, 0, accuracy=0.97), point(1, 0.01, 0, accuracy=0.96)]).strength == 1


def test_a_strength_beyond_the_budget_does_not_hide_a_later_one_within_it():
    bumpy = [SWEEP[0], point(0.5, 0.04, 0.2), point(1, 0.04, 0.01)]
    assert recommend(bumpy).strength == 1


def test_every_task_must_meet_the_target():
    def both(strength, first, second):
        biases = {"pronouns": about(first), "coreference": about(second)}
        return OperatingPoint(strength, biases, about(0.0), dict.fromkeys(biases, about(0.9)))

    assert recommend([both(0, 0.3, 0.3), both(0.5, 0.01, 0.2), both(1, 0.02, 0.04)]).strength == 1
    assert recommend([both(0, 0.3, 0.3), both(0.5, 0.01, 0.2), both(1, 0.02, 0.06)]).strength is None


def test_a_task_without_unambiguous_items_has_no_accuracy_to_lose():
    def at(strength, bias, accuracy):
        return OperatingPoint(strength, {"winogender": about(bias)}, about(0.01), accuracy)

    none, some, nothing = {"winogender": None}, {"winogender": about(0.9)}, {}
    assert recommend([at(0, 0.3, none), at(1, 0.01, none)]).strength == 1
    # What was there before, or what nobody says anything about, still has to be measured.
    for before, after in ((some, none), (nothing, nothing), (none, nothing), (nothing, none)):
        refused = recommend([at(0, 0.3, before), at(1, 0.01, after)])
        assert refused.strength is None
        assert "accuracy on winogender was not measured" in refused.reason


def test_a_fair_model_needs_nothing():
    chosen = recommend([point(0, 0.02, 0.0), SWEEP[2]])
    assert chosen.strength == 0
    assert "needs no intervention" in chosen.reason


def test_a_bias_that_nobody_measured_meets_no_target():
    none = recommend([point(0, np.nan, 0.0), point(1, np.nan, 0.0)])
    assert none.strength is None
    assert "could not be measured" in none.reason


def test_without_the_base_model_there_is_nothing_to_compare_with():
    with pytest.raises(ValueError, match="strength 0"):
        recommend(SWEEP[1:])
