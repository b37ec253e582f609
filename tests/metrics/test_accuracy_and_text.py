"""Accuracy beside trivial baselines; perplexity, its ratio and KL over paragraphs."""

import numpy as np
import pytest

from equipoise.metrics import (
    Bootstrap,
    Judgements,
    Texts,
    accuracy,
    best_baseline,
    kl_to_base,
    perplexity,
)


def judged(correct, later):
    groups = [(f"o{i % 6}",) for i in range(len(correct))]
    return Judgements(
        correct, groups, [f"t{i // 6 % 4}" for i in range(len(correct))], {"always the later": later}
    )


def test_accuracy_stands_beside_what_needs_no_understanding():
    generator = np.random.default_rng(0)
    later = generator.random(480) < 0.7
    answers = judged(later, later)
    assert accuracy(answers) == pytest.approx(later.mean())
    assert best_baseline([answers]) == "always the later"
    assert accuracy(answers.baseline("always the later")) == pytest.approx(later.mean())
    bootstrap = Bootstrap.over(answers)
    # A model that follows the baseline is no better than it, however high its accuracy looks.
    tie = bootstrap.difference(accuracy, answers, answers.baseline("always the later"))
    assert (tie.low, tie.value, tie.high) == (0, 0, 0)
    better = judged(later | (generator.random(480) < 0.5), later)
    assert bootstrap.difference(accuracy, better, better.baseline("always the later")).low > 0


def test_without_baselines_there_is_no_best_one():
    assert best_baseline([Judgements([1, 0], [("a",), ("b",)], ["s", "t"])]) is None
    assert best_baseline([]) is None


def test_the_best_baseline_is_right_most_often_over_all_seeds():
    def seed(**baselines):
        return Judgements([1, 0], [("a",), ("b",)], ["s", "t"], baselines)

    first, second = seed(this=[1, 1], that=[1, 0]), seed(this=[0, 0], that=[1, 0], only_here=[1, 1])
    assert best_baseline([first]) == "this"
    assert best_baseline([second]) == "only_here"
    second = seed(this=[0, 0], that=[1, 1], only_here=[1, 1])
    assert best_baseline([first, second]) == "that"


def test_accuracy_of_nothing_is_none():
    assert accuracy(Judgements([np.nan], [("a",)], ["t"])) is None
    assert accuracy(Judgements([np.nan, 1, 0], [("a",)] * 3, ["t"] * 3)) == 0.5


@pytest.mark.parametrize("wrong", [[2.0, 0.0], [1.0], [-1.0, 0.0]])
def test_judgements_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="always"):
        Judgements([1.0, 0.0], [("a",), ("b",)], ["s", "t"], {"always": wrong})


def tokens(seed, shift=0.0, paragraphs=40):
    generator = np.random.default_rng(seed)
    return [
        (3 + 0.5 * generator.standard_normal() + generator.standard_normal(n)) + shift
        for n in generator.integers(20, 200, paragraphs)
    ]


def test_perplexity_is_exp_of_the_mean_over_all_tokens():
    parts = tokens(0)
    assert perplexity(Texts.from_tokens(parts)) == pytest.approx(np.exp(np.concatenate(parts).mean()))
    uniform = Texts.from_tokens([np.full(7, np.log(50)), np.full(3, np.log(50))])
    assert perplexity(uniform) == pytest.approx(50)


def test_the_ratio_is_paired_over_paragraphs():
    base, steered = Texts.from_tokens(tokens(0)), Texts.from_tokens(tokens(0, shift=0.02))
    ratio = Bootstrap.over(base).estimate(perplexity, steered.relative_to(base))
    assert ratio.low == pytest.approx(ratio.high) == pytest.approx(np.exp(0.02))
    # The twin: each perplexity alone is uncertain by far more than they differ.
    alone = Bootstrap.over(base).estimate(perplexity, base)
    assert alone.high - alone.low > 1
    assert perplexity(steered) / perplexity(base) == pytest.approx(ratio.value)


def test_a_ratio_needs_the_same_paragraphs():
    base = Texts.from_tokens(tokens(0))
    with pytest.raises(ValueError, match="same paragraphs"):
        Texts.from_tokens(tokens(1)).relative_to(base)


def test_kl_is_a_mean_a_token_whose_interval_covers_the_truth():
    """KL of a paragraph's tokens scatters around the paragraph's own level, and levels around 0.04."""
    covered = 0
    for study in range(100):
        generator = np.random.default_rng(study)
        sums, counts = [], generator.integers(20, 200, 40)
        for n in counts:
            sums.append(n * generator.gamma(4, 0.01))
        texts = Texts(sums, counts)
        estimate = Bootstrap.over(texts, draws=300, seed=study).estimate(kl_to_base, texts)
        assert estimate.value == pytest.approx(np.sum(sums) / np.sum(counts))
        covered += estimate.low <= 0.04 <= estimate.high
    assert covered >= 88


def test_the_base_model_is_zero_nats_from_itself():
    texts = Texts(np.zeros(6), np.full(6, 10))
    estimate = Bootstrap.over(texts).estimate(kl_to_base, texts)
    assert (estimate.low, estimate.value, estimate.high) == (0, 0, 0)


def test_texts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="at least one token"):
        Texts([1.0, 2.0], [3, 0])
    with pytest.raises(ValueError, match="paragraphs"):
        Texts([1.0, 2.0], [3, 1], ["only one"])
