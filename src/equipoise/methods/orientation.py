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
    - Otherwise pro is the outcome that the model says most often, relative to its share, of an item's groups.
    """
    if set(task.outcomes) == {"pro", "anti"}:
        return list(items)
    if task.target is not None and min(task.target) <= 0:
        wrong = {name for name, share in zip(task.outcomes, task.target, strict=True) if share <= 0}
        return [_turned(item, wrong) for item in items]
    chosen = [items[i] for i in balanced(items, _ITEMS, seed, 0, whole=True)]
    found = responses(score_options(loaded, chosen), chosen, task.outcomes, task.target)
    leans, pooled = _leans(found)
    favoured = []
    for item in items:
        known = [leans[group] for group in item.groups if group in leans]
        lean = np.sum(known, 0) if known else pooled
        favoured.append(task.outcomes[int(np.argmax(lean))])
    return [_turned(item, {name}) for item, name in zip(items, favoured, strict=True)]


def _leans(found: Responses) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """How much oftener than fair each outcome is said, by group and over all."""
    shares = 1 / len(found.outcomes) if found.targets is None else found.targets
    excess = np.nan_to_num(found.given_answer - shares)
    rows: dict[str, list[int]] = defaultdict(list)
    for row, groups in enumerate(found.groups):
        for group in groups:
            rows[group].append(row)
    return {group: excess[places].mean(0) for group, places in rows.items()}, excess.mean(0)


def _turned(item: Item, pro: set[str]) -> Item:
    outcomes = tuple("pro" if outcome in pro else "anti" for outcome in item.outcomes)
    return replace(item, outcomes=outcomes, target=None)
