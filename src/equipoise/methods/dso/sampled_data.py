"""What a sampled fit can be given as data, brought to one form and split."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import InputError
from ...tasks import FreeTextItem, PromptTask

Conversations = Sequence[Mapping[str, Any]]
Data = PromptTask | Sequence[FreeTextItem] | Conversations
_VALIDATION_SHARE = 0.3


def training_items(data: Data, seed: int) -> list[FreeTextItem]:
    """The items to fit on: a task's training part, items as they are, or samples with a ``conversation``.

    The metadata that a reward sees for a sample is the sample itself.

    Raises InputError for fewer than two items, or a sample without conversation.
    """
    if isinstance(data, PromptTask):
        found = list(data.split(seed).train)
    else:
        found = [_as_item(number, sample) for number, sample in enumerate(data)]
    if len(found) < 2:
        raise InputError(
            f"a sampled fit needs at least 2 prompts, one of them for validation: it got {len(found)}"
        )
    return found


def split_validation(
    items: Sequence[FreeTextItem], seed: int
) -> tuple[list[FreeTextItem], list[FreeTextItem]]:
    """Training and validation items: whole groups apart, single items where there are fewer than three groups."""
    groups = sorted({item.group for item in items})
    labels = [item.group if len(groups) >= 3 else str(number) for number, item in enumerate(items)]
    names = sorted(set(labels))
    random.Random(f"{seed}/validation").shuffle(names)
    held = set(names[: max(1, round(_VALIDATION_SHARE * len(names)))])
    train = [item for item, label in zip(items, labels, strict=True) if label not in held]
    return train, [item for item, label in zip(items, labels, strict=True) if label in held]


def taken(number: int, total: int, seed: int, step: int) -> list[int]:
    """``number`` of ``total`` indices: each pass goes through all in a new order; a function of seed and step alone."""
    number = min(number, total)
    found = []
    for place in range(step * number, (step + 1) * number):
        order = list(range(total))
        random.Random(f"{seed}/{place // total}").shuffle(order)
        found.append(order[place % total])
    return found


def _as_item(number: int, sample: object) -> FreeTextItem:
    if isinstance(sample, FreeTextItem):
        return sample
    if not isinstance(sample, Mapping):
        raise InputError(f"sample {number} is neither a free-text item nor a mapping with a 'conversation'")
    turns = sample.get("conversation")
    if not turns or isinstance(turns, str):
        raise InputError(f"sample {number} needs a 'conversation': a list of role and content dictionaries")
    return FreeTextItem(
        id=str(sample.get("id", number)),
        prompt=tuple(turns),
        group=str(sample.get("group", number)),
        metadata=dict(sample),
    )
