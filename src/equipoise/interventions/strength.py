"""Strength λ as a matrix [rows, interventions]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import InputError

Strength = float | Sequence[float] | Sequence[Sequence[float]] | Tensor


def strength_matrix(value: Strength, interventions: int) -> Tensor:
    """λ as an fp64 CPU tensor [rows, interventions]; one row means "the same for every row of the batch".

    Args:
        value: a number (every row, every intervention); [rows] (a row's λ for all interventions); or
            [rows, interventions].
        interventions: how many interventions are steered.

    Raises InputError if it is no number, not finite, or of another shape.
    """
    try:
        matrix = torch.as_tensor(value).detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"a strength must be a number, a list of rows or a matrix, not {value!r}") from None
    if matrix.dim() == 0:
        matrix = matrix.expand(1, interventions)
    elif matrix.dim() == 1:
        matrix = matrix[:, None].expand(-1, interventions)
    if matrix.dim() != 2 or matrix.shape[0] == 0 or matrix.shape[1] != interventions:
        raise InputError(
            f"strengths have shape {list(matrix.shape)}: give a number, one per row, "
            f"or a matrix [rows, {interventions}]"
        )
    if not bool(torch.isfinite(matrix).all()):
        raise InputError(f"a strength must be finite, not {value!r}")
    return matrix.clone()


def spread(values: Tensor, rows: int, what: str) -> Tensor:
    """One entry per given row -> one per row of the batch, [given, …] -> [rows, …].

    One entry serves all rows. When the batch has k times as many rows as were given (beams, several answers to a
    prompt), entry r serves rows r·k … r·k + k − 1, as ``generate`` expands a batch. Otherwise InputError.
    """
    given = values.shape[0]
    if given == rows:
        return values
    if rows % given:
        raise InputError(
            f"{given} {what} were given and the batch has {rows} rows: give one, or one per row "
            "(a batch expanded k times, as by beam search, is matched by itself)"
        )
    return values.repeat_interleave(rows // given, dim=0)
