"""The convex solvers against dense NumPy, optimality conditions, and the settings around them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.methods.dso.subproblem import (
    Lasso,
    Subproblem,
    soft_threshold,
    solve_ridge,
    solve_sparse,
    sparse_mean,
)


def random_problem(seed: int, rows: int = 8, size: int = 40) -> Subproblem:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Subproblem(draw(rows, size), draw(rows), 0.2 + draw(size).exp(), 0.3 * draw(size))


def gradient(problem: Subproblem, x: torch.Tensor) -> torch.Tensor:
    """Of the smooth part."""
    return problem.rows.T @ (problem.rows @ x - problem.targets) + problem.metric * (x - problem.centre)


SEEDS = st.integers(0, 2**31)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.one_of(st.integers(1, 12), st.integers(150, 450)))
def test_ridge_is_the_dense_solution(seed: int, rows: int) -> None:
    problem = random_problem(seed, rows)
    r, c, d, m = (t.numpy() for t in (problem.rows, problem.targets, problem.metric, problem.centre))
    dense = np.linalg.solve(r.T @ r + np.diag(d), r.T @ c + d * m)
    np.testing.assert_allclose(solve_ridge(problem).numpy(), dense, rtol=1e-7, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.floats(0.05, 3.0))
def test_lasso_meets_the_optimality_conditions(seed: int, l1: float) -> None:
    problem = random_problem(seed)
    x = Lasso(problem).solve(l1, iterations=4000)
    slope = gradient(problem, x)
    there = x != 0
    torch.testing.assert_close(slope[there], -l1 * x[there].sign(), rtol=0, atol=1e-4)
    assert (slope[~there].abs() <= l1 + 1e-4).all()


def test_lasso_has_exact_zeros_and_none_without_a_penalty() -> None:
    problem = random_problem(0)
    assert 0 < int((Lasso(problem).solve(0.5) == 0).sum()) < 40
    assert (Lasso(problem).solve(1e6) == 0).all()
    free = Lasso(problem).solve(0.0, iterations=2000)
    torch.testing.assert_close(free, solve_ridge(problem), rtol=1e-5, atol=1e-6)


def test_lasso_does_not_depend_on_its_start() -> None:
    problem = random_problem(1)
    cold = Lasso(problem).solve(0.3, iterations=4000)
    warm = Lasso(problem).solve(0.3, iterations=4000, start=solve_ridge(problem))
    torch.testing.assert_close(cold, warm, rtol=0, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.01, 1.0))
def test_sparse_keeps_to_its_density_and_is_best_on_its_support(seed: int, density: float) -> None:
    problem = random_problem(seed)
    x = solve_sparse(problem, density)
    there = x != 0
    assert int(there.sum()) <= int(density * len(x))
    torch.testing.assert_close(gradient(problem, x)[there], torch.zeros_like(x[there]), rtol=0, atol=1e-7)


def test_the_mean_of_sparse_states_is_as_sparse_as_they_are() -> None:
    one, other, metric = torch.zeros(40), torch.zeros(40), torch.ones(40)
    one[:4], other[4:8] = torch.tensor([8.0, 6.0, 1.0, 1.0]), torch.tensor([4.0, 2.0, 1.0, 1.0])
    assert int(((one + other) != 0).sum()) == 8  # the plain mean's support is that of both
    found = sparse_mean(one, other, metric, 0.1)
    assert found.nonzero()[:, 0].tolist() == [0, 1, 4, 5]
    torch.testing.assert_close(sparse_mean(one, other, metric, 1.0), (one + other) / 2)


def test_full_density_is_ridge() -> None:
    problem = random_problem(2)
    assert torch.equal(solve_sparse(problem, 1.0), solve_ridge(problem))


def test_sparse_finds_a_planted_support() -> None:
    planted = torch.zeros(40, dtype=torch.float64)
    planted[[3, 17, 29]] = torch.tensor([2.0, -3.0, 1.5], dtype=torch.float64)
    rows = torch.randn(20, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    metric = torch.full((40,), 1e-3, dtype=torch.float64)
    problem = Subproblem(rows, rows @ planted, metric, torch.zeros(40, dtype=torch.float64))
    found = solve_sparse(problem, 3 / 40)
    torch.testing.assert_close(found, planted, rtol=1e-2, atol=1e-2)


@given(st.floats(-5, 5), st.floats(0, 3))
def test_soft_threshold_is_the_proximal_step(x: float, threshold: float) -> None:
    at = torch.tensor([x], dtype=torch.float64)
    found = float(soft_threshold(at, threshold))
    grid = np.linspace(-6, 6, 2401)
    cost = 0.5 * (grid - x) ** 2 + threshold * np.abs(grid)
    assert 0.5 * (found - x) ** 2 + threshold * abs(found) <= cost.min() + 1e-9
    assert found == 0 or abs(x) > threshold


def test_random_problems_do_not_solve_themselves() -> None:
    problem = random_problem(0)
    assert gradient(problem, problem.centre).abs().max() == pytest.approx(
        float((problem.rows.T @ (problem.rows @ problem.centre - problem.targets)).abs().max())
    )
    assert gradient(problem, problem.centre).abs().max() > 0.1
