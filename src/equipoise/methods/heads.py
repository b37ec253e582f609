"""Probing attention heads: which of them tell two classes of statements apart, and in which direction."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..models import LoadedModel
from .directions import mean_direction

Sides = Mapping[str, tuple[Tensor, Tensor]]
"""For each ``block.i.heads`` the activations [n, n_heads · head_dim] of the anti and of the pro statements."""


@dataclass(frozen=True, eq=False)
class Head:
    """One query head, what its probe is worth, and how its activation differs between the classes.

    Attributes:
        site: ``block.i.heads``.
        place: its slice of the site's activation.
        number: its number in the block.
        accuracy: of a logistic probe, on validation statements.
        direction: [head_dim], unit, from the mean of the pro to the mean of the anti statements.
        sigma: standard deviation of the training statements' projections onto it.
    """

    site: str
    place: slice
    number: int
    accuracy: float
    direction: Tensor
    sigma: float


def head_sites(loaded: LoadedModel) -> list[str]:
    """The sites of all blocks that have attention heads."""
    return list(loaded.anatomy.sites("heads"))


def probe_heads(loaded: LoadedModel, train: Sides, held: Sides) -> list[Head]:
    """The heads of every block, the best probe first; equals in the order of the model.

    Heads that don't tell the classes' means apart have no direction and are left out.

    Args:
        train: what probes, directions and spreads are fitted on.
        held: what the probes' accuracy is measured on: other groups and wordings.

    Raises InputError if no head is left.
    """
    found = []
    for block in loaded.anatomy.blocks:
        site = f"block.{block.index}.heads"
        if site not in train or block.attention is None or block.attention.heads is None:
            continue
        for number in range(block.attention.heads.n_heads):
            place = block.attention.heads.slice(number)
            anti, pro = (side[:, place] for side in train[site])
            try:
                direction = mean_direction(anti, pro, f"{site}, head {number}")
            except InputError:
                # A head that only looks at the first token says the same of both classes.
                continue
            sigma = float((torch.cat([anti, pro]).double() @ direction.double()).std(correction=0))
            accuracy = probe_accuracy((anti, pro), [side[:, place] for side in held[site]])
            found.append(Head(site, place, number, accuracy, direction, sigma))
    if not found:
        raise InputError("no attention head tells the two sides apart: give texts that differ")
    return sorted(found, key=lambda head: -head.accuracy)


def probe_accuracy(train: Sequence[Tensor], held: Sequence[Tensor]) -> float:
    """Accuracy on ``held`` of a logistic regression fitted on ``train``; each is the two classes' activations [n, d].

    Activations are standardised by the training statements' moments, so that the penalty (1/n of the squared norm)
    means the same for every head.
    """
    from sklearn.linear_model import LogisticRegression

    x, y = _stacked(train)
    centre, spread = x.mean(0), x.std(0)
    spread[spread == 0] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of probes that haven't quite converged
        probe = LogisticRegression(max_iter=200).fit((x - centre) / spread, y)
    other, labels = _stacked(held)
    return float(probe.score((other - centre) / spread, labels))


def _stacked(sides: Sequence[Tensor]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    x = np.concatenate([side.double().numpy() for side in sides])
    return x, np.repeat(np.arange(len(sides)), [len(side) for side in sides])
