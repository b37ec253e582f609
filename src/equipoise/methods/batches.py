"""Which items a fit, or a step of it, sees: every group equally often, and what is counterbalanced together."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from ..tasks import Item, blocks

# A counterbalanced design has a handful of items; what shares group and template beyond that is merely alike.
_LARGEST = 16


def balanced(
    items: Sequence[Item], number: int, seed: int, step: int, *, whole: bool = False, turns: bool = False
) -> list[int]:
    """Indices of about ``number`` items, every group as often as the others, none twice before all were used.

    Which ones depends on seed and step alone, so that a resumed fit sees what an uninterrupted one does.

    Args:
        whole: draw blocks (items of the same groups and template) whole. Where order or pronoun are counterbalanced
            within a block, a single item's log-odds is mostly a preference for a position or a word, which is no bias
            and cancels in the block. If there are more groups than ``number`` has blocks, they take turns.
        turns: groups take turns from step to step also where nothing is counterbalanced, if ``number`` is below
            theirs; else each has one item.
    """
    units = _units(items) if whole else [[index] for index in range(len(items))]
    members: dict[str, list[list[int]]] = {}
    for unit in units:
        first = items[unit[0]]
        # A unit of several groups serves one of them, always the same: else the first-mentioned would be favoured.
        group = random.Random(f"{seed}/{first.id}").choice(first.groups)
        members.setdefault(group, []).append(unit)
    names = sorted(members)
    for name in names:
        random.Random(f"{seed}/{name}").shuffle(members[name])
    wanted = max(1, number * len(units) // len(items))
    each = max(1, wanted // len(names))
    start = step * each
    if wanted < len(names) and (turns or (whole and len(units) < len(items))):
        random.Random(f"{seed}/turns").shuffle(names)
        turn = [step * wanted + place for place in range(wanted)]
        taken = [(names[place % len(names)], place // len(names)) for place in turn]
    else:
        taken = [(name, start + turn) for name in names for turn in range(min(each, len(members[name])))]
    chosen = [members[name][place % len(members[name])] for name, place in taken]
    return sorted(index for unit in chosen for index in unit)


def block_mean(items: Sequence[Item]) -> tuple[Tensor, list[Item]]:
    """[blocks, n] averaging matrix, and the first item of each block."""
    found = _units(items)
    matrix = torch.zeros(len(found), len(items))
    for row, unit in enumerate(found):
        matrix[row, unit] = 1 / len(unit)
    return matrix, [items[unit[0]] for unit in found]


def _units(items: Sequence[Item]) -> list[list[int]]:
    found = []
    for block in blocks(items).values():
        found += [block] if len(block) <= _LARGEST else [[index] for index in block]
    return found
