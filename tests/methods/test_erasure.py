"""LEACE against its theorems, and against the package of its authors where that is right; the orthogonal projection."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from equipoise.errors import InputError
from equipoise.methods.erasure import Eraser, cross_covariance, leace, orthogonal

N, D = 600, 12


def data(classes: int = 2, seed: int = 0, n: int = N) -> tuple[Tensor, Tensor]:
    """Correlated features of very different sizes, whose means depend on the class."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    mixing = torch.randn(D, D, generator=draw, dtype=torch.float64) * torch.logspace(
        -1, 1, D, dtype=torch.float64
    )
    means = torch.randn(classes, D, generator=draw, dtype=torch.float64) @ mixing
    return torch.randn(n, D, generator=draw, dtype=torch.float64) @ mixing + means[labels] + 3.0, labels


def class_means(x: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([x[labels == k].mean(0) for k in labels.unique()])


def accuracy(x: Tensor, labels: Tensor) -> float:
    scaled = (x - x.mean(0)) / x.std(0).clamp_min(1e-12)
    probe = LogisticRegression(C=1e6, max_iter=2000).fit(scaled.numpy(), labels.numpy())
    return float(probe.score(scaled.numpy(), labels.numpy()))


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("make", [leace, orthogonal])
def test_no_class_mean_is_left_apart(make: Callable[..., Eraser], classes: int) -> None:
    x, labels = data(classes)
    erased = make(x, labels)(x)
    means = class_means(erased, labels)
    torch.testing.assert_close(means, means.mean(0).expand_as(means), rtol=1e-9, atol=1e-9)
    # The twin: they were apart, and a probe found the class.
    before = class_means(x, labels)
    assert (before - before.mean(0)).norm() > 1
    assert accuracy(x, labels) > 1 / classes + 0.2


@pytest.mark.parametrize("make", [leace, orthogonal])
def test_a_logistic_probe_is_at_chance(make: Callable[..., Eraser]) -> None:
    x, labels = data()
    erased = make(x, labels)(x)
    assert accuracy(erased, labels) == pytest.approx(0.5, abs=0.01)
    assert accuracy(x, labels) > 0.8


@pytest.mark.parametrize("make", [leace, orthogonal])
def test_idempotent_and_the_mean_stays(make: Callable[..., Eraser]) -> None:
    x, labels = data(3)
    eraser = make(x, labels)
    erased = eraser(x)
    torch.testing.assert_close(eraser(erased), erased, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(erased.mean(0), x.mean(0), rtol=1e-9, atol=1e-9)
    assert (erased - x).norm() > 1


def test_of_all_guarding_maps_it_moves_least() -> None:
    x, labels = data()
    best = leace(x, labels)
    moved = (best(x) - x).square().sum()
    crossed = cross_covariance(x, labels)
    assert moved < (orthogonal(x, labels)(x) - x).square().sum()
    # Every map x − L R (x − μ) with R in place of LEACE's is guarding too if R L = 1 and L spans Σ_xz's columns.
    draw = torch.Generator().manual_seed(1)
    left = crossed[:, :1] / crossed[:, :1].norm()
    for _ in range(20):
        right = best.right + 0.1 * torch.randn(1, D, generator=draw, dtype=torch.float64) * best.right.norm()
        right = right / (right @ left)
        other = Eraser(left, right, x.mean(0))
        means = class_means(other(x), labels)
        torch.testing.assert_close(means[0], means[1], rtol=1e-7, atol=1e-7)
        assert (other(x) - x).square().sum() > moved


def test_it_is_the_papers_least_squares_solution() -> None:
    """The optimum of min E‖Px − x‖² with P Σ_xz = 0, from the normal equations of that problem alone."""
    x, labels = data(3)
    centred = x - x.mean(0)
    sigma = centred.T @ centred / (N - 1)
    crossed = cross_covariance(x, labels)
    # min tr((P − I) Σ (P − I)ᵀ) with P C = 0: P = I − C (Cᵀ Σ⁻¹ C)⁺ Cᵀ Σ⁻¹.
    inverse = torch.linalg.inv(sigma)
    wanted = (
        torch.eye(D, dtype=torch.float64)
        - crossed @ torch.linalg.pinv(crossed.T @ inverse @ crossed, rtol=1e-9) @ crossed.T @ inverse
    )
    eraser = leace(x, labels)
    found = torch.eye(D, dtype=torch.float64) - eraser.left @ eraser.right
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-8)


def test_background_is_spared_and_the_classes_still_become_equal() -> None:
    x, labels = data()
    draw = torch.Generator().manual_seed(5)
    around = (
        20
        * torch.randn(4000, D, generator=draw, dtype=torch.float64)
        @ torch.diag(torch.logspace(-1, 1, D, dtype=torch.float64))
    )
    with_it, without = leace(x, labels, around), leace(x, labels)
    means = class_means(with_it(x), labels)
    torch.testing.assert_close(means[0], means[1], rtol=1e-8, atol=1e-8)
    moved = [(one(around) - around).square().sum() for one in (with_it, without)]
    assert moved[0] < 0.9 * moved[1]


def test_directions_without_variance_are_left_alone() -> None:
    x, labels = data()
    flat = torch.cat([x, torch.ones(N, 3, dtype=torch.float64)], 1)
    eraser = leace(flat, labels)
    erased = eraser(flat)
    torch.testing.assert_close(erased[:, D:], flat[:, D:], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(erased[:, :D], leace(x, labels)(x), rtol=1e-6, atol=1e-6)


def test_the_edit_is_the_map() -> None:
    x, labels = data(3)
    eraser = leace(x, labels)
    edit = eraser.edit()
    torch.testing.assert_close(edit.apply(x.float()), eraser(x).float(), rtol=1e-4, atol=1e-3)
    assert edit.rank == 2
    # At half strength it is half way.
    half = edit.apply(x.float(), 0.5)
    torch.testing.assert_close(half, (x + eraser(x)).float() / 2, rtol=1e-4, atol=1e-3)


def packages(x: Tensor, labels: Tensor, **more: Any) -> NDArray[np.float64]:
    package = pytest.importorskip("concept_erasure")
    onehot = torch.nn.functional.one_hot(labels).double()
    return package.LeaceFitter.fit(x, onehot, svd_tol=1e-6, **more).eraser


@pytest.mark.parametrize("classes", [2, 3])
def test_like_the_authors_package(classes: int) -> None:
    x, labels = data(classes)
    theirs = packages(x, labels, shrinkage=False, constrain_cov_trace=False)
    torch.testing.assert_close(leace(x, labels)(x), theirs(x), rtol=1e-8, atol=1e-8)
    plain = packages(x, labels, shrinkage=False, constrain_cov_trace=False, method="orth")
    torch.testing.assert_close(orthogonal(x, labels)(x), plain(x), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_variance_never_grows(classes: int) -> None:
    """PΣPᵀ = Σ − C (Cᵀ Σ⁻¹ C)⁺ Cᵀ, so that the package's constraint on the trace has nothing to do."""
    x, labels = data(classes)
    assert leace(x, labels)(x).var(0).sum() < x.var(0).sum()


@pytest.mark.parametrize("make", [leace, orthogonal])
def test_nothing_to_erase_is_refused(make: Callable[..., Eraser]) -> None:
    x, _ = data()
    with pytest.raises(InputError, match="two classes"):
        make(x, torch.zeros(N, dtype=torch.long))
    with pytest.raises(InputError, match="nothing to erase"):
        make(torch.cat([x, x]), torch.arange(2 * N) // N)
