"""The affine edit of one activation: ``y' = y + λ (a ⊙ y + U (Vᵀ y) + b)``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from ..errors import InputError

PARTS = ("scale", "shift", "u", "v")


@dataclass(frozen=True, eq=False)
class AffineEdit:
    """The delta ``a ⊙ y + U (Vᵀ y) + b`` that an intervention adds to one activation ``y`` of width d.

    Attributes:
        scale: ``a``, [d], or None for no scale.
        shift: ``b``, [d], or None for no shift.
        u, v: ``U`` and ``V``, both [d, r], or both None for no low-rank part.

    Tensors are detached and kept as contiguous fp32 on the CPU, whatever device and type they came in. An edit with
    no part at all, a wrong shape, a type that is not real, or a value that is not finite is an :class:`InputError`.
    """

    scale: Tensor | None = None
    shift: Tensor | None = None
    u: Tensor | None = None
    v: Tensor | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                object.__setattr__(self, field.name, _checked(field.name, value))
        if (self.u is None) != (self.v is None):
            raise InputError("a low-rank edit needs both u and v, each [width, rank]: one of them is missing")
        if self.u is not None and self.v is not None and self.u.shape != self.v.shape:
            raise InputError(
                f"u is {tuple(self.u.shape)} and v is {tuple(self.v.shape)}: both must be [width, rank], alike"
            )
        widths = {tensor.shape[0] for _, tensor in self.parts()}
        if not widths:
            raise InputError("an edit needs at least one of scale, shift, or u with v")
        if len(widths) > 1:
            raise InputError(
                f"the parts of one edit have different widths {sorted(widths)}: give them one width"
            )

    @property
    def width(self) -> int:
        """d, the width of the activation that it edits."""
        return next(self.parts())[1].shape[0]

    @property
    def rank(self) -> int:
        """r, the number of columns of ``U`` and ``V``; 0 without a low-rank part."""
        return 0 if self.u is None else self.u.shape[1]

    @property
    def size(self) -> int:
        """The number of entries in all parts, zeros included."""
        return sum(tensor.numel() for _, tensor in self.parts())

    @property
    def nonzero(self) -> int:
        """The number of entries that are not zero."""
        return sum(int(torch.count_nonzero(tensor)) for _, tensor in self.parts())

    def parts(self) -> Iterator[tuple[str, Tensor]]:
        """The parts that are there, as (name, tensor), in the order scale, shift, u, v."""
        for name in PARTS:
            tensor = getattr(self, name)
            if tensor is not None:
                yield name, tensor

    def apply(self, y: Tensor, strength: float = 1.0) -> Tensor:
        """``y + strength · (a ⊙ y + U (Vᵀ y) + b)``, computed in y's type on y's device.

        This is the definition; the engine that runs inside a model is tested against it.

        Args:
            y: activations [..., d].
            strength: λ; 0 returns ``y`` itself.
        """
        if y.shape[-1] != self.width:
            raise InputError(
                f"an edit of width {self.width} can't be applied to activations of width {y.shape[-1]}"
            )
        if strength == 0.0:
            return y
        delta = torch.zeros_like(y)
        if self.scale is not None:
            delta = delta + y * self.scale.to(y)
        if self.u is not None and self.v is not None:
            delta = delta + (y @ self.v.to(y)) @ self.u.to(y).T
        if self.shift is not None:
            delta = delta + self.shift.to(y)
        return y + strength * delta

    def __add__(self, other: AffineEdit) -> AffineEdit:
        """Both deltas, taken from the same ``y`` (in parallel, not one after the other)."""
        if not isinstance(other, AffineEdit):
            return NotImplemented
        if self.width != other.width:
            raise InputError(
                f"edits of widths {self.width} and {other.width} can't be added: they edit other sites"
            )
        return AffineEdit(
            plus(self.scale, other.scale),
            plus(self.shift, other.shift),
            _concatenate(self.u, other.u),
            _concatenate(self.v, other.v),
        )

    def __mul__(self, factor: float) -> AffineEdit:
        """The delta times ``factor``: scale, shift and u are multiplied."""
        if not isinstance(factor, (int, float)):
            return NotImplemented
        if not math.isfinite(factor):
            raise InputError(f"an edit can't be multiplied by {factor}: give a finite number")
        return replace(self, **{name: tensor * factor for name, tensor in self.parts() if name != "v"})

    __rmul__ = __mul__


def _checked(name: str, value: Tensor) -> Tensor:
    if not isinstance(value, Tensor):
        raise InputError(f"{name} must be a tensor, not {type(value).__name__}")
    if value.is_complex():
        raise InputError(f"{name} must be real, not {value.dtype}")
    wanted = 1 if name in ("scale", "shift") else 2
    if value.dim() != wanted or 0 in value.shape:
        shape = "[width]" if wanted == 1 else "[width, rank]"
        raise InputError(f"{name} has shape {list(value.shape)}: it must be {shape}, not empty")
    # Cloned, so that a frozen edit doesn't change when the caller trains the tensor on.
    tensor = value.detach().to("cpu", torch.float32).clone(memory_format=torch.contiguous_format)
    if not bool(torch.isfinite(tensor).all()):
        raise InputError(f"{name} has values that are not finite (NaN or infinite): fit it again")
    return tensor


def plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """a + b, where None is zero."""
    if a is None or b is None:
        return b if a is None else a
    return a + b


def total(parts: Iterable[Tensor | None]) -> Tensor | None:
    """The sum in order, where None is zero."""
    result: Tensor | None = None
    for part in parts:
        result = plus(result, part)
    return result


def _concatenate(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return torch.cat((a, b), dim=1)
