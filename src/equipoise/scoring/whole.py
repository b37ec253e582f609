"""Running the whole model on prompts with images, and on answers that continue them.

The backbone alone knows nothing of images: where their positions lie, what sees what around them and where their
features go is the business of the model around it. So that model is called, on the processor's inputs, and the last
hidden states are taken where they enter the head.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..models import LoadedModel, speaker
from .features import Rows, image_features


def run_whole(loaded: LoadedModel, rows: Rows, *, use_cache: bool = False) -> tuple[Tensor, Any]:
    """Last hidden states [B, T, d] of prompts with images of one kind, padded on the right, and the cache."""
    features = image_features(loaded)
    inputs = features.inputs(rows)
    with features.given(rows), _states(loaded) as found:
        output = loaded.model(**inputs, use_cache=use_cache)
    return found[-1], _cache_of(output) if use_cache else None


def continue_whole(loaded: LoadedModel, rows: Rows, ids: Tensor, cache: Any) -> Tensor:
    """Last hidden states [B · K, R, d] of tokens [B · K, R] that continue prompts whose cache was repeated K times.

    All prompts are of one length. What says which images a token sees goes on as at the prompt's last token.
    """
    times = len(ids) // len(rows)
    more: dict[str, Tensor] = {}
    for name, value in rows[0][1].tokenwise.items():
        if value.dim() > 2:
            last = torch.cat([sight.tokenwise[name][:, -1:] for _, sight in rows]).repeat_interleave(times, 0)
            more[name] = last.expand(-1, ids.shape[1], *last.shape[2:]).to(loaded.device)
    with _states(loaded) as found:
        speaker(loaded.model)(input_ids=ids.to(loaded.device), past_key_values=cache, use_cache=True, **more)
    return found[-1]


@contextmanager
def _states(loaded: LoadedModel) -> Iterator[list[Tensor]]:
    """Collect what enters the head, and spare it all but one position: who wants logits computes them from this."""
    found: list[Tensor] = []

    def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        found.append(args[0])
        return (args[0][:1, -1:], *args[1:])

    handle = loaded.anatomy.head.register_forward_pre_hook(before)
    try:
        yield found
    finally:
        handle.remove()


def _cache_of(output: Any) -> Any:
    """The cache, wherever in the output it is: a model around a language model hands on its whole output (BLIP-2)."""
    if not hasattr(output, "items"):
        return None
    cache = output.get("past_key_values")
    inner = (_cache_of(value) for value in output.values())
    return cache if cache is not None else next((found for found in inner if found is not None), None)
