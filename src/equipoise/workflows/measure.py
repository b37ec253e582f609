"""From a model and held-out items to what metrics are computed from: answers, judgements, text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..metrics import UNANSWERED, Judgements, Responses, Texts
from ..models import LoadedModel
from ..scoring import (
    EncodedItem,
    OptionScores,
    TextReference,
    encode_all,
    encode_passages,
    responses,
    score_options,
    score_text,
    text_reference,
)
from ..tasks import Item, Task


@dataclass(frozen=True, eq=False)
class Answers:
    """What the model answers to one task's held-out items of one seed.

    Attributes:
        responses: the ambiguous items; ``greedy`` is the most probable of the options, so it abstains only where
            all of them have no probability at all.
        said: the same, but ``greedy`` abstains where the single most probable next token begins none of the options.
        judged: the unambiguous items, right where the most probable option is the right one, beside the task's
            trivial baselines; None if the task has no such items.
    """

    responses: Responses
    said: Responses
    judged: Judgements | None


@dataclass(frozen=True, eq=False)
class Heldout:
    """The held-out items of a task for several seeds, each item once."""

    task: Task
    items: tuple[Item, ...]
    rows: Mapping[int, NDArray[np.intp]]

    @classmethod
    def of(cls, task: Task, seeds: Sequence[int], limit: int | None = None) -> Heldout:
        """The held-out sets of ``seeds``, at most ``limit`` items of each part in each.

        Raises :class:`InputError` if nothing can be held out, or a seed has no ambiguous item.
        """
        place: dict[str, int] = {}
        items: list[Item] = []
        rows = {}
        for seed in seeds:
            heldout = task.split(seed, limit).heldout
            if not any(item.part == "ambiguous" for item in heldout):
                raise InputError(f"task {task.name!r} has no ambiguous item to measure bias on (seed {seed})")
            for item in heldout:
                if item.id not in place:
                    place[item.id] = len(items)
                    items.append(item)
            rows[seed] = np.array([place[item.id] for item in heldout], dtype=np.intp)
        return cls(task, tuple(items), rows)

    def encode(self, loaded: LoadedModel) -> list[EncodedItem]:
        """All items as the model's tokens, in order. Raises :class:`InputError` for options that are not distinct."""
        return encode_all(loaded, self.items)

    def of_part(self, part: str, seed: int) -> NDArray[np.intp]:
        """The rows of one part in one seed's set."""
        return np.array([row for row in self.rows[seed] if self.items[row].part == part], dtype=np.intp)

    def measure(
        self,
        loaded: LoadedModel,
        encoded: Sequence[EncodedItem],
        *,
        seeds: Sequence[int] | None = None,
    ) -> dict[int, Answers]:
        """Score the items with whatever steers now; what several seeds hold out is scored once.

        Args:
            loaded: the model.
            encoded: what :meth:`encode` gave for it.
            seeds: of these seeds only.
        """
        wanted = tuple(self.rows) if seeds is None else tuple(seeds)
        needed = sorted({int(row) for seed in wanted for row in self.rows[seed]})
        scores = score_options(loaded, [encoded[row] for row in needed])
        position = {row: index for index, row in enumerate(needed)}
        return {seed: self._answers(scores, position, seed) for seed in wanted}

    def _answers(self, scores: OptionScores, position: Mapping[int, int], seed: int) -> Answers:
        ambiguous, unambiguous = (self.of_part(part, seed) for part in ("ambiguous", "unambiguous"))
        items = [self.items[row] for row in ambiguous]
        index = [position[row] for row in ambiguous]
        chosen = responses(OptionScores(scores.logp[index], scores.begins[index]), items, self.task.outcomes)
        said = replace(chosen, greedy=np.where(scores.begins[index], chosen.greedy, UNANSWERED))
        return Answers(chosen, said, self._judged(scores, position, unambiguous))

    def _judged(
        self, scores: OptionScores, position: Mapping[int, int], rows: NDArray[np.intp]
    ) -> Judgements | None:
        if not len(rows):
            return None
        items = [self.items[row] for row in rows]
        index = [position[row] for row in rows]
        answered = scores.logp[index].max(1) > -np.inf
        right = scores.choice[index] == np.array([item.answer for item in items])
        return Judgements(
            (right & answered).astype(float),
            [item.groups for item in items],
            [item.template for item in items],
            {name: hits.astype(float) for name, hits in self.task.baselines(items).items()},
        )


@dataclass(frozen=True, eq=False)
class TextMeasure:
    """Negative log-likelihood and KL to the base model on the same passages."""

    likelihood: Texts
    divergence: Texts


@dataclass(frozen=True, eq=False)
class PlainText:
    """Passages on which an edit should change nothing, and how the base model predicts them."""

    reference: TextReference

    @classmethod
    def of(cls, loaded: LoadedModel, texts: Sequence[str], *, passages: int, length: int) -> PlainText:
        """The first ``length`` tokens of the first ``passages`` texts that have so many; call it unsteered.

        Raises :class:`InputError` if none is long enough.
        """
        found = encode_passages(loaded, texts, length=length)[:passages]
        return cls(text_reference(loaded, found))

    @property
    def names(self) -> list[str]:
        """A name for each passage: the clusters of intervals."""
        return [f"passage {number}" for number in range(self.reference.passages)]

    def measure(self, loaded: LoadedModel) -> TextMeasure:
        """Score the passages with whatever steers now; see :func:`equipoise.scoring.score_text`."""
        scores = score_text(loaded, self.reference)
        return TextMeasure(
            Texts(scores.nll, scores.tokens, self.names), Texts(scores.kl, scores.tokens, self.names)
        )
