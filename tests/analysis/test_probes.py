"""Probes: nothing leaks between folds, noise is at chance, and what is planted is found where it was planted."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from equipoise.analysis import (
    ProbeSettings,
    best_site,
    cross_validate,
    fit_linear,
    group_folds,
    held_out,
    probe_site,
    shuffled,
)
from equipoise.errors import InputError

PLAIN = ProbeSettings(shuffles=0)


def noise(groups: int = 60, copies: int = 2, width: int = 40, seed: int = 0):  # type: ignore[no-untyped-def]
    """Pure noise, in which the statements of a group with one label are near copies of each other."""
    generator = np.random.default_rng(seed)
    x, biased, names = [], [], []
    for group in range(groups):
        for label in (True, False):
            centre = generator.normal(size=width)
            for _ in range(copies):
                x.append(centre + 0.05 * generator.normal(size=width))
                biased.append(label)
                names.append(f"g{group}")
    return np.array(x), np.array(biased), names


def test_noise_with_copies_is_at_chance_only_because_groups_stay_together() -> None:
    right, wrong = [], []
    loose = ProbeSettings(penalty=1.0, shuffles=0)
    for seed in range(6):
        x, biased, groups = noise(width=300, seed=seed)
        for names, into in ((groups, right), ([str(i) for i in range(len(x))], wrong)):
            logits = cross_validate(x, biased, group_folds(names, 5, seed), loose)
            into.append(((logits > 0) == biased).mean())
    assert abs(np.mean(right) - 0.5) < 0.06
    # The twin: single statements dealt to folds find their own copies.
    assert np.mean(wrong) > 0.75


def test_a_fold_never_sees_what_it_judges_in_any_step() -> None:
    x, biased, groups = noise(copies=1)
    folds = group_folds(groups, 5, 0)
    row = int(np.flatnonzero(folds == 2)[0])
    moved = x.copy()
    moved[row] *= 1e4  # would change mean, spread and components of whatever looks at it
    rest = (folds == 2) & (np.arange(len(x)) != row)
    before, after = (cross_validate(one, biased, folds, PLAIN)[rest] for one in (x, moved))
    assert np.array_equal(before, after)
    # The twin: scaler and components fitted before the split are moved by it.
    leaked = []
    for one in (x, moved):
        z = PCA(20).fit_transform(StandardScaler().fit_transform(one))
        model = LogisticRegression().fit(z[folds != 2], biased[folds != 2])
        leaked.append(model.decision_function(z[rest]))
    assert not np.allclose(leaked[0], leaked[1], atol=1e-2)


@pytest.mark.parametrize(("components", "width"), [(10, 40), (200, 40), (10, 300), (200, 300)])
def test_the_folded_vector_is_sklearns_pipeline(components: int, width: int) -> None:
    x, biased, _ = noise(copies=1, width=width)
    x = 3 * x * np.linspace(0.1, 9, width) + 5
    settings = ProbeSettings(components=components, penalty=7.0)
    keep = min(components, width, len(x) - 1)
    pipeline = make_pipeline(
        StandardScaler(), PCA(keep, svd_solver="full"), LogisticRegression(C=1 / 7, tol=1e-8, max_iter=5000)
    ).fit(x, biased)
    fresh = np.random.default_rng(1).normal(size=(9, width)) * 5
    np.testing.assert_allclose(
        fit_linear(x, biased, settings).logits(fresh), pipeline.decision_function(fresh), rtol=1e-3, atol=1e-3
    )


def test_a_constant_feature_says_nothing() -> None:
    x, biased, _ = noise(copies=1)
    x[:, 3] = 17.0
    assert fit_linear(x, biased, PLAIN).weight[3] == 0


def test_a_planted_direction_is_found_at_the_planted_layer_and_shuffled_labels_are_at_chance() -> None:
    x, biased, groups = noise(copies=1)
    direction = np.random.default_rng(3).normal(size=x.shape[1])
    sites = {f"block.{i}.out": noise(copies=1, seed=i + 10)[0] for i in range(6)}
    sites["block.4.out"] = sites["block.4.out"] + 0.6 * np.outer(2.0 * biased - 1, direction)
    found = [probe_site(name, one, biased, groups, ProbeSettings()) for name, one in sites.items()]
    best = best_site(found)
    assert best.site == "block.4.out"
    assert best.accuracy.low > 0.8
    assert best.above_control is not None and best.above_control.low > 0.2
    for one in found:
        assert one.control is not None and abs(one.control.value - 0.5) < 0.12
        assert one.site == best.site or one.accuracy.low < 0.6


def test_equally_accurate_sites_are_told_apart_by_their_loss() -> None:
    _, biased, groups = noise(copies=1)
    signal = np.outer(2.0 * biased - 1, np.ones(3))
    jitter = np.random.default_rng(0).normal(size=signal.shape)
    clear = probe_site("clear", signal + 0.01 * jitter, biased, groups, PLAIN)
    vague = probe_site("vague", signal + 0.3 * jitter, biased, groups, PLAIN)
    assert clear.accuracy.value == vague.accuracy.value == 1
    assert best_site([vague, clear]).site == "clear"
    # All right is no proof: the interval keeps what this many groups can't exclude.
    assert clear.accuracy.low < 1


def test_folds_and_the_held_out_part_keep_groups_whole() -> None:
    _, biased, groups = noise(groups=23)
    folds, out = group_folds(groups, 5, 4), held_out(groups, 0.25, 4)
    for name in set(groups):
        rows = [i for i, group in enumerate(groups) if group == name]
        assert len(set(folds[rows])) == 1 and len(set(out[rows])) == 1
        assert sorted(shuffled(biased, groups, 1)[rows]) == sorted(biased[rows])
    sizes = np.bincount(folds) / 4
    assert sizes.max() - sizes.min() <= 1
    assert out.sum() == 4 * 6
    assert not np.array_equal(shuffled(biased, groups, 1), biased)
    assert np.array_equal(group_folds(groups, 5, 4), folds)
    assert not np.array_equal(group_folds(groups, 5, 5), folds)


def test_what_cannot_be_probed() -> None:
    x, biased, groups = noise(groups=4)
    with pytest.raises(InputError, match="4 groups can't be cut into 5 folds"):
        group_folds(groups, 5, 0)
    with pytest.raises(InputError, match="biased and neutral"):
        fit_linear(x, np.ones(len(x), dtype=bool), PLAIN)
    with pytest.raises(InputError, match="not finite"):
        fit_linear(np.where(x > 2, np.nan, x), biased, PLAIN)
    with pytest.raises(InputError, match="no site"):
        best_site([])
    with pytest.raises(InputError, match="folds is 1"):
        ProbeSettings(folds=1)
    with pytest.raises(InputError, match="penalty"):
        ProbeSettings(penalty=0)
