"""What heads carry: their scores with a token against those with a real name, and which of them recur."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...analysis import (
    Contrast,
    Head,
    ablation_scores,
    direct_scores,
    gradient_scores,
)
from ...errors import InputError
from ...interventions import InjectedToken
from ...models import LoadedModel
from ...scoring import encode
from ...tasks import Association, Item
from .settings import ScopeSettings


def rank(values: NDArray[np.float64], count: int) -> tuple[list[int], NDArray[np.float64]]:
    """The ``count`` columns of [rows, heads] most often among a row's ``count`` largest, and how often each is.

    Ties go by the mean. Only heads with a positive mean take part: without the others the association is stronger.
    NaN columns (heads that were no candidates) take no part. Raises InputError if none is left.
    """
    usable = ~np.isnan(values).any(0)
    means = np.where(usable, np.where(usable, values, 0).mean(0), -np.inf)
    best = np.argsort(-np.where(usable, values, -np.inf), axis=1, kind="stable")[:, :count]
    recurrence = np.zeros(values.shape[1])
    for row in best:
        recurrence[row] += 1
    recurrence /= len(values)
    order = sorted(
        np.flatnonzero(means > 0), key=lambda i: (-round(float(recurrence[i]), 9), -float(means[i]))
    )
    if not order:
        raise InputError(
            "no head carries the association: inject it again with more epochs, or another prompt"
        )
    return [int(i) for i in order[:count]], recurrence


def contrast(loaded: LoadedModel, item: Item) -> Contrast:
    """An item as text and words' first tokens. Raises InputError if both sides begin with the same token."""
    encoded = encode(loaded, item)
    sides: dict[str, list[int]] = {"pro": [], "anti": []}
    for option, outcome in zip(encoded.options, item.outcomes, strict=True):
        if option[0] not in sides[outcome]:
            sides[outcome].append(option[0])
    shared = set(sides["pro"]) & set(sides["anti"])
    if shared:
        token = loaded.tokenizer.convert_ids_to_tokens(next(iter(shared)))
        raise InputError(
            f"words of the bias and of the counterfactual begin with the same token {token!r} in {loaded.name}: "
            "choose other counterfactual words"
        )
    return Contrast(encoded.prompt, tuple(sides["pro"]), tuple(sides["anti"]))


def head_scores(
    loaded: LoadedModel,
    token: InjectedToken,
    name: str,
    association: Association,
    settings: ScopeSettings,
    heads: Sequence[Head],
    progress: Callable[[float], None],
) -> dict[str, NDArray[np.float64]]:
    """[prompts, heads] each score with the token minus with the real name; NaN where there is none."""
    found: dict[str, NDArray[np.float64]] = {}
    with token.attach(loaded) as model:
        sides = []
        for entity in (token.string, name):
            items = association.items(entity, "validation")
            if settings.prompts:
                # Every prompt once before any a second time.
                items = sorted(items, key=lambda item: item.template)[: settings.prompts]
            sides.append([contrast(model, item) for item in items])
        with_token, without = sides
        found["gradient"] = gradient_scores(model, with_token) - gradient_scores(model, without)
        first, second = direct_scores(model, with_token), direct_scores(model, without)
        unknown = np.full_like(found["gradient"], np.nan)
        found["direct"] = unknown if first is None or second is None else first - second
        chosen = np.arange(len(heads))
        if settings.candidates:
            chosen = np.sort(np.argsort(-np.abs(found["gradient"].mean(0)))[: settings.candidates])
        picked = [heads[int(i)] for i in chosen]
        found["ablation"] = unknown.copy()
        found["ablation"][:, chosen] = ablation_scores(
            model, with_token, picked, progress=lambda fraction: progress(fraction / 2)
        ) - ablation_scores(model, without, picked, progress=lambda fraction: progress((1 + fraction) / 2))
    return found
