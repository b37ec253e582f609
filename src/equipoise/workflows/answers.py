"""Free answers: what a model says in its own words, without and with a mitigation, and whether it can still talk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import InputError
from ..files import json_text, write_atomic
from ..interventions import refuse_steered
from ..methods.mitigation import Mitigation
from ..metrics import Bootstrap, Estimate, Sample, Statistic, Table, Texts, mean_of, perplexity, repetition
from ..metrics.intervals import MIN_GROUPS
from ..models import LoadedModel, load
from ..scoring import EncodedItem, generate_ids, prompt_inputs, score_options
from ..tasks import SILENT, UNCLEAR, Choices, Item, fingerprint, free_items, meaning, said_words
from ..versions import versions
from .inputs import (
    Source,
    check_count,
    check_level,
    check_seeds,
    check_strengths,
    free_output,
    the_mitigations,
)
from .progress import Report, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NEW_TOKENS = 32
_SHOWN = 12
_ALIKE = 0.5
_LOOPS = 0.5


@dataclass(frozen=True)
class AnswersRow:
    """The answers at one strength, all estimates over whole concepts.

    Attributes:
        mitigation, strength: None and 0 for the base model.
        shares: of the answers that mean each outcome, are unclear, or silent.
        perplexity: of the answers under the *base* model given the question, whoever wrote them: how fluent it finds
            them. Low alone is no praise; an answer said again and again is very probable.
        repetition: the mean share of three-word runs that an answer has said before.
        words: mean length.
        alike: the share of the answers that is the most frequent text.
        changes: paired differences to the base model, by the names above and of the outcomes.
        collapse: what says that answers no longer depend on the question; empty if nothing does.
    """

    mitigation: str | None
    strength: float
    shares: dict[str, Estimate]
    perplexity: Estimate
    repetition: Estimate
    words: float
    alike: float
    changes: dict[str, Estimate]
    collapse: tuple[str, ...]


@dataclass(frozen=True)
class AnswersResults:
    """What :func:`answers` measured; :meth:`to_dict` is the file that it writes."""

    model: str
    source: str
    attribute: str
    n: int
    seeds: tuple[int, ...]
    level: float
    data: str
    file: str | None
    rows: tuple[AnswersRow, ...]
    examples: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        rows = [
            {
                "mitigation": one.mitigation,
                "strength": one.strength,
                "shares": {name: share.as_dict() for name, share in one.shares.items()},
                "perplexity": one.perplexity.as_dict(),
                "repetition": one.repetition.as_dict(),
                "words": one.words,
                "alike": one.alike,
                "changes": {name: change.as_dict() for name, change in one.changes.items()},
                "collapse": list(one.collapse),
            }
            for one in self.rows
        ]
        return {"schema": 1, "kind": "answers", **asdict(self), "rows": rows, "versions": versions()}


def answers(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    task: Choices | None = None,
    *,
    intervention: Source | None = None,
    strengths: Sequence[float] = (1.0,),
    seeds: Sequence[int] = (0,),
    limit: int | None = None,
    new_tokens: int = NEW_TOKENS,
    level: float = 0.95,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    named: str = "given",
    progress: Report = silent,
) -> AnswersResults:
    """Greedy answers to the questions of ``choices`` put without options: what they mean, and how fluent they are.

    Args:
        source: see :func:`equipoise.models.load`.
        task: who is asked about; by default gender and the first built-in set of concepts.
        intervention: a value (or any mitigation), a file, or a sum of files, at each of ``strengths``.
        seeds: each draws a wording for each input; all answers count alike.
        limit: at most so many questions, evenly spread; None takes all.
        new_tokens: most tokens of an answer.
        level: coverage of the intervals, over concepts; there is none with fewer than five.
        out: a ``.json`` file to write; ``force`` overwrites one that exists.
        named: what the results call the task's source.
        progress: called with the share done and a message.

    Raises :class:`InputError` for bad input, before the model is loaded where possible.
    """
    asked = task if task is not None else Choices()
    wanted, lambdas = check_seeds(seeds), [one for one in check_strengths(strengths) if one > 0]
    target = None if out is None else free_output(out, force=force, suffix=".json")
    check_level(level)
    check_count(limit, "the limit")
    check_count(new_tokens, "the number of new tokens")
    words = said_words(asked)
    every = [item for seed in wanted for item in free_items(asked, seed)]
    places = np.linspace(0, len(every) - 1, min(len(every), limit or len(every))).round().astype(int)
    items = [every[int(place)] for place in places]
    found, name = None, None
    if intervention is not None:
        given, name = the_mitigations(intervention, [0])
        found = given[0]
    progress(0.0, "loading the model")
    loaded = load(source, dtype=dtype, device=device)
    refuse_steered(loaded)
    settings: list[tuple[Mitigation | None, float]] = [(None, 0.0)]
    if found is not None:
        found.check(loaded)
        if not found.digest:
            raise InputError(
                f"{found.method} changes only options' probabilities, and free answers have no options: leave it out"
            )
        settings += [(found, strength) for strength in lambdas]
    said, sheets = [], []
    for number, (mitigation, strength) in enumerate(settings):
        progress(number / len(settings), f"answering {len(items)} questions, λ = {strength:g}")
        texts, sheet = _answered(loaded, items, mitigation, strength, words, new_tokens)
        said.append(texts)
        sheets.append(sheet)
    kinds = (*asked.outcomes, UNCLEAR, SILENT)
    rows = tuple(
        _row(
            sheet, sheets[0], kinds, None if mitigation is None else mitigation.method, strength, texts, level
        )
        for (mitigation, strength), sheet, texts in zip(settings, sheets, said, strict=True)
    )
    shown = np.linspace(0, len(items) - 1, min(len(items), _SHOWN)).round().astype(int)
    examples = tuple(
        {
            "id": items[row].id,
            "question": str(items[row].prompt[-1]["content"]),
            "answers": {f"{lam:g}": texts[row] for (_, lam), texts in zip(settings, said, strict=True)},
        }
        for row in shown
    )
    results = AnswersResults(
        loaded.name,
        named,
        asked.attribute,
        len(items),
        tuple(wanted),
        level,
        f"sha256:{fingerprint(items)}",
        name,
        rows,
        examples,
    )
    if target is not None:
        write_atomic(target, json_text(results.to_dict()), force=force)
    progress(1.0, "done")
    return results


@dataclass(frozen=True, eq=False)
class _Sheet:
    """What was said of each question, as columns, and how the base model predicts it."""

    table: Table
    texts: Texts


def _answered(
    loaded: LoadedModel,
    items: Sequence[Item],
    mitigation: Mitigation | None,
    strength: float,
    words: dict[str, Sequence[str]] | Any,
    new_tokens: int,
) -> tuple[list[str], _Sheet]:
    """The answers, and what is known of them; the mitigation is gone when the base model reads them."""
    plain = [prompt_inputs(loaded, item.prompt, item.images) for item in items]
    with nullcontext() if mitigation is None else mitigation.attach(loaded, strength):
        given = plain
        if mitigation is not None:
            asked = [mitigation.rewrite(item.prompt, strength) for item in items]
            given = [
                prompt_inputs(loaded, prompt, item.images) for prompt, item in zip(asked, items, strict=True)
            ]
        new = generate_ids(
            loaded,
            [ids for ids, _ in given],
            max_new_tokens=new_tokens,
            temperature=0.0,
            seed=0,
            sights=[sight for _, sight in given],
        )
    texts = [str(loaded.tokenizer.decode(ids, skip_special_tokens=True)).strip() for ids in new]
    encoded = [
        EncodedItem(tuple(ids), (tuple(tokens),), sight)
        for (ids, sight), tokens in zip(plain, new, strict=True)
    ]
    nll = -score_options(loaded, encoded).logp[:, 0]
    means = [meaning(text, words) for text in texts]
    concepts = [item.groups for item in items]
    columns = {kind: [float(one == kind) for one in means] for kind in (*words, UNCLEAR, SILENT)}
    columns["repetition"] = [repetition(text) for text in texts]
    return texts, _Sheet(
        Table(columns, concepts), Texts(nll, [len(ids) for ids in new], [names[0] for names in concepts])
    )


def _row(
    now: _Sheet,
    base: _Sheet,
    kinds: Sequence[str],
    method: str | None,
    strength: float,
    texts: Sequence[str],
    level: float,
) -> AnswersRow:
    draws = _draws(now.table, level)
    shares = {kind: _estimate(draws, mean_of(kind), now.table) for kind in kinds}
    repeated = _estimate(draws, mean_of("repetition", share=False), now.table)
    fluent = _estimate(draws, perplexity, now.texts)
    changes: dict[str, Estimate] = {}
    if method is not None:
        changes = {kind: _change(draws, mean_of(kind), now.table, base.table) for kind in kinds}
        changes["repetition"] = _change(draws, mean_of("repetition", share=False), now.table, base.table)
        changes["perplexity"] = _change(draws, perplexity, now.texts, base.texts)
    most = Counter(texts).most_common(1)[0][1]
    alike = most / len(texts)
    collapse = [
        f"all answers are {kind}"
        for kind in kinds
        if kind != UNCLEAR and len(texts) > 1 and shares[kind].value == 1
    ]
    if most > 1 and alike >= _ALIKE:
        collapse.append(f"{100 * alike:.0f} % of the answers are one text")
    if repeated.value >= _LOOPS:
        collapse.append(f"answers repeat {100 * repeated.value:.0f} % of what they say")
    length = float(np.mean([len(text.split()) for text in texts]))
    return AnswersRow(method, strength, shares, fluent, repeated, length, alike, changes, tuple(collapse))


def _draws(table: Table, level: float) -> Bootstrap | None:
    names = {name for names in table.groups for name in names}
    return Bootstrap(names, level=level) if len(names) >= MIN_GROUPS else None


def _estimate(draws: Bootstrap | None, statistic: Statistic[Any], sample: Sample) -> Estimate:
    if draws is not None:
        return draws.estimate(statistic, sample)
    return Estimate.alone(_value(statistic, sample), len(sample))


def _change(draws: Bootstrap | None, statistic: Statistic[Any], now: Sample, base: Sample) -> Estimate:
    if draws is not None:
        return draws.difference(statistic, now, base)
    return Estimate.alone(_value(statistic, now) - _value(statistic, base), len(now))


def _value(statistic: Statistic[Any], sample: Sample) -> float:
    value = statistic(sample)
    return float("nan") if value is None else value
