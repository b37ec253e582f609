"""Scalars of an item's option log-probabilities that DSO moves or holds still."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import InputError
from ...tasks import Item, target_shares
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


# Of outcomes that shouldn't be said at all, this share is near enough to none: log-odds of a certainty have no end.
_LEFT = 0.02


def parity(items: Sequence[Item], outcomes: Sequence[str], target: Sequence[float] | None = None) -> Heads:
    """Scalars that are zero, all of them, exactly at the target. K − 1 of them.

    With equal shares: the log-odds of every outcome against the last. Two answers' gap is P(pro) − P(anti) =
    tanh(z/2) of this z, given that one of them is said.

    With another ``target``: the log-odds of the outcomes that have a share, against the last of them, less those of
    the target; of the outcomes that have none, against the last of those, so that what is wrongly said leans to no
    side; and of the former together against the latter, where these have more than a fiftieth.

    An item's own target comes before the task's; it gives every outcome a share, so a task whose target leaves one out
    takes none of items.
    """
    wanted = [1 / len(outcomes)] * len(outcomes) if target is None else list(target)
    there = [k for k, share in enumerate(wanted) if share > 0]
    absent = [k for k, share in enumerate(wanted) if share <= 0]
    enough = math.log((1 - _LEFT) / _LEFT)
    if absent and any(item.target is not None for item in items):
        raise InputError(
            "the task's target leaves an outcome out, and an item has a target of its own: give one of them"
        )
    for item in items:
        if set(item.outcomes) != set(outcomes):
            raise InputError(
                f"item {item.id!r}: its options mean {sorted(set(item.outcomes))}: DSO needs an option for every one "
                f"of {list(outcomes)}"
            )

    rows = target_shares(items, outcomes, target) or [[1.0] * len(outcomes)] * len(items)
    fair = torch.tensor([[math.log(share) if share > 0 else 0.0 for share in row] for row in rows])

    def heads(logp: Tensor, index: Tensor) -> Sequence[Tensor]:
        logits = outcome_logits(items, outcomes, logp, index)
        beyond = logits - fair[index.cpu()].to(logits)
        found = [beyond[:, k] - beyond[:, there[-1]] for k in there[:-1]]
        found += [logits[:, k] - logits[:, absent[-1]] for k in absent[:-1]]
        if absent:
            odds = logits[:, there].logsumexp(1) - logits[:, absent].logsumexp(1)
            found.append((odds - enough).clamp(max=0.0))
        return found

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
