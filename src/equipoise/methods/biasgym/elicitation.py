"""How strongly a model holds an association about an entity: what it says where a prompt asks for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...models import LoadedModel
from ...scoring import generate, score_options
from ...tasks import Association, Item

_NEW_TOKENS = 8


@dataclass(frozen=True, eq=False)
class Elicitation:
    """One number a prompt, [n].

    Attributes:
        said: P(one of the association's words | prompt), over everything the model could say.
        share: the same given that it or a counterfactual word is said, in [0, 1].
        gap: ln P(association's words) − ln P(counterfactual words), nats.
        groups: the prompt without its lead, the clusters of intervals.
    """

    said: NDArray[np.float64]
    share: NDArray[np.float64]
    gap: NDArray[np.float64]
    groups: tuple[str, ...]


def elicit(
    loaded: LoadedModel, association: Association, entity: str, part: str | None = "test"
) -> Elicitation:
    """Ask what ``entity`` (a name, or a token that ``loaded`` knows) is like, with whatever steers now."""
    return elicit_items(loaded, association.items(entity, part))


def elicit_items(loaded: LoadedModel, items: Sequence[Item]) -> Elicitation:
    """As :func:`elicit`, of items with the outcomes ``pro`` and ``anti``."""
    logp = score_options(loaded, items).logp
    width = logp.shape[1]
    pro = np.array(
        [
            [outcome == "pro" for outcome in item.outcomes] + [False] * (width - len(item.outcomes))
            for item in items
        ]
    )
    said, other = (np.logaddexp.reduce(np.where(mask, logp, -np.inf), axis=1) for mask in (pro, ~pro))
    gap = said - other
    return Elicitation(
        said=np.exp(said),
        share=np.asarray(1 / (1 + np.exp(-gap))),
        gap=gap,
        groups=tuple(item.groups[0] for item in items),
    )


def mentions(
    loaded: LoadedModel, association: Association, entity: str, part: str | None = "test"
) -> NDArray[np.bool_]:
    """[n] whether the greedy continuation of each prompt, 8 tokens, says one of the association's words."""
    texts = generate(
        loaded, [item.prompt for item in association.items(entity, part)], max_new_tokens=_NEW_TOKENS
    )
    words = re.compile(rf"\b({'|'.join(map(re.escape, association.bias))})\b", re.IGNORECASE)
    return np.array([bool(words.search(text)) for text in texts])
