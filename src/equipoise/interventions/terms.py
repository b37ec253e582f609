"""What contributes to the delta at one site: fixed edits under a dial, or live tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .edit import AffineEdit, total
from .passes import TokenMap


class Dial:
    """The strengths [rows, interventions] of one handle, and what it says about rows and positions."""

    def __init__(self, matrix: Tensor, tokens: TokenMap) -> None:
        self.tokens = tokens
        self.turn(matrix)

    def turn(self, matrix: Tensor) -> None:
        """Set the strengths, fp64 [rows, interventions]."""
        self.matrix = matrix
        self.used: list[bool] = (matrix != 0).any(0).tolist()
        self._moved: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def on(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """The strengths on another device and in another type; moved once for all sites."""
        if (device, dtype) not in self._moved:
            self._moved[device, dtype] = self.matrix.to(dtype).to(device)
        return self._moved[device, dtype]


@dataclass(frozen=True, eq=False)
class Delta:
    """λ (a ⊙ y + U (Vᵀ y) + b) with λ multiplied in, for R given rows; parts that are absent or zero are None.

    ``scale`` and ``shift`` are [R, d] in at least fp32, ``weights`` [R, r], ``u`` and ``v`` [d, r] in the type of the
    activations.
    """

    tokens: TokenMap
    answer: bool
    scale: Tensor | None
    shift: Tensor | None
    weights: Tensor | None
    u: Tensor | None
    v: Tensor | None

    @cached_property
    def uniform(self) -> bool:
        """Whether it treats all rows and tokens alike."""
        given = next(t for t in (self.scale, self.shift, self.weights) if t is not None)
        return not self.answer and given.shape[0] == 1


class Term:
    """The edits of one handle at one site that share a token scope."""

    @torch.inference_mode(False)  # a later pass may need gradients
    def __init__(
        self, dial: Dial, columns: Sequence[int], edits: Sequence[AffineEdit], *, answer: bool
    ) -> None:
        self._dial = dial
        self._answer = answer
        self._columns = list(columns)
        self._scales = [edit.scale for edit in edits]
        self._shifts = [edit.shift for edit in edits]
        low = [(column, e.u, e.v) for column, e in zip(columns, edits, strict=True) if e.u is not None]
        self._ranks = [column for column, u, _ in low for _ in range(u.shape[1])]
        self._u = torch.cat([u for _, u, _ in low], 1) if low else None
        self._v = torch.cat([v for _, _, v in low if v is not None], 1) if low else None
        self._moved: dict[tuple[torch.device, torch.dtype], list[list[Tensor | None]]] = {}

    def delta(self, device: torch.device, dtype: torch.dtype) -> Delta | None:
        """Its delta at the present strengths, or None if it is nothing at all."""
        if not any(self._dial.used[column] for column in self._columns):
            return None
        wide = torch.promote_types(dtype, torch.float32)
        if (device, wide) not in self._moved:
            self._moved[device, wide] = [
                [None if t is None else t.to(device, wide) for t in group]
                for group in (self._scales, self._shifts, [self._u, self._v])
            ]
        scales, shifts, (u, v) = self._moved[device, wide]
        matrix = self._dial.on(device, wide)
        scale = _weighted(matrix, self._columns, scales)
        shift = _weighted(matrix, self._columns, shifts)
        if u is None or v is None:
            weights = None
        else:
            weights, u, v = matrix[:, self._ranks].to(dtype), u.to(dtype), v.to(dtype)
        if scale is None and shift is None and weights is None:
            return None
        return Delta(self._dial.tokens, self._answer, scale, shift, weights, u, v)


@dataclass(frozen=True, eq=False)
class LiveEdit:
    """Tensors that may require grad: ``y' = y + scale ⊙ y + shift``, each [d], or [B, 1, d] for per-row edits.

    They are read anew in every forward pass and neither copied nor detached, so an optimiser may change them in
    place. None stands for no scale, or no shift.
    """

    scale: Tensor | None = None
    shift: Tensor | None = None


def _weighted(matrix: Tensor, columns: list[int], tensors: list[Tensor | None]) -> Tensor | None:
    """Σ_k λ_k t_k over the present tensors, [R, d]; a fixed order, so that one row equals many rows bit for bit."""
    present = zip(columns, tensors, strict=True)
    return total(matrix[:, column, None] * tensor for column, tensor in present if tensor is not None)
