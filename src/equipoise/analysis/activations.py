"""What a model computes at its sites for given texts: the data that probes, vectors and erasers are made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError
from ..interventions import capture
from ..models import LoadedModel
from ..scoring import (
    MAX_TOKENS,
    AnswerBatch,
    EncodedItem,
    answer_batches,
    next_states,
    refuse_unreadable,
    run_backbone,
)

Reading = Literal["last", "mean"]


def activations(
    loaded: LoadedModel,
    rows: Sequence[Sequence[int]],
    sites: Iterable[str],
    *,
    reading: Reading = "last",
    max_tokens: int = 4096,
) -> dict[str, Tensor]:
    """Activations at each site, one vector a text, as whatever steers now lets the rest of the model see them.

    Args:
        rows: token ids of each text, one or more.
        sites: names of sites.
        reading: ``last``, the text's last token; ``mean``, the mean over all its tokens but the first, which
            carries massive activations of its own (a text of one token is read at that one).
        max_tokens: tokens of a batch.

    Returns:
        [n, width] in fp32 on the CPU for each site, in the order of ``rows``.

    Raises :class:`InputError` for a text without a token or with more than the model reads, or an unknown site.
    """
    names = list(dict.fromkeys(sites))
    if not all(len(row) for row in rows):
        raise InputError(
            f"text {[bool(len(row)) for row in rows].index(False)} tokenises to nothing: give it a word"
        )
    refuse_unreadable(loaded, rows)
    found = {name: torch.zeros(len(rows), loaded.anatomy.site(name).width) for name in names}
    for index, captured in states_of(loaded, rows, names, max_tokens=max_tokens):
        for name, states in captured.items():
            read = [_read(states[place], len(rows[i]), reading) for place, i in enumerate(index)]
            found[name][index] = torch.stack(read).float().cpu()
    return found


def states_of(
    loaded: LoadedModel, rows: Sequence[Sequence[int]], names: Sequence[str], *, max_tokens: int
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Batches of texts: their indices in ``rows``, and the activations [B, T, width] at each site.

    Texts are padded on the right, which causal attention keeps from reaching what comes before: read no further than
    each text's own length.
    """
    with torch.inference_mode():
        for index in _batches([len(row) for row in rows], max_tokens):
            longest = max(len(rows[i]) for i in index)
            ids = torch.tensor([[*rows[i], *[0] * (longest - len(rows[i]))] for i in index])
            with capture(loaded, names) as captured:
                run_backbone(loaded, ids.to(loaded.device))
            yield index, {name: captured[name][-1].reshape(len(index), longest, -1) for name in names}


def prompt_activations(
    loaded: LoadedModel,
    encoded: Sequence[EncodedItem],
    sites: Iterable[str],
    *,
    max_tokens: int = MAX_TOKENS,
) -> dict[str, Tensor]:
    """Activations at the last token of each item's prompt, with its images if it has some.

    Args:
        encoded: what :func:`equipoise.scoring.encode` made of the items.
        sites: names of sites.
        max_tokens: tokens of a batch.

    Returns:
        [n, width] in fp32 on the CPU for each site, in the order of ``encoded``.

    Raises :class:`InputError` for an unknown site.
    """
    names = list(dict.fromkeys(sites))
    found = {name: torch.zeros(len(encoded), loaded.anatomy.site(name).width) for name in names}
    for batch, captured in prompt_states(loaded, encoded, names, max_tokens=max_tokens):
        for name, states in captured.items():
            last = batch.last.to(states.device)
            found[name][batch.index] = (
                states[torch.arange(len(last), device=states.device), last].float().cpu()
            )
    return found


def prompt_states(
    loaded: LoadedModel, encoded: Sequence[EncodedItem], names: Sequence[str], *, max_tokens: int
) -> Iterator[tuple[AnswerBatch, dict[str, Tensor]]]:
    """Batches of prompts, with their images, and the activations [B, T, width] at each site."""
    with torch.inference_mode():
        for batch in answer_batches(encoded, max_tokens=max_tokens):
            with capture(loaded, names) as captured:
                next_states(loaded, batch)
            shape = (len(batch.index), batch.prompts.shape[1], -1)
            yield batch, {name: captured[name][-1].reshape(shape) for name in names}


def _read(states: Tensor, length: int, reading: Reading) -> Tensor:
    if reading == "last" or length == 1:
        return states[length - 1]
    return states[1:length].float().mean(0)


def _batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Indices by length, at most ``max_tokens`` padded tokens together."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batches and (len(batches[-1]) + 1) * lengths[index] <= max_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
