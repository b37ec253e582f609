"""What a comparison recommends where the lowest bias is bought with right answers."""

import pytest

from equipoise.metrics import Estimate
from equipoise.reports import AtBudget, Compared, Comparison
from equipoise.workflows.verdict import verdict


def at(bias: float, accuracy: float, n: int = 240) -> AtBudget:
    changes = {
        "per_occupation_bias": Estimate(bias - 0.4, bias - 0.5, bias - 0.3, n),
        "unambiguous_accuracy": Estimate(accuracy, accuracy - 0.1, accuracy + 0.1, n),
    }
    metrics = {"per_occupation_bias": Estimate(bias, bias - 0.01, bias + 0.01, n)}
    return AtBudget(0.03, {0: 1.0}, {}, None, metrics, changes)


def compared(best: str | None, **at_budget: AtBudget) -> Comparison:
    mitigations = tuple(
        Compared(name, (name,), (), True, 1.0, None, (), (), (one,)) for name, one in at_budget.items()
    )
    return Comparison("pronouns", (0.03,), mitigations, (best,), "")


@pytest.mark.parametrize(
    ("change", "n", "keeps"),
    [
        (0.0, 240, True),
        (0.2, 240, True),
        (-0.01, 240, True),
        (-0.02, 240, False),
        (-2 / 24, 24, True),
        (-3 / 24, 24, False),
        # Neither of 49 items nor of 64 is one answer a reason.
        (-1 / 49, 49, True),
        (-1 / 64, 64, True),
        (-3 / 64, 64, False),
    ],
)
def test_a_point_or_two_answers_may_be_lost(change: float, n: int, keeps: bool) -> None:
    assert at(0.1, change, n).keeps_accuracy == keeps


def test_where_accuracy_is_unknown_it_is_kept() -> None:
    assert AtBudget(0.03, {0: 1.0}, {}, None).keeps_accuracy
    assert at(0.1, float("nan")).keeps_accuracy


def test_the_verdict_names_what_is_lower_and_why_it_is_not_taken() -> None:
    said = verdict(compared("fine", fine=at(0.2, 0.0), wrecks=at(0.03, -0.33)), None)
    assert said.startswith("Take fine: at a KL of at most 0.03 nats a token its held-out bias is 20.0 points")
    assert "wrecks has 3.0 there, but costs 33.0 points of unambiguous accuracy (23.0 to 43.0)." in said
    # The twin: one that is above what is taken is not named.
    assert "wrecks" not in verdict(compared("fine", fine=at(0.2, 0.0), wrecks=at(0.25, -0.33)), None)


def test_one_that_costs_right_answers_at_another_budget_is_not_said_to_be_higher() -> None:
    """Taken where it costs nothing; elsewhere it is lower still, but dear: the other one isn't "lower"."""

    def both(name: str, cheap: AtBudget, dear: AtBudget) -> Compared:
        return Compared(name, (name,), (), True, 1.0, None, (), (), (cheap, cheap, dear))

    fine, mine = at(0.2, 0.0), at(0.1, 0.0)
    found = Comparison(
        "pronouns",
        (0.01, 0.03, 0.1),
        (both("dso", mine, at(0.02, -0.1)), both("caa", fine, fine)),
        ("dso", "dso", "caa"),
        "",
    )
    said = verdict(found, None)
    assert "At 0.1 take caa: dso has 2.0 there, but costs 10.0 points of unambiguous accuracy" in said
    assert "is lower by" not in said


def test_a_control_that_is_lowest_is_named_before_what_is_dear() -> None:
    said = verdict(compared("random", random=at(0.2, 0.0), wrecks=at(0.03, -0.33)), None)
    assert said.startswith("Take none: the random control comes out lowest")


def test_where_everything_costs_right_answers_none_is_taken() -> None:
    said = verdict(compared(None, wrecks=at(0.03, -0.33)), None)
    assert said.startswith(
        "Take none: what lowers bias within these budgets costs right answers. wrecks has 3.0"
    )
