"""Ask a model the multiple-choice questions, without and with an intervention, for several seeds of wordings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError
from ..files import json_text, write_atomic
from ..interventions import refuse_steered
from ..methods.mitigation import Mitigation, rewritten
from ..metrics import ChoiceScores, choice_scores
from ..models import LoadedModel, load
from ..scoring import EncodedItem, by_outcome, encode_all, first_words, score_options
from ..tasks import Choices, Item, fingerprint
from ..versions import versions
from .inputs import Source, check_seeds, check_strengths, free_output, the_mitigations
from .progress import Report, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SEEDS = (0, 1, 2, 3, 4)
Score = Literal["probability", "paper"]


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n − 1) over seeds; the deviation is None for one seed."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class ChoiceRow:
    """The answers to one kind of input at one strength, over all seeds.

    Attributes:
        setting: none, one of the attribute's values, both; None for all of them.
        modality: text or image; None for both.
        strength: λ; 0 is the base model.
        fairness, kl, mass: see :class:`equipoise.metrics.ChoiceScores`.
        proportions: share of the answers of each outcome.
        degenerate: whether in some seed all answers meant the same.
        n: answers of one seed.
    """

    setting: str | None
    modality: str | None
    strength: float
    fairness: Spread
    kl: Spread
    mass: Spread
    proportions: dict[str, Spread]
    degenerate: bool
    n: int


@dataclass(frozen=True)
class ChoiceResults:
    """What ``choices`` measured; :meth:`to_dict` is the file that it writes."""

    model: str
    source: str
    attribute: str
    outcomes: tuple[str, ...]
    concepts: int
    shuffled: bool
    score: str
    seeds: tuple[int, ...]
    data: str
    file: str | None
    rows: tuple[ChoiceRow, ...]

    def row(self, strength: float, setting: str | None = None, modality: str | None = None) -> ChoiceRow:
        """The row of this strength and input. Raises KeyError if there is none."""
        for row in self.rows:
            if (row.strength, row.setting, row.modality) == (strength, setting, modality):
                return row
        raise KeyError((strength, setting, modality))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"schema": 1, "task": "choices", **asdict(self), "versions": versions()}


def choices(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    task: Choices | None = None,
    *,
    intervention: Source | None = None,
    strengths: Sequence[float] = (1.0,),
    seeds: Sequence[int] = SEEDS,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    score: Score = "probability",
    named: str = "given",
    progress: Report = silent,
) -> ChoiceResults:
    """The share and confidence of fair answers by input, mean ± standard deviation over template seeds.

    Args:
        source: see :func:`equipoise.models.load`.
        task: what is asked; by default about gender and the first built-in set of concepts.
        intervention: a value (or any mitigation), a file, or a sum of files, measured at each of ``strengths`` beside
            the base model.
        strengths: λ ≥ 0.
        seeds: each draws a template for each input.
        out: a ``.json`` file to write; ``force`` overwrites one that exists.
        score: ``probability``, what each class's options have together; or ``paper``, sums of first tokens' logits and
            the greedy first word (:func:`equipoise.scoring.first_words`).
        named: what the results call the task's source.
        progress: called with the share done and what is being done.

    Raises :class:`InputError` for bad input, before any work is done where possible; for a model without images asked
    about images, naming the item.
    """
    asked = task if task is not None else Choices()
    wanted = check_seeds(seeds)
    check_score(score)
    target = None if out is None else free_output(out, force=force, suffix=".json")
    lambdas = [0.0]
    found, name = None, None
    if intervention is not None:
        given, name = the_mitigations(intervention, [0])
        found = given[0]
        lambdas += [strength for strength in check_strengths(strengths) if strength > 0]
    loaded = load(source, dtype=dtype, device=device)
    refuse_steered(loaded)
    if found is not None:
        found.check(loaded)
        if score == "paper" and found.adjusts:
            raise InputError(
                f"the score paper reads logits, and {found.method} changes only options' probabilities: leave it out"
            )
    progress(0.0, "reading the questions")
    items = [asked.items(seed) for seed in wanted]
    every = [item for one in items for item in one]
    encoded = encode_all(loaded, every)
    rows: list[ChoiceRow] = []
    for number, strength in enumerate(lambdas):
        progress((number + 0.1) / len(lambdas), f"strength {strength:g}")
        if found is None or not strength:
            table, answers = _answers(loaded, every, encoded, asked.outcomes, score)
        else:
            again = rewritten(found, every, strength)
            kept = all(now.prompt == before.prompt for now, before in zip(again, every, strict=True))
            with found.attach(loaded, strength):
                seen = encoded if kept else encode_all(loaded, again)
                table, answers = _answers(loaded, every, seen, asked.outcomes, score, found, strength)
        ends = np.cumsum([len(one) for one in items])[:-1]
        parts = zip(items, np.split(table, ends), np.split(answers, ends), strict=True)
        rows += _rows(list(parts), asked, strength)
    results = ChoiceResults(
        loaded.name,
        named,
        asked.attribute,
        asked.outcomes,
        len(asked.concepts),
        asked.shuffle,
        score,
        tuple(wanted),
        f"sha256:{fingerprint(every)}",
        name,
        tuple(rows),
    )
    if target is not None:
        write_atomic(target, json_text(results.to_dict()), force=force)
    progress(1.0, "done")
    return results


def _answers(
    loaded: LoadedModel,
    items: Sequence[Item],
    encoded: Sequence[EncodedItem],
    outcomes: Sequence[str],
    score: Score,
    mitigation: Mitigation | None = None,
    strength: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """[n, 3] confidence of each class, and [n] which was answered, with whatever steers now."""
    if score == "paper":
        return first_words(loaded, items, encoded, outcomes)
    scores = score_options(loaded, encoded)
    if mitigation is not None:
        scores = mitigation.adjust(scores, items, strength)
    table = by_outcome(scores.probabilities, items, outcomes)
    return table, table.argmax(1)


def _rows(
    parts: Sequence[tuple[Sequence[Item], NDArray[np.float64], NDArray[np.intp]]],
    task: Choices,
    strength: float,
) -> list[ChoiceRow]:
    first = parts[0][0]
    kinds = dict.fromkeys((str(i.metadata["setting"]), str(i.metadata["modality"])) for i in first)
    modalities = dict.fromkeys(modality for _, modality in kinds)
    inputs: list[tuple[str | None, str | None]] = [*kinds, *((None, one) for one in modalities)]
    if len(modalities) > 1:
        inputs.append((None, None))
    found = []
    for setting, modality in inputs:
        scores = []
        for one, table, answers in parts:
            keep = [
                (setting in (None, item.metadata["setting"]))
                and modality in (None, item.metadata["modality"])
                for item in one
            ]
            scores.append(choice_scores(table[keep], answers[keep]))
        found.append(_row(scores, setting, modality, strength, task.outcomes))
    return found


def _row(
    scores: Sequence[ChoiceScores],
    setting: str | None,
    modality: str | None,
    strength: float,
    outcomes: Sequence[str],
) -> ChoiceRow:
    return ChoiceRow(
        setting,
        modality,
        strength,
        _spread([one.fairness for one in scores]),
        _spread([one.kl for one in scores]),
        _spread([one.mass for one in scores]),
        {
            outcome: _spread([float(one.proportions[place]) for one in scores])
            for place, outcome in enumerate(outcomes)
        },
        any(one.degenerate for one in scores),
        scores[0].n,
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def read_choices(source: str, attribute: str, prompts: str | None, *, shuffle: bool = False) -> Choices:
    """The task that a command line names."""
    if prompts is not None and not Path(prompts).is_file():
        raise InputError(f"there is no file of prompts {prompts}")
    return Choices(source, attribute, prompts, shuffle=shuffle)


def check_score(text: str) -> Score:
    """The score that a command line names. Raises :class:`InputError` for another."""
    for one in get_args(Score):
        if one == text:
            return cast(Score, one)
    raise InputError(f"there is no score {text!r}: use {' or '.join(get_args(Score))}")
