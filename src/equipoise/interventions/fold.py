"""Putting λ a into a norm's own weight for a while."""

from __future__ import annotations

from weakref import WeakSet

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..models import LoadedModel, Norm
from .steering import steered_site
from .strength import Strength, strength_matrix

FOLDED: WeakSet[nn.Module] = WeakSet()


class FoldedNorm:
    """One norm whose output is scaled by (1 + λ a) through its own weight, exactly undone by :meth:`restore`.

    The weight becomes w (1 + λ a), or (1 + w)(1 + λ a) − 1 where it is stored as an offset from one; a norm with a
    bias takes the shift as well, c (1 + λ a) + λ b, and then needs no hook.
    """

    def __init__(self, norm: Norm) -> None:
        self._norm = norm
        self._weight = _parameter(norm, norm.weight_name)
        self._bias = _parameter(norm, norm.bias_name) if norm.has_bias else None
        if self._weight.is_meta:
            raise InputError(
                f"{norm.site}: its weight is offloaded, so nothing can be folded in: attach without fold"
            )
        self._saved_weight = self._weight.detach().clone()
        self._saved_bias = None if self._bias is None else self._bias.detach().clone()
        FOLDED.add(norm.module)

    @property
    def takes_shift(self) -> bool:
        """Whether the module has a bias, so that the shift needs no hook."""
        return self._bias is not None

    @torch.no_grad()
    def set(self, scale: Tensor | None, shift: Tensor | None) -> None:
        """Fold λ a and λ b, fp64 [d] (or None for zero), in anew from the saved parameters."""
        self.put_back()
        offset = float(self._norm.unit_offset)
        if scale is not None and bool(scale.any()):
            factor = 1 + scale.to(self._weight.device)
            weight = (self._saved_weight.double() + offset) * factor - offset
            self._weight.copy_(weight)
        if self._bias is None or self._saved_bias is None:
            return
        bias = self._saved_bias.double()
        if scale is not None:
            bias = bias * (1 + scale.to(bias.device))
        if shift is not None:
            bias = bias + shift.to(bias.device)
        self._bias.copy_(bias)

    @torch.no_grad()
    def put_back(self) -> None:
        """The saved parameters, bit for bit."""
        self._weight.copy_(self._saved_weight)
        if self._bias is not None and self._saved_bias is not None:
            self._bias.copy_(self._saved_bias)

    def restore(self) -> None:
        """Put the saved parameters back and let others edit this norm again."""
        self.put_back()
        FOLDED.discard(self._norm.module)


def foldable(loaded: LoadedModel, name: str) -> Norm:
    """The norm of a site whose scale can be folded. Raises :class:`InputError` that says why it can't."""
    anatomy = loaded.anatomy
    norms = [*anatomy.norms, *([anatomy.final_norm] if anatomy.final_norm is not None else [])]
    for norm in norms:
        if norm.site == name:
            break
    else:
        raise InputError(f"{name} is no norm's output, so nothing can be folded there: attach without fold")
    if norm.weight_name is None:
        raise InputError(
            f"{name}: the norm has no weight that an edit could be folded into: attach without fold"
        )
    steered = steered_site(loaded.anatomy.site(name))
    if norm.module in FOLDED or steered is not None:
        raise InputError(
            f"{name} is edited by another attachment, and a folded edit can't be parallel to it: detach that one, "
            "or attach both without fold"
        )
    return norm


def uniform_matrix(value: Strength, interventions: int) -> Tensor:
    """A strength matrix with one row; :class:`InputError` for per-row strengths, which weights can't hold."""
    matrix = strength_matrix(value, interventions)
    if matrix.shape[0] != 1:
        raise InputError(
            "a folded intervention has one strength for all rows: attach without fold for per-row ones"
        )
    return matrix


def _parameter(norm: Norm, name: str | None) -> Tensor:
    assert name is not None
    parameter = getattr(norm.module, name)
    assert isinstance(parameter, Tensor)
    return parameter
