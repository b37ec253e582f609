"""From a model and held-out items to what metrics are computed from: answers, judgements, text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..methods.mitigation import Mitigation, rewritten
from ..metrics import UNANSWERED, Judgements, Responses, Texts
from ..models import LoadedModel
from ..scoring import (
    EncodedItem,
    Journal,
    OptionScores,
    TextReference,
    answer_tokens,
    encode_all,
    encode_passages,
    plain_ids,
    responses,
    score_options,
    score_text,
    text_reference,
    text_tokens,
)
from ..tasks import Item, Task, limited, set_aside
from .kept import Kind, data_of
from .ledger import Ledger

Which = Literal["heldout", "validation"]
Share = Literal["calibration", "report"]


@dataclass(frozen=True, eq=False)
class Answers:
    """What the model answers to one task's items of one seed.

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
class Acting:
    """What steers, and what is told about measurements with it: what they cost, and what they gave."""

    ledger: Ledger
    mitigation: Mitigation | None = None
    strength: float = 0.0

    def journal(self, kind: Kind, data: Callable[[], str]) -> Journal | None:
        """Where the numbers of ``data`` are kept; None if they aren't."""
        kept = self.ledger.kept
        return None if kept is None else kept.journal(kind, data(), self.mitigation, self.strength)


@dataclass(frozen=True, eq=False)
class Questions:
    """One set of a task's split, by default the held-out one, for several seeds, each item once."""

    task: Task
    items: tuple[Item, ...]
    rows: Mapping[int, NDArray[np.intp]]
    which: Which = "heldout"

    @classmethod
    def of(
        cls,
        task: Task,
        seeds: Sequence[int],
        limit: int | None = None,
        which: Which = "heldout",
        share: Share | None = None,
    ) -> Questions:
        """The sets of ``seeds``, at most ``limit`` items of each part in each; of the held-out one perhaps only a part.

        Raises :class:`InputError` if nothing can be held out, or a seed has no ambiguous item.
        """
        place: dict[str, int] = {}
        items: list[Item] = []
        rows = {}
        for seed in seeds:
            split = task.split(seed, None if share else limit)
            asked = split.heldout if which == "heldout" else split.validation
            if share:
                side = set_aside(task, asked, seed)[0 if share == "calibration" else 1]
                asked = tuple(side if limit is None else limited(task.name, share, side, limit, seed))
            if not any(item.part == "ambiguous" for item in asked):
                place_of = "" if which == "heldout" else f"{which} "
                raise InputError(
                    f"task {task.name!r} has no ambiguous {place_of}item to measure bias on (seed {seed})"
                )
            for item in asked:
                if item.id not in place:
                    place[item.id] = len(items)
                    items.append(item)
            rows[seed] = np.array([place[item.id] for item in asked], dtype=np.intp)
        return cls(task, tuple(items), rows, which)

    def encode(self, loaded: LoadedModel) -> list[EncodedItem]:
        """All items as the model's tokens, in order. Raises :class:`InputError` for options that are not distinct."""
        return encode_all(loaded, self.items)

    def encode_for(
        self, loaded: LoadedModel, encoded: Sequence[EncodedItem], mitigation: Mitigation, strength: float
    ) -> Sequence[EncodedItem]:
        """The items as the mitigation wants them asked; ``encoded`` itself where it leaves every prompt alone."""
        asked = rewritten(mitigation, self.items, strength)
        if all(now.prompt == before.prompt for now, before in zip(asked, self.items, strict=True)):
            return encoded
        return encode_all(loaded, asked)

    def of_part(self, part: str, seed: int) -> NDArray[np.intp]:
        """The rows of one part in one seed's set."""
        return np.array([row for row in self.rows[seed] if self.items[row].part == part], dtype=np.intp)

    def measure(
        self,
        loaded: LoadedModel,
        encoded: Sequence[EncodedItem],
        *,
        seeds: Sequence[int] | None = None,
        acting: Acting | None = None,
        mitigation: Mitigation | None = None,
        strength: float = 0.0,
    ) -> dict[int, Answers]:
        """Score the items with whatever steers now; what several seeds hold out is scored once.

        Args:
            loaded: the model.
            encoded: what :meth:`encode` gave for it.
            seeds: of these seeds only.
            acting: what steers now, and where that is written down; None keeps nothing.
            mitigation, strength: what steers now, so that it may adjust the scores.
        """
        wanted = tuple(self.rows) if seeds is None else tuple(seeds)
        needed = sorted({int(row) for seed in wanted for row in self.rows[seed]})
        asked = [encoded[row] for row in needed]
        journal = None
        if acting is not None:
            acting.ledger.count(answer_tokens(loaded, asked))
            journal = acting.journal("answers", lambda: data_of([self.items[row] for row in needed], asked))
        scores = score_options(loaded, asked, journal=journal)
        if mitigation is not None:
            scores = mitigation.adjust(scores, [self.items[row] for row in needed], strength)
        position = {row: index for index, row in enumerate(needed)}
        return {seed: self._answers(scores, position, seed) for seed in wanted}

    def _answers(self, scores: OptionScores, position: Mapping[int, int], seed: int) -> Answers:
        ambiguous, unambiguous = (self.of_part(part, seed) for part in ("ambiguous", "unambiguous"))
        items = [self.items[row] for row in ambiguous]
        index = [position[row] for row in ambiguous]
        picked = OptionScores(scores.logp[index], scores.begins[index])
        chosen = responses(picked, items, self.task.outcomes, self.task.target)
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

    @property
    def data(self) -> str:
        """A hash of the passages' tokens."""
        return hashlib.sha256(repr(self._passages()).encode()).hexdigest()

    def _passages(self) -> list[list[int]]:
        return [passage for batch in self.reference.batches for passage in batch.tolist()]

    def measure(self, loaded: LoadedModel, *, before: str = "", acting: Acting | None = None) -> TextMeasure:
        """Score the passages with whatever steers now; see :func:`equipoise.scoring.score_text`."""
        journal = None
        if acting is not None:
            opening = len(plain_ids(loaded.tokenizer, before))
            acting.ledger.count(text_tokens(self._passages(), before=opening))
            journal = acting.journal("text", lambda: f"{self.data} {before}".strip())
        scores = score_text(loaded, self.reference, before=before, journal=journal)
        return TextMeasure(
            Texts(scores.nll, scores.tokens, self.names), Texts(scores.kl, scores.tokens, self.names)
        )


@dataclass(frozen=True, eq=False)
class Asked:
    """Questions as a model's tokens."""

    questions: Questions
    encoded: Sequence[EncodedItem]

    @classmethod
    def of(cls, loaded: LoadedModel, questions: Questions) -> Asked:
        """See :meth:`Questions.encode`."""
        return cls(questions, questions.encode(loaded))


def measure_at(
    loaded: LoadedModel,
    asked: Sequence[Asked],
    text: PlainText,
    mitigation: Mitigation,
    strength: float,
    seeds: Sequence[int],
    ledger: Ledger | None = None,
) -> tuple[list[dict[int, Answers]], TextMeasure]:
    """Everything at one strength of one mitigation: the answers, one entry of ``asked`` after the other, and the text.

    An instruction stands before the text as it stands before a prompt that is no chat, so that it pays for what it does
    to other text like everything else.
    """
    acting = None if ledger is None else Acting(ledger, mitigation, strength)
    with mitigation.attach(loaded, strength):
        answers = [
            one.questions.measure(
                loaded,
                one.questions.encode_for(loaded, one.encoded, mitigation, strength),
                seeds=seeds,
                acting=acting,
                mitigation=mitigation,
                strength=strength,
            )
            for one in asked
        ]
        return answers, measure_text(loaded, text, mitigation, strength, ledger)


def measure_text(
    loaded: LoadedModel,
    text: PlainText,
    mitigation: Mitigation,
    strength: float,
    ledger: Ledger | None = None,
) -> TextMeasure:
    """The text alone; call it while the mitigation is attached at this strength."""
    before = str(mitigation.rewrite("", strength))
    acting = None if ledger is None else Acting(ledger, mitigation, strength)
    return text.measure(loaded, before=before, acting=acting)
