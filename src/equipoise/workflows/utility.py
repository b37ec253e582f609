"""Utility: questions about images with known answers, without and with a mitigation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .. import scoring
from ..files import json_text, write_atomic
from ..interventions import refuse_steered
from ..methods.mitigation import Mitigation, rewritten
from ..metrics import Bootstrap, Estimate, Shares, TooFewClusters, mean_share, vqa_accuracy
from ..models import LoadedModel, load
from ..scoring import score_options
from ..tasks import Item, OpenQuestion, load_questions
from ..tasks.questions import NEW_TOKENS, first_line
from ..versions import versions
from .estimates import mean_of_shares
from .inputs import Source, check_count, check_level, check_strengths, free_output, the_mitigations
from .progress import Report, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class UtilityRow:
    """Accuracy at one strength; ``change`` is the paired difference to the base model, None for it."""

    mitigation: str | None
    strength: float
    accuracy: Estimate
    change: Estimate | None


@dataclass(frozen=True)
class UtilityResults:
    """What :func:`utility` measured; :meth:`to_dict` is the file that it writes."""

    model: str
    task: str
    n: int
    file: str | None
    rows: tuple[UtilityRow, ...]
    answers: tuple[dict[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        rows = [
            {
                "mitigation": one.mitigation,
                "strength": one.strength,
                "accuracy": one.accuracy.as_dict(),
                "change": None if one.change is None else one.change.as_dict(),
            }
            for one in self.rows
        ]
        return {"schema": 1, "kind": "utility", **asdict(self), "rows": rows, "versions": versions()}


def utility(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    task: str,
    *,
    intervention: Source | None = None,
    strengths: Sequence[float] = (1.0,),
    limit: int | None = 200,
    level: float = 0.95,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    progress: Report = silent,
) -> UtilityResults:
    """Accuracy on VQAv2 (greedy answers, its own accuracy) or MMMU (the likeliest letter), base and mitigated.

    Args:
        source: see :func:`equipoise.models.load`.
        task: ``vqa:PATH`` or ``mmmu:PATH``; see :func:`equipoise.tasks.load_questions`.
        intervention: a value (or any mitigation), a file, or a sum of files, at each of ``strengths``.
        limit: at most so many questions, evenly spread over the files; None takes all.
        level: coverage of the intervals, over images (VQAv2) or subjects (MMMU); there is none with fewer than five.
        out: a ``.json`` file to write; ``force`` overwrites one that exists.
        progress: called with the share done and a message.

    Raises :class:`InputError` for bad input, before the model is loaded where possible.
    """
    target = None if out is None else free_output(out, force=force, suffix=".json")
    lambdas = [strength for strength in check_strengths(strengths) if strength > 0]
    check_count(limit, "the limit")
    check_level(level)
    found, name = None, None
    if intervention is not None:
        given, name = the_mitigations(intervention, [0])
        found = given[0]
    kind, asked = load_questions(task)
    places = np.linspace(0, len(asked) - 1, min(len(asked), limit or len(asked))).round().astype(int)
    questions = [asked[int(place)] for place in places]
    progress(0.0, "loading the model")
    loaded = load(source, dtype=dtype, device=device)
    refuse_steered(loaded)
    if found is not None:
        found.check(loaded)
    groups = [one.groups[0] if isinstance(one, Item) else one.group for one in questions]
    settings: list[tuple[Mitigation | None, float]] = [(None, 0.0)]
    settings += [(found, strength) for strength in lambdas if found is not None]
    said: list[list[str]] = []
    values: list[np.ndarray] = []
    for number, (mitigation, strength) in enumerate(settings):
        progress(number / len(settings), f"asking {len(questions)} questions, λ = {strength:g}")
        answers, right = _asked(loaded, questions, mitigation, strength)
        said.append(answers)
        values.append(right)
    rows = tuple(
        UtilityRow(
            None if mitigation is None else mitigation.method,
            strength,
            mean_of_shares(right, groups, level),
            None if mitigation is None else _change(right, values[0], groups, level),
        )
        for (mitigation, strength), right in zip(settings, values, strict=True)
    )
    shown = tuple(
        {
            "id": one.id,
            **{f"{strength:g}": text[row] for (_, strength), text in zip(settings, said, strict=True)},
        }
        for row, one in enumerate(questions[:20])
    )
    results = UtilityResults(loaded.name, kind, len(questions), name, rows, shown)
    if target is not None:
        write_atomic(target, json_text(results.to_dict()), force=force)
    progress(1.0, "done")
    return results


def _asked(
    loaded: LoadedModel,
    questions: Sequence[OpenQuestion | Item],
    mitigation: Mitigation | None,
    strength: float,
) -> tuple[list[str], np.ndarray]:
    """The answers, and how right each is, [n] in [0, 1]."""
    choices = [one for one in questions if isinstance(one, Item)]
    with nullcontext() if mitigation is None else mitigation.attach(loaded, strength):
        if choices:
            items = choices if mitigation is None else rewritten(mitigation, choices, strength)
            scores = score_options(loaded, items)
            if mitigation is not None:
                scores = mitigation.adjust(scores, items, strength)
            picked = [int(choice) for choice in scores.choice]
            right = [float(k == one.answer) for k, one in zip(picked, choices, strict=True)]
            return [one.options[k] for k, one in zip(picked, choices, strict=True)], np.array(right)
        free = [one for one in questions if isinstance(one, OpenQuestion)]
        prompts = [
            one.prompt if mitigation is None else mitigation.rewrite(one.prompt, strength) for one in free
        ]
        texts = scoring.generate(
            loaded, prompts, images=[one.images for one in free], max_new_tokens=NEW_TOKENS
        )
    found = [first_line(text) for text in texts]
    return found, np.array([vqa_accuracy(text, one.humans) for text, one in zip(found, free, strict=True)])


def _change(now: np.ndarray, before: np.ndarray, groups: Sequence[str], level: float) -> Estimate:
    try:
        return Bootstrap(set(groups), level=level).difference(
            mean_share, Shares(now, groups), Shares(before, groups)
        )
    except TooFewClusters:
        return Estimate.alone((now - before).mean(), len(now))
