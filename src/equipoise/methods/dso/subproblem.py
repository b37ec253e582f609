"""The convex problem of one step: linear residuals, a quadratic price on KL, and ℓ1 with exact zeros."""

from dataclasses import dataclass

import torch
from torch import Tensor

_ROUNDS = 6
_ITERATIONS = 12
_CANDIDATES = 2.5
# Where that is few, more cost nothing.
_MORE, _FEW = 4, 8192
# Rows of the Gram matrix at a time: enough to multiply fast, few enough to save nearly half.
_BLOCK = 192


@dataclass(frozen=True, eq=False)
class Subproblem:
    """minimise ½‖R x − c‖² + ½ (x − m)ᵀ diag(d) (x − m) over x [P].

    Attributes:
        rows: R [n, P]; n is far below P.
        targets: c [n].
        metric: d [P], positive.
        centre: m [P].
    """

    rows: Tensor
    targets: Tensor
    metric: Tensor
    centre: Tensor

    def on(self, support: Tensor) -> "Subproblem":
        """The same problem with every entry outside ``support`` (indices) held at zero."""
        return Subproblem(self.rows[:, support], self.targets, self.metric[support], self.centre[support])


def solve_ridge(problem: Subproblem) -> Tensor:
    """The exact minimiser, by the n × n dual: x = m + D⁻¹Rᵀ (R D⁻¹ Rᵀ + I)⁻¹ (c − R m)."""
    weighted = problem.rows / problem.metric
    gram = _gram(weighted, problem.rows)
    gram.diagonal().add_(1.0)
    residual = problem.targets - problem.rows @ problem.centre
    multipliers: Tensor = torch.linalg.solve(gram, residual)
    return problem.centre + weighted.T @ multipliers


class Lasso:
    """The problem + l1 ‖x‖₁ by ADMM, whose second half is the proximal step: zeros are exact zeros.

    The penalty of the splitting is the problem's own metric, so one factorisation serves all iterations and any l1.
    """

    def __init__(self, problem: Subproblem) -> None:
        self._problem = problem
        self._weighted = problem.rows / (2 * problem.metric)
        gram = _gram(self._weighted, problem.rows)
        gram.diagonal().add_(1.0)
        self._factor = torch.linalg.cholesky(gram)

    def solve(self, l1: float, *, iterations: int = 200, start: Tensor | None = None) -> Tensor:
        """The minimiser [P], from ``start`` (by default the problem's centre)."""
        problem = self._problem
        sparse = problem.centre.clone() if start is None else start.clone()
        dual = torch.zeros_like(sparse)
        for _ in range(iterations):
            centre = (problem.centre + sparse - dual) / 2
            residual = (problem.targets - problem.rows @ centre)[:, None]
            dense = centre + self._weighted.T @ torch.cholesky_solve(residual, self._factor)[:, 0]
            sparse = soft_threshold(dense + dual, l1 / problem.metric)
            dual = dual + dense - sparse
        return sparse


def solve_sparse(problem: Subproblem, density: float) -> Tensor:
    """The minimiser on a support of at most ``density`` · P entries.

    The ℓ1 path is followed, from a weak penalty to a stronger one, until its proximal step leaves few enough entries;
    on these the problem is solved again without the penalty, which chose them but would also shrink them.
    """
    x = solve_ridge(problem)
    allowed = int(density * len(x))
    if density >= 1 or int((x != 0).sum()) <= allowed:
        return x
    if not allowed:
        return torch.zeros_like(x)
    # The path leaves a few times too many entries to choose from; the others can't be among the strongest.
    near = _largest(
        x, problem.metric, min(len(x), max(min(_FEW, _MORE * allowed), int(_CANDIDATES * allowed)))
    )
    chosen = problem.on(near)
    x = x[near]
    l1, lasso = _first_penalty(chosen, x, allowed), Lasso(chosen)
    for _ in range(_ROUNDS):
        x = lasso.solve(l1, iterations=_ITERATIONS, start=x)
        if int((x != 0).sum()) <= allowed:
            break
        l1 *= 1.6
    kept = near[_largest(x, chosen.metric, allowed)]
    solved = torch.zeros_like(problem.centre)
    solved[kept] = solve_ridge(problem.on(kept))
    return solved


def sparse_mean(one: Tensor, other: Tensor, metric: Tensor, density: float) -> Tensor:
    """The mean of two vectors [P], zero but in the at most ``density`` · P entries that matter most to KL."""
    mean = (one + other) / 2
    kept = _largest(mean, metric, int(density * len(mean)))
    found = torch.zeros_like(mean)
    found[kept] = mean[kept]
    return found


def soft_threshold(x: Tensor, threshold: Tensor | float) -> Tensor:
    """The proximal operator of ℓ1: sign(x) · max(|x| − threshold, 0)."""
    return x.sign() * (x.abs() - threshold).clamp(min=0)


def _gram(weighted: Tensor, rows: Tensor) -> Tensor:
    """``weighted @ rows.T`` [n, n], which is symmetric: of the blocks above the diagonal none is multiplied out."""
    gram = rows.new_empty(len(rows), len(rows))
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        gram[block, : start + _BLOCK] = weighted[block] @ rows[: start + _BLOCK].T
        gram[:start, block] = gram[block, :start].T
    return gram


def _first_penalty(problem: Subproblem, x: Tensor, allowed: int) -> float:
    pull = (x.abs() * problem.metric).sort(descending=True).values
    return float(pull[min(allowed, len(x) - 1)]) * 0.5


def _largest(x: Tensor, metric: Tensor, allowed: int) -> Tensor:
    """Indices, ascending, of the non-zero entries that matter most to KL; at most ``allowed``."""
    importance = x.abs() * metric.sqrt()
    order = importance.argsort(descending=True, stable=True)[:allowed]
    return order[importance[order] > 0].sort().values
