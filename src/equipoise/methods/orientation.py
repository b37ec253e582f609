"""Which answers follow a stereotype: the task's own word for it, or the model's lean where the task has none.

Methods that push away from something need to know from what. Outcomes may be pro and anti the stereotype already; they
may be right or wrong as such (the fair class of ``choices``); or they are groups (woman, man), of which either may be
favoured. There the stereotype of an occupation is what the *model* favours for it, as DSO's reward has it
(arXiv 2512.15926, section 3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..metrics import Responses
from ..models import LoadedModel
from ..scoring import responses, score_options
from ..tasks import Item, Task
from .batches import balanced

# The lean of every group is read off about so many items.
_ITEMS = 256


def oriented(loaded: LoadedModel, task: Task, items: Sequence[Item], seed: int) -> list[Item]:
    """Ambiguous items with the outcomes pro and anti, in their order; the unsteered model's lean decides where it must.

    - Outcomes pro and anti stay.
    - Where the task's target gives an outcome no share at all, that outcome is pro and the others anti.
    - Otherwise pro is, of an item's outcomes, the one that the model says most often of its groups, relative to the
      share that would be fair among the outcomes offered.

    Raises InputError for an item whose outcomes all have a share in the task's target, or all have none.
    """
    if set(task.outcomes) == {"pro", "anti"}:
        return list(items)
    if task.target is not None and min(task.target) <= 0:
        wrong = {name for name, share in zip(task.outcomes, task.target, strict=True) if share <= 0}
        return [_turned(item, wrong) for item in items]
    chosen = [items[i] for i in balanced(items, _ITEMS, seed, 0, whole=True)]
    found = responses(score_options(loaded, chosen), chosen, task.outcomes, task.target)
    leans, pooled = _leans(found, _offered(chosen, task.outcomes))
    turned = []
    for item, own in zip(items, _offered(items, task.outcomes), strict=True):
        known = [leans[group] for group in item.groups if group in leans]
        lean = np.sum(known, 0) if known else pooled
        turned.append(_turned(item, {task.outcomes[int(np.where(own, lean, -np.inf).argmax())]}))
    return turned


def _offered(items: Sequence[Item], outcomes: Sequence[str]) -> np.ndarray:
    """[n, K] whether an item has an option of the outcome."""
    return np.array([[outcome in item.outcomes for outcome in outcomes] for item in items])


def _leans(found: Responses, offered: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """How much oftener than fair each outcome is said where it is ``offered`` [n, K], by group and over all."""
    shares = offered * (1 / len(found.outcomes) if found.targets is None else found.targets)
    excess = offered * np.nan_to_num(found.given_answer - shares / shares.sum(1, keepdims=True))
    rows: dict[str, list[int]] = defaultdict(list)
    for row, groups in enumerate(found.groups):
        for group in groups:
            rows[group].append(row)

    def mean(places: Sequence[int] | slice) -> np.ndarray:
        return np.asarray(excess[places].sum(0) / np.maximum(offered[places].sum(0), 1))

    return {group: mean(places) for group, places in rows.items()}, mean(slice(None))


def _turned(item: Item, pro: set[str]) -> Item:
    outcomes = tuple("pro" if outcome in pro else "anti" for outcome in item.outcomes)
    if len(set(outcomes)) == 1:
        share = "none" if outcomes[0] == "pro" else "each"
        raise InputError(
            f"item {item.id!r}: its options mean {sorted(set(item.outcomes))}, and the task's target gives {share} of "
            "these a share: to have a stereotype it needs an option of either kind"
        )
    return replace(item, outcomes=outcomes, target=None)
