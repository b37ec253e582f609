"""Erasing a concept from activations by an affine map: LEACE's closed form, and the orthogonal projection.

Both send x to x − A (x − μ) with A = L R of low rank. Then no linear probe finds the concept in the data that the map
was fitted on, since every class has the same mean (Theorem 3.1 of arXiv 2306.03819).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..interventions import AffineEdit

# Relative to the largest one: below it a singular value is rounding.
_TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class Eraser:
    """x ↦ x − L R (x − μ), in fp64.

    Attributes:
        left: L, [d, r].
        right: R, [r, d]; R L is the identity, so the map is idempotent.
        mean: μ, [d], which stays where it is.
    """

    left: Tensor
    right: Tensor
    mean: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Erase from activations [..., d]."""
        return x - (x - self.mean) @ self.right.T @ self.left.T

    def edit(self) -> AffineEdit:
        """The same as an edit: U = −L, V = Rᵀ, b = L R μ."""
        return AffineEdit(shift=self.left @ (self.right @ self.mean), u=-self.left, v=self.right.T)


def cross_covariance(x: Tensor, labels: Tensor) -> Tensor:
    """Σ_xz [d, k] of activations [n, d] and one-hot labels from [n] integers; unbiased.

    Raises InputError if there are fewer than two classes.
    """
    classes = torch.unique(labels)
    if len(classes) < 2:
        raise InputError("a concept needs two classes at least: every example has the same label")
    z = (labels[:, None] == classes).double()
    crossed: Tensor = (x.double() - x.double().mean(0)).T @ (z - z.mean(0)) / (len(x) - 1)
    return crossed


def leace(x: Tensor, labels: Tensor, background: Tensor | None = None) -> Eraser:
    """LEACE: of all affine maps that leave no class mean apart, the one that moves x least in mean square.

    With W = Σ_xx^(−1/2) (a pseudo-inverse) and U an orthonormal basis of the columns of W Σ_xz, the map is
    x − W⁺ U Uᵀ W (x − μ) (Theorem 4.3; optimal in every quadratic norm at once).

    Args:
        x: labelled activations [n, d].
        labels: [n] integers.
        background: further activations [m, d] without labels, in the middle of which the edit is to be small: μ and
            Σ_xx are then those of both, and Σ_xz still of x alone. The classes' means become equal all the same.

    Raises InputError for one class alone, or activations that don't depend on the class.
    """
    return _erase(x, labels, background, whiten=True)


def orthogonal(x: Tensor, labels: Tensor, background: Tensor | None = None) -> Eraser:
    """The orthogonal projection off the differences of class means: as :func:`leace` with W the identity."""
    return _erase(x, labels, background, whiten=False)


def _erase(x: Tensor, labels: Tensor, background: Tensor | None, *, whiten: bool) -> Eraser:
    x = x.double()
    pooled = x if background is None else torch.cat([x, background.double()])
    mean = pooled.mean(0)
    crossed = cross_covariance(x, labels)
    if whiten:
        centred = pooled - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / max(1, len(pooled) - 1))
        kept = values > values[-1].clamp_min(0) * len(values) * torch.finfo(values.dtype).eps
        root = torch.where(kept, values.clamp_min(0), torch.ones_like(values)).sqrt()
        whitening = vectors * (kept / root) @ vectors.T
        unwhitening = vectors * (kept * root) @ vectors.T
    else:
        whitening = unwhitening = torch.eye(len(mean), dtype=x.dtype)
    # The columns that count are judged before whitening, in the units of x: afterwards rounding is blown up too.
    size = float(x.abs().amax())
    if not float(crossed.abs().amax()) > 1e-9 * max(size, 1e-30):
        raise InputError(
            "the classes' means don't differ here, so there is nothing to erase: choose another site"
        )
    u, s, _ = torch.linalg.svd(whitening @ crossed, full_matrices=False)
    u = u[:, s > _TOLERANCE * s[0]]
    return Eraser(unwhitening @ u, u.T @ whitening, mean)
