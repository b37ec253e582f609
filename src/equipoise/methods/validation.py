"""How a state does on validation occupations, templates and text: what decides which state is kept."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..interventions import Intervention, attach
from ..metrics import per_occupation_bias
from ..models import LoadedModel
from ..scoring import (
    EncodedItem,
    OptionScores,
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


@dataclass(frozen=True)
class Answered:
    """Per-occupation bias of the ambiguous items, and accuracy on the unambiguous ones (1 where there are none)."""

    bias: float
    accuracy: float


def answered(
    loaded: LoadedModel,
    items: Sequence[Item],
    outcomes: Sequence[str],
    target: Sequence[float] | None = None,
) -> Answered:
    """What the model, as it is now, answers to items as they are; ``target`` is the task's."""
    return judged(score_options(loaded, items), items, outcomes, target)


def judged(
    scores: OptionScores, items: Sequence[Item], outcomes: Sequence[str], target: Sequence[float] | None
) -> Answered:
    """The figures of the items' scores; ``target`` is the task's."""
    rows = [row for row, item in enumerate(items) if item.part == "ambiguous"]
    asked = OptionScores(scores.logp[rows], scores.begins[rows])
    bias = _bias(asked, [items[row] for row in rows], outcomes, target)
    clear = [row for row, item in enumerate(items) if item.part == "unambiguous"]
    right = [scores.choice[row] == items[row].answer for row in clear]
    return Answered(bias, float(np.mean(right)) if clear else 1.0)


class Validation:
    """Measures states against the unsteered model; make it while nothing steers."""

    def __init__(
        self,
        loaded: LoadedModel,
        items: Sequence[Item],
        outcomes: Sequence[str],
        passages: Tensor,
        target: Sequence[float] | None = None,
    ) -> None:
        self._loaded = loaded
        self._outcomes, self._target = list(outcomes), target
        self._ambiguous = [item for item in items if item.part == "ambiguous"]
        self._clear = [item for item in items if item.part == "unambiguous"]
        self._encoded = encode_all(loaded, self._ambiguous)
        self._clear_encoded = encode_all(loaded, self._clear)
        self._text: TextReference = text_reference(loaded, passages)
        self._clear_before = _next_tokens(loaded, self._clear_encoded)

    def __call__(self, intervention: Intervention | None) -> Validated:
        """Measure everything with this intervention at λ = 1; None is the model as it is."""
        return self.within(self._steered(intervention), changed=intervention is not None)

    def within(self, context: AbstractContextManager[object], *, changed: bool = True) -> Validated:
        """Measure everything inside the context, in which something acts on the model if it is ``changed``."""
        with context:
            kl_unambiguous, accuracy = self._unambiguous()
            # The model doesn't diverge from itself.
            kl = self._kl() if changed else 0.0
            return Validated(self._bias(), kl, kl_unambiguous, accuracy)

    def bias(self, intervention: Intervention | None) -> float:
        """Per-occupation bias alone; infinite where nothing is answered: a state that is silent is no fair one."""
        with self._steered(intervention):
            return self._bias()

    def kl(self, intervention: Intervention | None) -> float:
        """KL(steered ‖ base) on the passages alone, mean nats a token."""
        with self._steered(intervention):
            return self._kl()

    def unambiguous(self, intervention: Intervention | None) -> tuple[float, float]:
        """KL at the answer of unambiguous prompts, nats, and the accuracy there, alone; (0, 1) where there are none."""
        with self._steered(intervention):
            return self._unambiguous()

    def _steered(self, intervention: Intervention | None) -> AbstractContextManager[object]:
        return nullcontext() if intervention is None else attach(self._loaded, intervention)

    def _bias(self) -> float:
        scores = score_options(self._loaded, self._encoded)
        return _bias(scores, self._ambiguous, self._outcomes, self._target)

    def _kl(self) -> float:
        return score_text(self._loaded, self._text).mean_kl

    def _unambiguous(self) -> tuple[float, float]:
        if not self._clear:
            return 0.0, 1.0
        right = np.array([item.answer for item in self._clear])
        now = _next_tokens(self._loaded, self._clear_encoded)
        moved = (now.exp() * (now - self._clear_before)).sum(1).mean()
        return max(float(moved), 0.0), float((self._choice(now) == right).mean())

    def _choice(self, now: Tensor) -> NDArray[np.int64]:
        """The most probable option of each unambiguous item; what was computed already answers one-token options."""
        if not all(item.single for item in self._clear_encoded):
            return score_options(self._loaded, self._clear_encoded).choice
        rows = zip(now, self._clear_encoded, strict=True)
        return np.array([int(logp[[t for (t,) in item.options]].argmax()) for logp, item in rows])


def _bias(
    scores: OptionScores, items: Sequence[Item], outcomes: Sequence[str], target: Sequence[float] | None
) -> float:
    found = per_occupation_bias(responses(scores, items, outcomes, target))
    return math.inf if found is None else found


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
