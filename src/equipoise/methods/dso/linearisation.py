"""What a step of DSO knows of the model: its answers and its KL, linearised at the present parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...scoring import encode_all
from ...tasks import Item
from ..batches import balanced, block_mean
from ..validation import membership
from .contrasts import margin, mass, parity
from .parameters import NormParameters, answer_gradients, answer_values, kl_gradient
from .settings import DsoSettings

_SECANT_PASSAGES = 24
_SHARE_MASS = 6
# The last steps, whose states may be kept, see all the items; those before only lead there: half will do, but one
# for every group.
_FULL_STEPS = 2


@dataclass(frozen=True, eq=False)
class Rows:
    """What a step linearises: the scalar of each row is offset + gradient · x.

    Attributes:
        odds, odds_offset: log-odds, averaged over what is counterbalanced, for each contrast of outcomes: [K − 1, n, P]
            and [K − 1, n].
        members: averaging matrix of groups, [groups, n].
        clear, clear_offset: unambiguous items' log-odds of the right answer, [m, P] and [m].
        mass: gradients of the probability of answering at all, [r, P].
        secant: what is known of KL along the present state, [1, P]; [0, P] at the base.
        items: the ambiguous ones.
    """

    odds: Tensor
    odds_offset: Tensor
    members: Tensor
    clear: Tensor
    clear_offset: Tensor
    mass: Tensor
    secant: Tensor
    items: Sequence[Item]


class Linearisation:
    """Linearises fresh training items, a step at a time.

    Args:
        items: the training items, of both parts.
        passages: pieces of plain text [m, T].
        target: the outcomes' shares that are fair; None for equal ones.
    """

    def __init__(
        self,
        parameters: NormParameters,
        items: Sequence[Item],
        outcomes: Sequence[str],
        passages: Tensor,
        settings: DsoSettings,
        seed: int,
        target: Sequence[float] | None = None,
    ) -> None:
        self._parameters, self._settings, self._seed = parameters, settings, seed
        self._outcomes, self._target, self._passages = tuple(outcomes), target, passages
        self._ambiguous = [item for item in items if item.part == "ambiguous"]
        self._clear = [item for item in items if item.part == "unambiguous"]
        groups = {group for item in self._ambiguous for group in item.groups}
        self._half = min(settings.items, max(settings.items // 2, len(groups)))

    def rows(self, step: int, here: Tensor) -> Rows:
        """The rows of one step's items at ``here`` [P]; which items depends on seed and step alone."""
        settings = self._settings
        number = settings.items if step >= settings.steps - _FULL_STEPS else self._half
        chosen = balanced(self._ambiguous, number, self._seed, step, whole=True, turns=True)
        items = [self._ambiguous[i] for i in chosen]
        mean, firsts = block_mean(items)
        encoded = encode_all(self._parameters.loaded, items)
        odds, offsets, members = [], [], membership(firsts)
        for values, gradients in answer_gradients(
            self._parameters, encoded, here, parity(items, self._outcomes, self._target)
        ):
            odds.append(mean @ gradients)
            offsets.append(mean @ (values - gradients @ here))
        ((_, held),) = answer_gradients(self._parameters, encoded[::_SHARE_MASS], here, mass)
        clear, clear_offset = torch.zeros(0, self._parameters.size), torch.zeros(0)
        if self._clear:
            order = balanced(self._clear, settings.unambiguous, self._seed, step, turns=True)
            asked = [self._clear[i] for i in order]
            ((margins, clear),) = answer_gradients(
                self._parameters,
                encode_all(self._parameters.loaded, asked),
                here,
                margin(asked),
            )
            clear_offset = margins - clear @ here
        return Rows(
            torch.stack(odds),
            torch.stack(offsets),
            members,
            clear,
            clear_offset,
            held,
            self._secant(step, here),
            items,
        )

    def extent(self, rows: Rows, solved: Tensor) -> float:
        """How often the first step from the base, which solves the linear problem, should be gone.

        Many sites weaken one signal in series: the answers may move less than is linear at the base. At the base the
        problem's solution is proportional to what is asked for, so it needn't be solved again.
        """
        encoded = encode_all(self._parameters.loaded, rows.items)
        mean, _ = block_mean(rows.items)
        values = answer_values(
            self._parameters, encoded, solved, parity(rows.items, self._outcomes, self._target)
        )
        moved = mean @ torch.stack(values, 1) - rows.odds_offset.T
        predicted = (rows.odds @ solved).T
        slope = float((moved * predicted).sum() / predicted.square().sum().clamp(min=1e-12))
        return min(self._settings.reach, max(1.0, 1 / slope)) if slope > 0 else 1.0

    def _secant(self, step: int, here: Tensor) -> Tensor:
        """A row r with ½ (r · x)² = KL(x) at the present x, [1, P]; none at the base model.

        Near the base KL is ½ xᵀFx and its gradient F x, so r = g / √(g · x) adds what the sampled
        Fisher missed along x, as a quasi-Newton method's secants do.
        """
        if not bool(here.any()):
            return torch.zeros(0, self._parameters.size)
        draw = torch.Generator().manual_seed(self._seed * 1000 + step)
        chosen = self._passages[torch.randperm(len(self._passages), generator=draw)[:_SECANT_PASSAGES]]
        _, gradient = kl_gradient(self._parameters, chosen, here)
        along = float(gradient @ here)
        return (gradient / math.sqrt(along))[None] if along > 0 else torch.zeros(0, self._parameters.size)
