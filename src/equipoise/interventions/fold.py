"""Putting λ a into a norm's own weight for a while."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..models import LoadedModel, Norm
from .steering import steered_site
from .strength import Strength, strength_matrix
from .terms import Delta

FOLDED: WeakSet[nn.Module] = WeakSet()


class FoldedNorm:
    """One norm whose output is scaled by (1 + λ a) through its own weight, exactly undone by :meth:`restore`.

    The weight becomes w (1 + λ a), or (1 + w)(1 + λ a) − 1 where it is stored as an offset from one. A norm with a
    bias takes the shift as well, c (1 + λ a) + λ b; for one without, the module's forward adds it.
    """

    def __init__(self, norm: Norm) -> None:
        self._norm = norm
        self._weight = _parameter(norm, norm.weight_name)
        self._bias = _parameter(norm, norm.bias_name) if norm.has_bias else None
        if self._weight.is_meta:
            raise InputError(
                f"{norm.site}: its weight is offloaded, so nothing can be folded in: attach without fold"
            )
        # On the CPU, as all arithmetic here: not every device has fp64.
        self._saved_weight = self._weight.detach().to("cpu", copy=True)
        self._saved_bias = None if self._bias is None else self._bias.detach().to("cpu", copy=True)
        self._shifted: _ShiftedForward | None = None
        FOLDED.add(norm.module)

    @torch.no_grad()
    def set(self, delta: Delta | None) -> None:
        """Fold λ a and λ b, fp64 on the CPU and for one row, in anew from the saved parameters; None for zero."""
        self.put_back()
        scale, shift = (None, None) if delta is None else (delta.scale, delta.shift)
        factor = None if scale is None or not bool(scale.any()) else 1 + scale[0]
        added = None if shift is None or not bool(shift.any()) else shift[0]
        if factor is not None:
            offset = float(self._norm.unit_offset)
            folded = (self._saved_weight.double() + offset) * factor - offset
            self._weight.copy_(folded.to(self._weight.dtype))
        if self._bias is not None and self._saved_bias is not None:
            if factor is not None or added is not None:
                bias = self._saved_bias.double()
                bias = bias if factor is None else bias * factor
                self._bias.copy_((bias if added is None else bias + added).to(self._bias.dtype))
        elif added is not None:
            shift = added.to(self._weight.dtype).to(self._weight.device)
            self._shifted = _ShiftedForward(self._norm.module, shift)

    @torch.no_grad()
    def put_back(self) -> None:
        """The saved parameters, bit for bit, and the module's own forward."""
        if self._shifted is not None:
            self._shifted.remove(self._norm.module)
            self._shifted = None
        self._weight.copy_(self._saved_weight)
        if self._bias is not None and self._saved_bias is not None:
            self._bias.copy_(self._saved_bias)

    def restore(self) -> None:
        """Put the saved parameters back and let others edit this norm again."""
        self.put_back()
        FOLDED.discard(self._norm.module)


class _ShiftedForward:
    """A norm's forward and then an addition. A hook for the same costs three times as much a decoded token."""

    def __init__(self, module: nn.Module, shift: Tensor) -> None:
        self._inner = module.forward
        self._own = "forward" in module.__dict__  # accelerate puts a forward of its own there
        self._shift: Tensor | None = shift
        module.forward = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        y = self._inner(*args, **kwargs)
        shift = self._shift
        if shift is None:
            return y
        if y.dtype is not shift.dtype or y.device != shift.device:
            self._shift = shift = shift.to(y)
        # A norm with a weight returns a tensor of its own, so without gradients it may be overwritten.
        return y + shift if torch.is_grad_enabled() else y.add_(shift)

    def remove(self, module: nn.Module) -> None:
        """Put the former forward back; if somebody wrapped this one meanwhile, only stop adding."""
        self._shift = None
        if module.__dict__.get("forward") is not self:
            return
        if self._own:
            module.forward = self._inner
        else:
            del module.__dict__["forward"]


def foldable(loaded: LoadedModel, name: str) -> Norm:
    """The norm of a site whose scale can be folded. Raises :class:`InputError` that says why it can't."""
    norm = next((norm for norm in loaded.anatomy.all_norms if norm.site == name), None)
    if norm is None:
        raise InputError(f"{name} is no norm's output, so nothing can be folded there: attach without fold")
    if norm.weight_name is None:
        raise InputError(
            f"{name}: the norm has no weight that an edit could be folded into: attach without fold"
        )
    weight = _parameter(norm, norm.weight_name)
    if sum(any(p is weight for p in m.parameters(recurse=False)) for m in loaded.model.modules()) > 1:
        raise InputError(f"{name}: another norm shares its weight (Zamba's blocks): attach without fold")
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
