"""How a state does on validation occupations, templates and text: what decides which state is kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..interventions import AffineEdit, Intervention, Provenance, attach
from ..metrics import per_occupation_bias
from ..models import LoadedModel
from ..scoring import (
    EncodedItem,
    TextReference,
    answer_batches,
    encode_all,
    head_logprobs,
    next_states,
    responses,
    score_options,
    score_text,
    text_reference,
)
from ..tasks import Item


@dataclass(frozen=True)
class Validated:
    """Per-occupation bias; nats a token on plain text; nats at the answer of unambiguous prompts; accuracy there."""

    bias: float
    kl: float
    kl_unambiguous: float
    accuracy: float


class Validation:
    """Measures states against the unsteered model; make it while nothing steers."""

    def __init__(
        self, loaded: LoadedModel, items: Sequence[Item], outcomes: Sequence[str], passages: Tensor
    ) -> None:
        self._loaded = loaded
        self._outcomes = list(outcomes)
        self._ambiguous = [item for item in items if item.part == "ambiguous"]
        self._clear = [item for item in items if item.part == "unambiguous"]
        self._encoded = encode_all(loaded, self._ambiguous)
        self._clear_encoded = encode_all(loaded, self._clear)
        self._text: TextReference = text_reference(loaded, passages)
        self._clear_before = _next_tokens(loaded, self._clear_encoded)

    def __call__(self, edits: dict[str, AffineEdit] | None) -> Validated:
        """Measure with these edits at λ = 1; None is the model as it is."""
        if edits is None:
            return self._measure()
        with attach(self._loaded, Intervention(edits, "all", Provenance(method="dso"))):
            return self._measure()

    def _measure(self) -> Validated:
        scores = score_options(self._loaded, self._encoded)
        found = per_occupation_bias(responses(scores, self._ambiguous, self._outcomes))
        # A state that answers nothing is no fair one.
        bias = math.inf if found is None else found
        if not self._clear:
            return Validated(bias, score_text(self._loaded, self._text).mean_kl, 0.0, 1.0)
        right = np.array([item.answer for item in self._clear])
        now = _next_tokens(self._loaded, self._clear_encoded)
        choice = self._choice(now)
        moved = (now.exp() * (now - self._clear_before)).sum(1).mean()
        return Validated(
            bias,
            score_text(self._loaded, self._text).mean_kl,
            max(float(moved), 0.0),
            float((choice == right).mean()),
        )

    def _choice(self, now: Tensor) -> NDArray[np.int64]:
        """The most probable option of each unambiguous item; what was computed already answers one-token options."""
        if not all(item.single for item in self._clear_encoded):
            return score_options(self._loaded, self._clear_encoded).choice
        rows = zip(now, self._clear_encoded, strict=True)
        return np.array([int(logp[[t for (t,) in item.options]].argmax()) for logp, item in rows])


def membership(items: Sequence[Item]) -> Tensor:
    """[groups, n] averaging matrix: row g has 1 / |g| where an item belongs to group g."""
    names = sorted({group for item in items for group in item.groups})
    place = {name: row for row, name in enumerate(names)}
    matrix = torch.zeros(len(names), len(items))
    for column, item in enumerate(items):
        for group in item.groups:
            matrix[place[group], column] = 1.0
    return matrix / matrix.sum(1, keepdim=True)


def _next_tokens(loaded: LoadedModel, encoded: Sequence[EncodedItem]) -> Tensor:
    """[n, vocabulary] log-probabilities after each prompt."""
    found = torch.zeros(0)
    with torch.inference_mode():
        for batch in answer_batches(encoded):
            logp = head_logprobs(loaded, next_states(loaded, batch)).cpu()
            if not len(found):
                found = torch.zeros(len(encoded), logp.shape[1])
            found[batch.index] = logp
    return found
