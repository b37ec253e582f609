"""Layers: what each block's residual stream would answer, and how often its two residuals disagree."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch

from .. import metrics
from ..analysis import FirstTokens, Streams, last_logprobs, lens, read_streams
from ..errors import InputError
from ..files import write_atomic
from ..interventions import refuse_steered
from ..methods.evaluation import in_evaluation
from ..methods.mitigation import rewritten
from ..methods.orientation import oriented
from ..methods.res_fair import fair_labels
from ..metrics import Bootstrap, Estimate, Responses, Shares, TooFewClusters
from ..models import LoadedModel, describe, load
from ..reports import Layer, LayerCurve, LayerResults, render_layers
from ..scoring import EncodedItem, encode_all
from ..tasks import Item, Task, fingerprint, load_task, target_shares
from ..versions import equipoise_version, versions
from .cautions import warn_of_seeds
from .inputs import (
    Source,
    check_count,
    check_level,
    check_seeds,
    check_strengths,
    free_outputs,
    the_mitigations,
)
from .progress import Report, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OUTPUTS = ("results.json", "report.html")
LIMIT = 160
_STATISTICS = {
    "per_occupation_bias": metrics.per_occupation_bias,
    "fairness": metrics.fairness,
    "attribute_kl": metrics.attribute_kl,
    "abstention_rate": metrics.abstention_rate,
}


def layers(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    task: str | Task,
    *,
    intervention: Source | None = None,
    strength: float = 1.0,
    seed: int = 0,
    limit: int | None = LIMIT,
    level: float = 0.95,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    command: str | None = None,
    progress: Report = silent,
) -> LayerResults:
    """Fairness and confidence by layer, by the logit lens, on the task's held-out ambiguous items (RES-FAIR, fig. 6).

    Args:
        source: see :func:`equipoise.models.load`.
        task: a name as on the command line, or a task with closed answers.
        intervention: a mitigation, a file or a sum of files, measured beside the base model at ``strength``. Edits of
            the final norm, and what changes option scores alone, don't show in streams.
        seed: decides what is held out.
        limit: at most so many items; None takes all.
        level: coverage of the intervals.
        out: a folder for ``results.json`` and ``report.html``; ``force`` overwrites them.
        progress: called with the share done and a message.

    Raises :class:`InputError` for bad input, before anything long is done where possible; for options whose first
    tokens tell nothing apart, naming the item.
    """
    folder = None if out is None else free_outputs(out, OUTPUTS, force=force)
    check_seeds([seed])
    (lam,) = check_strengths([strength])
    check_level(level)
    check_count(limit, "the limit")
    found, name = None, None
    if intervention is not None:
        given, name = the_mitigations(intervention, [seed])
        warn_of_seeds(name, given)
        found = given[seed]
    asked = load_task(task) if isinstance(task, str) else task
    items = [item for item in asked.split(seed, limit).heldout if item.part == "ambiguous"]
    if not items:
        raise InputError(f"task {asked.name!r} has no ambiguous held-out item (seed {seed})")
    draws = _draws(asked, items, level)
    progress(0.0, "loading the model")
    loaded = load(source, dtype=dtype, device=device)
    refuse_steered(loaded)
    if found is not None:
        found.check(loaded)
    curves: list[LayerCurve] = []
    with in_evaluation(loaded.model):
        turned = oriented(loaded, asked, items, seed)
        settings = [(None, 0.0)] if found is None else [(None, 0.0), (found, lam)]
        for number, (mitigation, at) in enumerate(settings):
            progress(0.1 + 0.8 * number / len(settings), "reading the streams")
            shown = items if mitigation is None else rewritten(mitigation, items, at)
            encoded = encode_all(loaded, shown)
            with nullcontext() if mitigation is None else mitigation.attach(loaded, at):
                streams = read_streams(loaded, encoded)
            label = None if mitigation is None else mitigation.method
            curves += _curves(loaded, asked, items, turned, encoded, streams, draws, (label, at))
    results = LayerResults(
        model=describe(loaded).as_dict(),
        task=asked.name,
        seed=seed,
        curves=tuple(curves),
        level=level,
        file=name,
        equipoise=equipoise_version(),
        command=command,
        extra={
            "outcomes": list(asked.outcomes),
            "data": f"sha256:{fingerprint(items)}",
            "versions": versions(),
        },
    )
    if folder is not None:
        page = render_layers(results)
        results.write(folder / OUTPUTS[0], force=force)
        write_atomic(folder / OUTPUTS[1], page, force=force)
    progress(1.0, "done")
    return results


def _curves(
    loaded: LoadedModel,
    task: Task,
    items: Sequence[Item],
    turned: Sequence[Item],
    encoded: Sequence[EncodedItem],
    streams: Streams,
    draws: tuple[Bootstrap, Bootstrap],
    label: tuple[str | None, float],
) -> list[LayerCurve]:
    """A curve for each modality of the items."""
    tokens = FirstTokens.of(items, encoded, task.outcomes)
    blocks = list(range(len(streams.after)))
    tables = [tokens.read(lens(loaded, streams.after[at])).double().numpy() for at in blocks]
    final = tokens.read(last_logprobs(loaded, streams)).double().numpy()
    labels = fair_labels(loaded, streams, encoded, items, turned, task.outcomes, blocks)
    of = np.array([str(item.metadata.get("modality", "")) for item in items])
    kinds: list[str | None] = list(dict.fromkeys(of)) if of.any() else [None]
    found = []
    for kind in kinds:
        rows = np.arange(len(items)) if kind is None else np.flatnonzero(of == kind)
        rows_of = [items[int(row)] for row in rows]
        each = tuple(
            Layer(
                at,
                _metrics(task, rows_of, tables[at][rows], draws[0]),
                _residuals(labels[at][:, rows].numpy(), rows_of, draws[1]),
            )
            for at in blocks
        )
        found.append(
            LayerCurve(*label, kind, len(rows), each, _metrics(task, rows_of, final[rows], draws[0]))
        )
    return found


def _metrics(
    task: Task, items: Sequence[Item], table: np.ndarray, draws: Bootstrap
) -> dict[str, Estimate | None]:
    answers = Responses(
        np.minimum(table, 1.0),
        task.outcomes,
        table.argmax(1),
        [item.groups for item in items],
        [item.template for item in items],
        target_shares(items, task.outcomes, task.target),
    )
    wanted = {
        name: statistic
        for name, statistic in _STATISTICS.items()
        if name in ("per_occupation_bias", "abstention_rate") or metrics.has_fair_class(answers)
    }
    found: dict[str, Estimate | None] = {name: draws.estimate(one, answers) for name, one in wanted.items()}
    silence = found.pop("abstention_rate")
    assert silence is not None
    # What the options' first tokens have together.
    found["said"] = Estimate(1 - silence.value, 1 - silence.high, 1 - silence.low, silence.n)
    return found


def _residuals(labels: np.ndarray, items: Sequence[Item], draws: Bootstrap) -> dict[str, Estimate | None]:
    names = [item.groups[0] for item in items]
    parts = {"before": labels[0], "middle": labels[1], "disagree": labels[0] != labels[1]}
    return {
        name: draws.estimate(metrics.mean_share, Shares(values.astype(float), names))
        for name, values in parts.items()
    }


def _draws(task: Task, items: Sequence[Item], level: float) -> tuple[Bootstrap, Bootstrap]:
    """The draws of answers, and of residual labels, which go by an item's first group alone."""
    groups = {group for item in items for group in item.groups}
    try:
        answers = Bootstrap(groups, {item.template for item in items}, level=level)
        return answers, Bootstrap({item.groups[0] for item in items}, level=level)
    except TooFewClusters as error:
        raise InputError(f"task {task.name!r}: {error}; give more, or raise --limit") from None
