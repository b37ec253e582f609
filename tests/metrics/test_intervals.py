"""Intervals: pairing, weights against brute force, coverage of a planted truth, refusals."""

from dataclasses import replace

import numpy as np
import pytest
from metrics.responders import (
    OCCUPATIONS,
    always_silent,
    always_stereotypical,
    answering,
    evenly_split,
    planted,
)

from equipoise.metrics import (
    Bootstrap,
    Judgements,
    Responses,
    TooFewClusters,
    abstention_rate,
    accuracy,
    greedy_abstention_rate,
    greedy_per_occupation_bias,
    greedy_stereotype_gap,
    per_occupation_bias,
    stereotype_gap,
)
from equipoise.metrics.bias import group_share
from equipoise.metrics.clusters import Draws


def biases(generator, count=20, mean=0.2, spread=0.2):
    return mean + spread * generator.standard_normal(count)


def true_bias(mean, spread):
    return float(np.abs(mean + spread * np.random.default_rng(99).standard_normal(1_000_000)).mean())


def pairs(generator, names="abcdefg", templates="tuvw"):
    """Sentences about every pair of occupations."""
    cells = [((a, b), t) for i, a in enumerate(names) for b in names[i + 1 :] for t in templates]
    table = generator.dirichlet([1, 1, 1], len(cells))[:, :2]
    return Responses(table, ("pro", "anti"), table.argmax(1), [g for g, _ in cells], [t for _, t in cells])


@pytest.mark.parametrize("kind", ["single", "pair"])
def test_a_draw_equals_copying_the_drawn_clusters(kind):
    """Weights against an independent implementation: build each draw's data set item by item, then average."""
    generator = np.random.default_rng(5)
    sample = pairs(generator) if kind == "pair" else planted(generator, biases(generator, 7), templates=4)
    draws = Draws.resample({g for names in sample.groups for g in names}, sample.templates, 8, seed=3)
    bias, gap = per_occupation_bias.draws(sample, draws), stereotype_gap.draws(sample, draws)
    for b in range(8):
        times = {name: int(draws.group_counts[row, b]) for name, row in draws.groups.items()}
        often = {name: int(draws.template_counts[row, b]) for name, row in draws.templates.items()}
        pooled, per_copy = [], []
        for i, names in enumerate(sample.groups):
            copies = often[sample.templates[i]] * int(np.prod([times[name] for name in names]))
            pooled += [sample.given_answer[i] @ [1, -1]] * copies
        for group, number in times.items():
            own = []
            for i, names in enumerate(sample.groups):
                if group in names:
                    rest = int(np.prod([times[name] for name in names if name != group]))
                    own += [sample.given_answer[i] @ [1, -1]] * (often[sample.templates[i]] * rest)
            per_copy += [abs(np.mean(own))] * number
        assert gap[b] == pytest.approx(np.mean(pooled))
        assert bias[b] == pytest.approx(np.mean(per_copy))


def test_the_order_and_kind_of_names_change_no_draw():
    generator = np.random.default_rng(0)
    sample = planted(generator, biases(generator))
    shuffled = sample.take(generator.permutation(len(sample)))
    first, second = (Bootstrap.over(s).estimate(per_occupation_bias, s) for s in (sample, shuffled))
    assert (first.low, first.value, first.high) == pytest.approx((second.low, second.value, second.high))


def test_one_seed_one_result_and_another_seed_another():
    generator = np.random.default_rng(0)
    sample = planted(generator, biases(generator))
    estimates = [
        Bootstrap.over(sample, seed=seed).estimate(per_occupation_bias, sample) for seed in (1, 1, 2)
    ]
    assert estimates[0] == estimates[1] != estimates[2]


def test_a_sample_differs_from_itself_by_nothing():
    """Paired draws cancel; unpaired ones (the twin) would not."""
    generator = np.random.default_rng(0)
    sample = planted(generator, biases(generator))
    bootstrap = Bootstrap.over(sample)
    same = bootstrap.difference(per_occupation_bias, sample, sample)
    assert (same.low, same.value, same.high) == (0, 0, 0)
    alone = bootstrap.estimate(per_occupation_bias, sample)
    assert alone.high - alone.low > 0.05


def test_more_bias_everywhere_is_seen_although_the_single_intervals_overlap():
    generator = np.random.default_rng(1)
    planted_biases = biases(generator, mean=0.4, spread=0.1)
    before = planted(np.random.default_rng(2), planted_biases)
    after = planted(np.random.default_rng(2), planted_biases - 0.05)
    bootstrap = Bootstrap.over(before)
    change = bootstrap.difference(per_occupation_bias, after, before)
    assert change.low <= -0.05 <= change.high < 0
    one, other = (bootstrap.estimate(per_occupation_bias, s) for s in (before, after))
    assert other.high > one.low


@pytest.mark.parametrize(
    ("mean", "spread", "template_sd"),
    [
        (0.2, 0.2, 0.05),
        (0.0, 0.0, 0.0),
        (0.0, 0.0, 0.05),
        (0.0, 0.03, 0.05),
        (0.05, 0.0, 0.05),
        (0.3, 0.0, 0.1),
    ],
)
def test_the_interval_covers_the_planted_bias(mean, spread, template_sd):
    """Nominal 95 %; at least 0.88 of 150 simulated studies, whether the truth is large, small or nothing."""
    truth = true_bias(mean, spread)
    covered = 0
    for study in range(150):
        generator = np.random.default_rng([7, study])
        sample = planted(generator, biases(generator, 20, mean, spread), template_sd=template_sd)
        estimate = Bootstrap.over(sample, draws=200, seed=study).estimate(per_occupation_bias, sample)
        covered += estimate.low <= truth <= estimate.high
    assert covered >= 0.88 * 150


def test_plain_percentiles_would_miss_a_truth_of_zero():
    """The twin of the coverage test: why absolute values need their own interval."""
    missed = 0
    for study in range(20):
        generator = np.random.default_rng([7, study])
        sample = planted(generator, np.zeros(20))
        draws = Draws.resample({f"o{i}" for i in range(20)}, sample.templates, 300, seed=study)
        missed += np.quantile(per_occupation_bias.draws(sample, draws), 0.025) > 0
    assert missed == 20


@pytest.mark.parametrize(("mean", "spread", "template_sd"), [(0.2, 0.2, 0.05), (0.0, 0.1, 0.1)])
def test_the_interval_covers_the_planted_gap(mean, spread, template_sd):
    covered = 0
    for study in range(100):
        generator = np.random.default_rng([7, study])
        sample = planted(generator, biases(generator, 20, mean, spread), template_sd=template_sd)
        estimate = Bootstrap.over(sample, draws=300, seed=study).estimate(stereotype_gap, sample)
        covered += estimate.low <= mean <= estimate.high
    assert covered >= 88


def test_the_cautious_estimate_expects_no_more_than_the_truth():
    """Zero in the mean where there is no bias, where the plain estimate is all noise; both right where it is large."""
    nothing, much = [], []
    for study in range(100):
        generator = np.random.default_rng([7, study])
        nothing.append(per_occupation_bias.cautious(planted(generator, np.zeros(20))))
        much.append(per_occupation_bias.cautious(planted(generator, np.full(20, 0.5))))
    assert np.mean(nothing) == pytest.approx(0, abs=0.003)
    assert np.mean(much) == pytest.approx(0.5, abs=0.01)
    assert per_occupation_bias(planted(np.random.default_rng(0), np.zeros(20))) > 0.015


def seeds_of_one_study(study, shrink, fit_sd, seeds=5):
    """Five seeds that hold out overlapping thirds of one pool, before and after a mitigation that varies by seed."""
    generator = np.random.default_rng([7, study])
    pool, rows = planted(generator, biases(generator, 60), templates=30, repeat=1), []
    for _ in range(seeds):
        groups = {f"o{i}" for i in generator.permutation(60)[:20]}
        templates = {f"t{i}" for i in generator.permutation(30)[:10]}
        mask = [g[0] in groups and t in templates for g, t in zip(pool.groups, pool.templates, strict=True)]
        before = pool.take(mask)
        scale = shrink + fit_sd * generator.standard_normal()
        table = 0.5 + (before.probabilities - 0.5) * scale
        rows.append(
            (before, Responses(table, before.outcomes, table.argmax(1), before.groups, before.templates))
        )
    return [before for before, _ in rows], [after for _, after in rows]


def test_the_mean_over_seeds_and_its_difference_cover_the_planted_truth():
    truth, shrink, covered = true_bias(0.2, 0.2), 0.4, np.zeros(3)
    for study in range(40):
        before, after = seeds_of_one_study(study, shrink, fit_sd=0.1)
        bootstrap = Bootstrap.over(*before, draws=200, seed=study)
        for k, (estimate, target) in enumerate(
            [
                (bootstrap.estimate(per_occupation_bias, before), truth),
                (bootstrap.estimate(per_occupation_bias, after), shrink * truth),
                (bootstrap.difference(per_occupation_bias, after, before), (shrink - 1) * truth),
            ]
        ):
            covered[k] += estimate.low <= target <= estimate.high
    assert (covered >= 0.88 * 40).all()


def test_seeds_that_disagree_widen_the_interval_of_their_mean():
    before, steady = seeds_of_one_study(0, 0.4, fit_sd=0.0)
    _, shaky = seeds_of_one_study(0, 0.4, fit_sd=0.3)
    bootstrap = Bootstrap.over(*before)
    narrow, wide = (bootstrap.estimate(per_occupation_bias, part) for part in (steady, shaky))
    assert narrow.value == pytest.approx(np.mean([per_occupation_bias(part) for part in steady]))
    assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)
    assert narrow.n == sum(map(len, steady))


def test_intervals_stay_within_what_the_statistic_can_be():
    sure = always_stereotypical()
    bootstrap = Bootstrap.over(sure)
    estimate = bootstrap.estimate(per_occupation_bias, sure)
    assert (estimate.low, estimate.value, estimate.high) == (1, 1, 1)
    three = answering([1.0, 0.0, 0.0], 0, outcomes=("a", "b", "c"))
    assert bootstrap.estimate(per_occupation_bias, three).high == pytest.approx(4 / 3)


def test_silence_has_no_bias_and_its_estimate_is_null():
    silent = always_silent()
    estimate = Bootstrap.over(silent).estimate(per_occupation_bias, silent)
    assert estimate.as_dict() == {"value": None, "low": None, "high": None, "n": len(silent)}
    assert Bootstrap.over(silent).estimate(abstention_rate, silent).value == 1


def test_items_that_all_agree_leave_room_for_doubt():
    """No draw of identical items varies; with 12 occupations the exact limit of a share is 0.025^(1/12)."""
    even = evenly_split()
    right = Judgements(np.ones(len(even)), even.groups, even.templates)
    estimate = Bootstrap.over(right).estimate(accuracy, right)
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low == pytest.approx(0.025 ** (1 / 12))
    assert Bootstrap.over(even).estimate(greedy_abstention_rate, even).high == pytest.approx(
        1 - 0.025 ** (1 / 12)
    )


def test_decisions_that_all_agree_leave_room_for_doubt():
    """Where every occupation's decisions all go one way, others' needn't: the same limit, of the whole range."""
    one_way = answering([1.0, 0.0], 0)
    draws = Bootstrap.over(one_way)
    doubt = 1 - 0.025 ** (1 / 12)
    bias = draws.estimate(greedy_per_occupation_bias, one_way)
    assert (bias.value, bias.high) == (1, 1) and bias.low == pytest.approx(1 - doubt)
    gap = draws.estimate(greedy_stereotype_gap, one_way)
    assert (gap.value, gap.high) == (1, 1) and gap.low == pytest.approx(1 - 2 * doubt)
    twice = answering([0.5, 0.5], 0, repeat=2)
    halves = Responses(
        twice.probabilities, twice.outcomes, [0, 1] * (len(twice) // 2), twice.groups, twice.templates
    )
    none = Bootstrap.over(halves).estimate(greedy_per_occupation_bias, halves)
    assert (none.value, none.low) == (0, 0) and none.high == pytest.approx(doubt)


def test_where_every_item_changes_alike_the_change_is_tested_by_its_signs():
    """All of 12 groups went from wrong to right: no draw varies, yet that is no accident."""
    even = evenly_split()
    right, wrong = (
        Judgements(np.full(len(even), share), even.groups, even.templates) for share in (1.0, 0.0)
    )
    draws = Bootstrap.over(right)
    assert draws.p_value(accuracy, right, wrong) == pytest.approx(2 * 0.5**12)
    assert draws.p_value(accuracy, right, right) == 1  # the twin
    change = draws.difference(accuracy, wrong, right)
    assert (change.value, change.low) == (-1, -1) and -1 < change.high < 0
    same = draws.difference(accuracy, right, right)
    assert (same.low, same.high) == (0, 0)


def test_shares_of_a_group_come_with_intervals():
    generator = np.random.default_rng(0)
    sample = planted(generator, np.linspace(-0.8, 0.8, 9))
    shares = Bootstrap.over(sample).group_shares(sample)
    assert list(shares) == [f"o{i}" for i in range(9)]
    for i, estimate in enumerate(shares.values()):
        assert estimate.low < estimate.value < estimate.high
        assert estimate.value == pytest.approx((1 + np.linspace(-0.8, 0.8, 9)[i]) / 2, abs=0.1)
        assert estimate.value == pytest.approx(group_share(sample, f"o{i}", "pro", Draws.once(sample))[0])
        assert estimate.n == 20


def test_shares_of_a_group_average_over_the_seeds_that_hold_it_out():
    sample = planted(np.random.default_rng(0), np.linspace(-0.8, 0.8, 9))
    part = sample.take([names != ("o0",) for names in sample.groups])
    shares = Bootstrap.over(sample).group_shares([sample, part])
    assert shares["o0"].n == 20
    assert shares["o1"].n == 40


def test_a_group_with_one_template_says_nothing_about_its_spread():
    sample = planted(np.random.default_rng(0), np.linspace(-0.8, 0.8, 9), templates=6)
    lonely = sample.take(
        [g != ("o0",) or t == "t0" for g, t in zip(sample.groups, sample.templates, strict=True)]
    )
    shares = Bootstrap.over(lonely).group_shares(lonely)
    assert (shares["o0"].low, shares["o0"].high) == (0, 1)
    assert shares["o0"].value == pytest.approx(group_share(lonely, "o0", "pro", Draws.once(lonely))[0])
    assert 0 < shares["o1"].low < shares["o1"].value < shares["o1"].high < 1


def test_a_group_whose_answers_do_not_vary_has_no_interval_of_width_zero():
    sample = answering([0.7, 0.3], 0)
    share = Bootstrap.over(sample).group_shares(sample)[OCCUPATIONS[0]]
    assert (share.value, share.low, share.high) == (pytest.approx(0.7), 0, 1)
    nothing = always_silent()
    assert np.isnan(Bootstrap.over(nothing).group_shares(nothing)[OCCUPATIONS[0]].low)


def test_a_groups_interval_is_widened_for_its_own_templates_not_for_all():
    """Three templates of six are as few with three others beside them as without."""
    sample = planted(np.random.default_rng(0), np.linspace(-0.8, 0.8, 9), templates=6)
    few = sample.take(
        [g != ("o0",) or t < "t3" for g, t in zip(sample.groups, sample.templates, strict=True)]
    )
    bootstrap = Bootstrap.over(few)
    own = bootstrap._group([few], "o0", "pro")
    assert set(own.templates) == {"t0", "t1", "t2"}
    counted = bootstrap._interval(replace(own, templates=tuple(dict.fromkeys(few.templates))))
    share = bootstrap.group_shares(few)["o0"]
    assert share.high - share.low > counted.high - counted.low


@pytest.mark.parametrize(("groups", "templates"), [(4, 6), (12, 1)])
def test_too_few_clusters_are_refused_with_the_numbers(groups, templates):
    sample = planted(np.random.default_rng(0), np.zeros(groups), templates=templates)
    with pytest.raises(
        TooFewClusters, match=f"not enough items for an interval: {groups} groups and {templates} "
    ):
        Bootstrap.over(sample)
    enough = planted(np.random.default_rng(0), np.zeros(5), templates=2)
    with pytest.raises(TooFewClusters):
        Bootstrap.over(sample, planted(np.random.default_rng(0), np.zeros(12))).estimate(
            per_occupation_bias, sample
        )
    assert Bootstrap.over(enough).estimate(per_occupation_bias, enough).n == 20
