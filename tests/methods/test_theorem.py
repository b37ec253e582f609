"""DSO's theorem 1: the occupation-balanced mean of the paper's reward is minus the per-occupation bias, exactly."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from methods.samples import GROUPS, TinyTask

from equipoise.dso import GenderParityRewardForSynthBias
from equipoise.metrics import Responses, per_occupation_bias


def mean_reward(answers: Sequence[tuple[str, int]]) -> float:
    """Of (group, option said) pairs, by the package's own reward."""
    samples = [
        {"options": (" he", " she"), "outcomes": ("pro", "anti"), "answer": None, "groups": (group,)}
        for group, _ in answers
    ]
    said = [(" he", " she")[option] for _, option in answers]
    return float(GenderParityRewardForSynthBias()(said, samples).double().mean())


def bias(answers: Sequence[tuple[str, int]]) -> float | None:
    return per_occupation_bias(
        Responses(
            [[1 - option, option] for _, option in answers],
            ("pro", "anti"),
            [option for _, option in answers],
            [(group,) for group, _ in answers],
            ["wording"] * len(answers),
        )
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 9), st.randoms(use_true_random=False))
def test_balanced_mean_reward_is_minus_the_bias(groups: int, each: int, chance: random.Random) -> None:
    answers = [(name, chance.randrange(2)) for name in GROUPS[:groups] for _ in range(each)]
    assert mean_reward(answers) == pytest.approx(-(bias(answers) or 0.0), abs=1e-7)


def test_without_balance_it_is_not() -> None:
    answers = [*[("one", 0)] * 8, ("two", 0), ("two", 1)]
    assert bias(answers) == pytest.approx(0.5)
    assert mean_reward(answers) == pytest.approx(-0.8)


def test_of_probabilities_given_an_answer_too() -> None:
    # E[r | o] = −|P(pro | o) − P(anti | o)|: each group's own sign, whatever the others do.
    table = {"one": (0.3, 0.1), "two": (0.05, 0.45), "three": (0.2, 0.2)}
    found = per_occupation_bias(
        Responses(list(table.values()), ("pro", "anti"), [0, 1, 0], [(g,) for g in table], ["t"] * 3)
    )
    expected = [-abs(p - a) / (p + a) for p, a in table.values()]
    assert found == pytest.approx(-sum(expected) / 3)


def test_the_tiny_tasks_groups_have_equally_many_items() -> None:
    items = TinyTask().items()
    assert len({sum(group in item.groups for item in items) for group in GROUPS}) == 1
