"""Which of many items a fit looks at."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ..tasks import Item


def balanced(items: Sequence[Item], number: int, seed: int, step: int) -> list[int]:
    """Indices of ``number`` items, every group as often as the others, no item twice before all were used.

    Which ones depends on seed and step alone, so that a resumed fit sees what an uninterrupted one does.
    """
    members: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        # An item of several groups serves one of them, always the same: else the first-mentioned would be favoured.
        group = random.Random(f"{seed}/{item.id}").choice(item.groups)
        members.setdefault(group, []).append(index)
    names = sorted(members)
    for name in names:
        random.Random(f"{seed}/{name}").shuffle(members[name])
    each = max(1, number // len(names))
    taken = [
        members[name][(step * each + turn) % len(members[name])]
        for name in names
        for turn in range(min(each, len(members[name])))
    ]
    return sorted(taken)
