"""Scalars of an item's option log-probabilities that DSO moves or holds still."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import InputError
from ...tasks import Item
from .parameters import Heads


def outcome_logits(items: Sequence[Item], outcomes: Sequence[str], logp: Tensor, index: Tensor) -> Tensor:
    """[B, K] log-probability of each outcome, the sum over the options that mean it."""
    options = logp.shape[1]
    named = [list(items[i].outcomes) + [""] * (options - len(items[i].outcomes)) for i in index.tolist()]
    columns = []
    for outcome in outcomes:
        mask = torch.tensor([[name == outcome for name in row] for row in named], device=logp.device)
        columns.append(logp.masked_fill(~mask, float("-inf")).logsumexp(1))
    return torch.stack(columns, 1)


def parity(items: Sequence[Item], outcomes: Sequence[str]) -> Heads:
    """Log-odds of every outcome against the last: zero, all of them, exactly at parity. K − 1 scalars.

    Of items with a target, log-odds less the target's: zero exactly where the answers have the shares wanted.

    Two answers' gap is P(pro) − P(anti) = tanh(z/2) of this z, given that one of them is said.
    """
    for item in items:
        if set(item.outcomes) != set(outcomes):
            raise InputError(
                f"item {item.id!r}: its options mean {sorted(set(item.outcomes))}: DSO needs an option for every one "
                f"of {list(outcomes)}"
            )

    wanted = torch.tensor(
        [[math.log(item.target[outcome]) if item.target else 0.0 for outcome in outcomes] for item in items]
    )

    def heads(logp: Tensor, index: Tensor) -> Sequence[Tensor]:
        logits = outcome_logits(items, outcomes, logp, index) - wanted[index.cpu()].to(logp)
        return [logits[:, k] - logits[:, -1] for k in range(len(outcomes) - 1)]

    return heads


def mass(logp: Tensor, index: Tensor) -> Sequence[Tensor]:
    """Log-probability that one of the options is said at all. One scalar."""
    return [logp.logsumexp(1)]


def margin(items: Sequence[Item]) -> Heads:
    """Log-odds of the right answer against all others. One scalar."""

    def heads(logp: Tensor, index: Tensor) -> Sequence[Tensor]:
        right = torch.zeros(logp.shape, dtype=torch.bool, device=logp.device)
        right[torch.arange(len(index)), torch.tensor([items[i].answer or 0 for i in index.tolist()])] = True
        return [
            logp.masked_fill(~right, float("-inf")).logsumexp(1)
            - logp.masked_fill(right, float("-inf")).logsumexp(1)
        ]

    return heads
