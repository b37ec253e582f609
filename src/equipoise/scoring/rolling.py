"""The log-likelihood of whole texts that are longer than a model reads at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..interventions import answers_start
from ..models import LoadedModel, hidden_of
from .answers import head_logprobs, head_tokens, run_backbone
from .encoding import document_start, plain_ids
from .journal import Journal
from .readable import most_positions

LONGEST_WINDOW = 2048
"""Tokens of a window where a model reads more: attention's memory grows with the square of its length."""
# Tokenizers that have no limit say so by a huge one.
_NO_LIMIT = 10**9


def windows(ids: Sequence[int], start: int, length: int) -> list[tuple[list[int], list[int]]]:
    """Pairs of what is read and what is predicted, which predict each token once.

    Windows of ``length`` tokens follow each other with one token of context; the last one reads as far back as it can
    (``lm_eval``'s rolling windows with a context of 1).
    """
    whole = [start, *ids]
    found = []
    for first in range(0, len(ids), length):
        end = min(first + length, len(ids))
        begin = first if end - first == length or not first else end - length
        found.append((whole[begin:end], list(ids[first:end])))
    return found


def window_length(loaded: LoadedModel) -> int:
    """Tokens of a window: what the model is made to read, at most :data:`LONGEST_WINDOW`.

    As in ``lm_eval``, which has no such bound, the configuration says it, or else the tokenizer.
    """
    config: Any = loaded.model.config.get_text_config(decoder=True)
    given = [getattr(config, name, None) for name in ("n_positions", "max_position_embeddings", "n_ctx")]
    given.append(getattr(loaded.tokenizer, "model_max_length", None))
    known = next((one for one in given if isinstance(one, int) and 0 < one < _NO_LIMIT), LONGEST_WINDOW)
    return min(known, LONGEST_WINDOW)


def rolling_nll(
    loaded: LoadedModel,
    texts: Sequence[str],
    *,
    length: int | None = None,
    rows: int = 2,
    before: Sequence[int] = (),
    journal: Journal | None = None,
) -> NDArray[np.float64]:
    """Negative log-likelihood [n] of each text, nats, all its tokens included.

    Args:
        loaded: the model, with whatever steers now; an intervention on the answer acts on all of it.
        texts: n texts.
        length: tokens of a window, by default :func:`window_length`; fewer where the model has fewer positions.
        rows: windows at a time.
        before: tokens that every window follows (an instruction).
        journal: of these very texts, read in these windows by this model with what steers it now; see
            :func:`equipoise.scoring.score_options`.

    Raises :class:`InputError` for a tokenizer that has no token to begin a text with, and for an instruction that is as
    long as the model's positions.
    """
    length = window_length(loaded) if length is None else length
    most = most_positions(loaded)
    if most is not None:
        length = min(length, most - len(before))
    if length < 1:
        raise InputError(
            f"an instruction of {len(before)} tokens leaves no place in the {most} positions of {loaded.name}"
        )
    start = document_start(loaded.tokenizer)
    if not start:
        raise InputError(
            "this tokenizer has neither a beginning nor an end of text: whole texts can't be scored"
        )
    parts = [
        (number, *pair)
        for number, text in enumerate(texts)
        for pair in windows(plain_ids(loaded.tokenizer, text), start[0], length)
    ]
    parts.sort(key=lambda part: -len(part[1]))
    total = np.zeros(len(texts))
    with torch.inference_mode(), answers_start(loaded, 0):
        for place in range(0, len(parts), rows):
            chunk = parts[place : place + rows]
            numbers = range(place, place + len(chunk))
            known = None if journal is None else journal.get(numbers)
            if known is not None:
                values = [float(entry["nll"]) for entry in known]
            else:
                values = _chunk(loaded, chunk, list(before))
                if journal is not None:
                    journal.add({n: {"nll": value} for n, value in zip(numbers, values, strict=True)})
            for (number, _, _), value in zip(chunk, values, strict=True):
                total[number] += value
    return total


def _chunk(
    loaded: LoadedModel, parts: Sequence[tuple[int, list[int], list[int]]], before: list[int]
) -> list[float]:
    longest = max(len(read) for _, read, _ in parts)
    padded = [before + read + [0] * (longest - len(read)) for _, read, _ in parts]
    hidden = hidden_of(run_backbone(loaded, torch.tensor(padded).to(loaded.device)))
    found, most = [], head_tokens(loaded)
    for row, (_, read, wanted) in enumerate(parts):
        end = len(before) + len(read)
        states = hidden[row, end - len(wanted) : end].contiguous()
        targets = torch.tensor(wanted).to(states.device)
        found.append(
            sum(
                _nats(loaded, states[i : i + most], targets[i : i + most])
                for i in range(0, len(wanted), most)
            )
        )
    return found


def _nats(loaded: LoadedModel, states: Tensor, targets: Tensor) -> float:
    logp = head_logprobs(loaded, states)
    return float(-logp.gather(1, targets[:, None].to(logp.device)).double().sum())
