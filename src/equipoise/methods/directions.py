"""The mathematics of contrastive vectors, on activations alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import InputError


def mean_direction(positive: Tensor, negative: Tensor, what: str = "the two sets") -> Tensor:
    """(mean(positive) − mean(negative)) / ‖·‖: the unit vector from one class's mean to the other's.

    Args:
        positive, negative: activations [n, d] and [m, d]; n and m may differ.
        what: names the place in messages.

    Raises :class:`InputError` if a set is empty, a value is not finite, or both means are the same.
    """
    if not len(positive) or not len(negative):
        raise InputError(f"{what}: a direction needs at least one example of each side")
    positive, negative = positive.double(), negative.double()
    difference = positive.mean(0) - negative.mean(0)
    length = float(difference.norm())
    if not length < float("inf"):
        raise InputError(f"{what}: activations are not finite (NaN or infinite): load the model as float32")
    # What rounding alone leaves of equal means is no direction.
    size = float(torch.maximum(positive.abs().amax(), negative.abs().amax()))
    if not length > 1e-6 * size:
        raise InputError(
            f"{what}: both sides have the same mean activation, so there is no direction between them: "
            "give texts that differ, or another site"
        )
    return (difference / length).float()


def mean_directions(states: Mapping[str, tuple[Tensor, Tensor]], sites: Sequence[str]) -> dict[str, Tensor]:
    """:func:`mean_direction` at each of ``sites`` that has one, from its two sets of activations.

    Raises :class:`InputError`, as that does for the first site, if none has.
    """
    found: dict[str, Tensor] = {}
    refused: list[InputError] = []
    for site in sites:
        try:
            found[site] = mean_direction(*states[site], site)
        except InputError as error:
            refused.append(error)
    if not found and refused:
        raise refused[0]
    return found
