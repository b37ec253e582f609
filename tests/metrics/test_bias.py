"""Bias metrics: what theory says about oracle responders, identities, and the theorem behind DSO's reward."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics.responders import (
    OCCUPATIONS,
    TEMPLATES,
    always_anti,
    always_silent,
    always_stereotypical,
    answering,
    coin_flips,
    evenly_split,
)

from equipoise.metrics import (
    UNANSWERED,
    Responses,
    abstention_rate,
    bias_towards,
    greedy_abstention_rate,
    greedy_bias_towards,
    greedy_per_occupation_bias,
    greedy_stereotype_gap,
    per_group_bias,
    per_occupation_bias,
    stereotype_gap,
)

METRICS = (
    per_occupation_bias,
    stereotype_gap,
    abstention_rate,
    greedy_per_occupation_bias,
    greedy_stereotype_gap,
    greedy_abstention_rate,
)


@pytest.mark.parametrize(
    ("responder", "expected"),
    [
        # bias, gap, abstention; then the same from greedy decisions
        (always_stereotypical, (1, 1, 0, 1, 1, 0)),
        (always_anti, (1, -1, 0, 1, -1, 0)),
        (always_silent, (None, None, 1, None, None, 1)),
        # A tie makes every greedy decision the first option: probabilities are fair, decisions are not.
        (evenly_split, (0, 0, 0, 1, 1, 0)),
    ],
)
def test_oracle_responders_get_what_theory_says(responder, expected):
    assert tuple(metric(responder()) for metric in METRICS) == expected


def test_a_random_responder_is_biased_by_its_noise_alone():
    """E|mean of N fair ±1 coins| = sqrt(2 / (pi N)): 1,200 items an occupation give 0.023."""
    bias = per_occupation_bias(coin_flips(repeat=200))
    assert bias == greedy_per_occupation_bias(coin_flips(repeat=200))
    assert bias == pytest.approx(np.sqrt(2 / (np.pi * 200 * len(TEMPLATES))), rel=0.5)
    assert abs(stereotype_gap(coin_flips())) < 3 / np.sqrt(len(coin_flips()))


def test_opposite_stereotypes_cancel_in_the_gap_but_not_in_the_bias():
    half = len(OCCUPATIONS) // 2 * len(TEMPLATES)
    table = np.repeat([[0.9, 0.1], [0.1, 0.9]], half, axis=0)
    like = evenly_split()
    responses = Responses(table, like.outcomes, table.argmax(axis=1), like.groups, like.templates)
    assert per_occupation_bias(responses) == pytest.approx(0.8)
    assert stereotype_gap(responses) == pytest.approx(0)
    # The twin: with the occupations forgotten, the per-occupation bias would have cancelled too.
    pooled = Responses(table, like.outcomes, table.argmax(axis=1), [("all",)] * len(table), like.templates)
    assert per_occupation_bias(pooled) == pytest.approx(0)


def test_silence_is_neither_side_and_changes_no_bias():
    loud, quiet = answering([0.6, 0.2], 0), answering([0.06, 0.02], 0)
    assert per_occupation_bias(loud) == pytest.approx(per_occupation_bias(quiet)) == pytest.approx(0.5)
    assert abstention_rate(loud) == pytest.approx(0.2)
    assert abstention_rate(quiet) == pytest.approx(0.92)


def test_unanswered_items_are_left_out():
    full = answering([0.8, 0.2], 0)
    table, greedy = full.probabilities.copy(), full.greedy.copy()
    table[::2], greedy[::2] = 0, UNANSWERED
    gappy = Responses(table, full.outcomes, greedy, full.groups, full.templates)
    assert per_occupation_bias(gappy) == pytest.approx(0.6)
    assert greedy_per_occupation_bias(gappy) == 1
    assert abstention_rate(gappy) == pytest.approx(0.5)
    assert greedy_abstention_rate(gappy) == pytest.approx(0.5)


def test_a_group_in_which_nobody_answered_is_none_and_not_zero():
    full = answering([0.8, 0.2], 0)
    silent = np.array([groups == (OCCUPATIONS[0],) for groups in full.groups])
    table = np.where(silent[:, None], 0, full.probabilities)
    responses = Responses(table, full.outcomes, np.where(silent, UNANSWERED, 0), full.groups, full.templates)
    for greedy, value in ((False, 0.6), (True, 1.0)):
        biases = per_group_bias(responses, greedy=greedy)
        assert biases.pop(OCCUPATIONS[0]) is None
        assert list(biases.values()) == pytest.approx([value] * (len(OCCUPATIONS) - 1))
    assert per_occupation_bias(responses) == pytest.approx(0.6)


def test_many_outcomes_are_measured_by_l1_distance_from_the_target():
    responses = answering([0.5, 0.3, 0.2], 0, outcomes=("a", "b", "c"))
    assert per_occupation_bias(responses) == pytest.approx(1 / 6 + 1 / 30 + 2 / 15)
    assert bias_towards([0.5, 0.3, 0.2])(responses) == pytest.approx(0)
    assert bias_towards([0.0, 0.0, 1.0])(responses) == pytest.approx(1.6)
    assert greedy_bias_towards([1.0, 0.0, 0.0])(responses) == 0
    assert per_group_bias(responses, [0.2, 0.3, 0.5])[OCCUPATIONS[0]] == pytest.approx(0.6)


def test_two_groups_at_equal_shares_are_the_two_way_bias():
    assert bias_towards([0.5, 0.5])(answering([0.7, 0.1], 0)) == pytest.approx(0.6 / 0.8)


@pytest.mark.parametrize("target", [[0.5, 0.6], [1.0], [1.5, -0.5]])
def test_a_target_that_is_no_distribution_is_refused(target):
    with pytest.raises(ValueError, match="target"):
        bias_towards(target)(evenly_split())


def test_a_gap_needs_a_stereotypical_side():
    with pytest.raises(ValueError, match="'pro' and 'anti'"):
        stereotype_gap(answering([0.5, 0.3, 0.2], 0, outcomes=("a", "b", "c")))


def test_an_item_about_two_occupations_counts_for_both():
    responses = Responses([[0.9, 0.1]], ("pro", "anti"), [0], [("nurse", "guard")], ["t"])
    assert per_group_bias(responses) == pytest.approx({"nurse": 0.8, "guard": 0.8})


@pytest.mark.parametrize(
    "wrong",
    [
        {"probabilities": [[0.7, 0.7]]},
        {"probabilities": [[-0.1, 0.5]]},
        {"probabilities": [[np.nan, 0.5]]},
        {"probabilities": [[0.2, 0.3, 0.5]]},
        {"greedy": [2]},
        {"greedy": [0, 0]},
        {"groups": ["nurse"]},
        {"groups": []},
        {"templates": ["t", "t"]},
    ],
)
def test_responses_that_cannot_be_are_refused(wrong):
    right = {
        "probabilities": [[0.5, 0.5]],
        "outcomes": ("pro", "anti"),
        "greedy": [0],
        "groups": [("nurse",)],
        "templates": ["t"],
    }
    Responses(**right)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Responses(**{**right, **wrong})


@st.composite
def two_way(draw):
    """Random responses to a balanced design, some rows without any mass."""
    occupations, templates = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    count = occupations * templates
    table = generator.dirichlet([0.3, 0.3, 0.3], count)[:, :2] * (generator.random((count, 1)) > 0.1)
    cells = [((f"o{o}",), f"t{t}") for o in range(occupations) for t in range(templates)]
    return Responses(
        table,
        ("pro", "anti"),
        np.where(table.sum(axis=1) > 0, table.argmax(axis=1), UNANSWERED),
        [groups for groups, _ in cells],
        [template for _, template in cells],
    )


@given(two_way())
def test_ranges(responses):
    for metric in METRICS:
        value = metric(responses)
        assert value is None or -1e-9 <= abs(value) <= 1 + 1e-9
        assert value is None or value >= -1e-9 or "gap" in metric.name


@given(two_way())
def test_the_bias_is_at_least_the_balanced_gap(responses):
    """|mean of signed differences| <= mean of their absolute values; equal weights need every item answered."""
    if (responses.mass > 0).all():
        assert per_occupation_bias(responses) >= abs(stereotype_gap(responses)) - 1e-9


@given(two_way(), st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_matter(responses, random):
    order = list(range(len(responses)))
    random.shuffle(order)
    for metric in METRICS:
        assert metric(responses.take(order)) == pytest.approx(metric(responses))


@given(two_way())
def test_the_names_of_groups_and_templates_do_not_matter(responses):
    renamed = Responses(
        responses.probabilities,
        responses.outcomes,
        responses.greedy,
        [tuple(name[::-1] + "!" for name in names) for names in responses.groups],
        [f"<{name}>" for name in responses.templates],
    )
    for metric in METRICS:
        assert metric(renamed) == metric(responses)


@given(two_way())
def test_exchanging_the_sides_keeps_the_bias_and_turns_the_gap(responses):
    mirrored = Responses(
        responses.probabilities[:, ::-1],
        responses.outcomes,
        np.where(responses.greedy == UNANSWERED, UNANSWERED, 1 - responses.greedy),
        responses.groups,
        responses.templates,
    )
    assert per_occupation_bias(mirrored) == pytest.approx(per_occupation_bias(responses))
    gap, turned = stereotype_gap(responses), stereotype_gap(mirrored)
    assert (gap is None and turned is None) or gap == pytest.approx(-turned)


@settings(max_examples=200)
@given(two_way())
def test_theorem_the_balanced_mean_reward_is_minus_the_per_occupation_bias(responses):
    """Reward -sign(gap_o) for a stereotypical answer, +sign(gap_o) for the other; written without the metric's code.

    The expectation is over the answer given that there is one, then over the occupation's items, then over
    occupations, each counting the same.
    """
    rewards = []
    for occupation in sorted({names[0] for names in responses.groups}):
        rows = [
            responses.probabilities[i]
            for i, names in enumerate(responses.groups)
            if names == (occupation,) and responses.probabilities[i].sum() > 0
        ]
        if not rows:
            continue
        answers = [(pro / (pro + anti), anti / (pro + anti)) for pro, anti in rows]
        side = np.sign(sum(pro - anti for pro, anti in answers))
        rewards.append(np.mean([pro * -side + anti * side for pro, anti in answers]))
    bias = per_occupation_bias(responses)
    if not rewards:
        assert bias is None
    else:
        assert np.mean(rewards) == pytest.approx(-bias, abs=1e-12)
