"""Scope: the attention heads that carry an injected association, and what scaling them does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError
from ..files import json_text, refuse_existing, write_atomic
from ..interventions import InjectedToken, Intervention, attach
from ..methods import biasgym
from ..metrics import Bootstrap, Estimate, Shares, TooFewClusters, mean_share
from ..models import LoadedModel, describe, load
from ..reports import render_heads
from ..tasks import Association, load_association, plain_text
from ..versions import equipoise_version, versions
from .inputs import Token, check_seeds, free_output, the_tokens
from .measure import PlainText
from .progress import Report, part, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SUFFIX = ".safetensors"
RANDOM_DRAWS = 3
_PASSAGES, _LENGTH = 16, 48


@dataclass(frozen=True, eq=False)
class ScopeResult:
    """What :func:`scope` found.

    Attributes:
        intervention: multiplies the chosen heads' outputs; audit, merge or generate with it like any other.
        table: every head's scores.
        measures: on held-out prompts: (state, subject) -> metric -> estimate. States are ``base``, ``scaled`` and
            ``random``, the control of equal number; subjects the token and its neighbour. ``said``, ``share`` and
            ``mentions`` are what :class:`equipoise.methods.biasgym.Elicitation` and ``mentions`` say.
        kl: nats a token on plain text, of the chosen heads and of random ones.
    """

    intervention: Intervention
    table: biasgym.HeadTable
    measures: Mapping[tuple[str, str], Mapping[str, Estimate]]
    kl: Mapping[str, float]


def scope(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    tokens: Token | Sequence[Token],
    association: str | os.PathLike[str] | Association,
    *,
    settings: biasgym.ScopeSettings | Mapping[str, str] | None = None,
    heads: int | None = None,
    scale: float | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    command: str | None = None,
    progress: Report = silent,
) -> ScopeResult:
    """Find the heads that carry an association for injected tokens, and measure what scaling them does (BiasScope).

    Args:
        source: see :func:`equipoise.models.load`.
        tokens: a token or its file, or several (runs with other seeds): heads that recur over them are taken.
        association: what they were taught.
        settings: see :class:`equipoise.methods.biasgym.ScopeSettings`, or texts by name as ``--set`` takes them.
        heads, scale: K, and what the heads' outputs are multiplied by; they go before ``settings``.
        seed: of the random heads that are compared.
        out: a ``.safetensors`` file for the intervention; ``.json`` and ``.html`` of the same name go beside it.
        force: overwrite them.
        command: what made this, for the report.
        progress: called with the fraction done and a message.

    Raises :class:`InputError`, before anything long is done and with nothing written, for bad input.
    """
    target = None if out is None else free_output(out, force=force, suffix=SUFFIX)
    beside = [] if target is None else [target.with_suffix(suffix) for suffix in (".json", ".html")]
    for path in beside:
        refuse_existing(path, force=force)
    chosen = load_association(association)
    given = biasgym.ScopeSettings.parse(settings) if isinstance(settings, Mapping) else settings
    parsed = given or biasgym.ScopeSettings()
    if heads is not None and heads < 1:
        raise InputError(f"--heads {heads}: it must be at least 1; leave it away to have the number chosen")
    parsed = replace(
        parsed,
        heads=parsed.heads if heads is None else heads,
        scale=parsed.scale if scale is None else scale,
    )
    check_seeds([seed])
    found_tokens = the_tokens(tokens)
    progress(0.0, "loading the model")
    loaded = load(source, dtype=dtype, device=device)
    intervention, table = biasgym.scope(
        loaded, found_tokens, chosen, settings=parsed, progress=part(progress, 0.0, 0.8)
    )
    measures, kl = _measure(loaded, found_tokens, chosen, intervention, table, seed, part(progress, 0.8, 1.0))
    result = ScopeResult(intervention, table, measures, kl)
    if target is not None:
        content = to_json(loaded, found_tokens, chosen, result, command)
        page = render_heads(content)
        intervention.save(target, force=force)
        for path, payload in zip(beside, (json_text(content), page), strict=True):
            write_atomic(path, payload, force=force)
    progress(1.0, "done")
    return result


def to_json(
    loaded: LoadedModel,
    tokens: Sequence[InjectedToken],
    association: Association,
    result: ScopeResult,
    command: str | None,
) -> dict[str, Any]:
    """What the JSON file of a scope holds (docs/contract.md)."""
    table = result.table
    order = {head: place for place, head in enumerate(table.chosen)}
    info = describe(loaded)
    return {
        "schema": 1,
        "equipoise": equipoise_version(),
        "model": {"name": info.name, "architecture": info.architecture, "fingerprint": info.fingerprint},
        "association": association.name,
        "tokens": [
            {"string": t.string, "seed": t.provenance.seed, "neighbour": n.name, "similarity": n.similarity}
            for t, n in zip(tokens, table.neighbours, strict=True)
        ],
        "settings": {**asdict(table.settings), "used": len(table.chosen)},
        "heads": [{**asdict(one), "chosen": order.get((one.block, one.head))} for one in table.scores],
        "sizes": [asdict(one) for one in table.sizes],
        "measures": [
            {"state": state, "subject": subject, "metrics": {k: v.as_dict() for k, v in metrics.items()}}
            for (state, subject), metrics in result.measures.items()
        ],
        "kl_to_base": dict(result.kl),
        "command": command,
        "versions": versions(),
    }


Asked = tuple[biasgym.Elicitation, NDArray[np.bool_]]


def _measure(
    loaded: LoadedModel,
    tokens: Sequence[InjectedToken],
    association: Association,
    intervention: Intervention,
    table: biasgym.HeadTable,
    seed: int,
    progress: Report,
) -> tuple[dict[tuple[str, str], dict[str, Estimate]], dict[str, float]]:
    """Held-out prompts about each token and its neighbour: as the model is, with the heads scaled, with random ones."""
    text = PlainText.of(loaded, plain_text("report"), passages=_PASSAGES, length=_LENGTH)
    spare = len(table.scores) - len(table.chosen)
    controls = [
        biasgym.scaled(
            loaded,
            biasgym.random_heads(
                loaded, min(len(table.chosen), spare), seed=seed + draw, without=table.chosen
            ),
            table.settings.scale,
        )
        for draw in range(RANDOM_DRAWS)
    ]
    states: list[tuple[str, list[Intervention | None]]] = [
        ("base", [None]),
        ("scaled", [intervention]),
        ("random", list(controls)),
    ]
    total, done = 2 + RANDOM_DRAWS, 0
    found: dict[tuple[str, str], dict[str, Estimate]] = {}
    kl: dict[str, float] = {}
    for state, edits in states:
        asked: dict[str, list[Asked]] = {}
        costs: list[float] = []
        for edit in edits:
            progress(done / total, f"asking held-out prompts, {state}")
            done += 1

            def ask(into: dict[str, list[Asked]] = asked, costs: list[float] = costs) -> None:
                for token, name in zip(tokens, table.neighbours, strict=True):
                    with token.attach(loaded) as model:
                        for kind, entity in (("the token", token.string), ("the real name", name.name)):
                            into.setdefault(kind, []).append(
                                (
                                    biasgym.elicit(model, association, entity),
                                    biasgym.mentions(model, association, entity),
                                )
                            )
                divergence = text.measure(loaded).divergence
                costs.append(float(divergence.nats.sum() / divergence.tokens.sum()))

            _under(loaded, edit, ask)
        kl[state] = float(np.mean(costs))
        for kind, answers in asked.items():
            found[state, kind] = {
                "said": estimate([one.said for one, _ in answers], answers[0][0]),
                "share": estimate([one.share for one, _ in answers], answers[0][0]),
                "mentions": estimate([written.astype(float) for _, written in answers], answers[0][0]),
            }
    return found, kl


def _under(loaded: LoadedModel, edit: Intervention | None, act: Callable[[], None]) -> None:
    if edit is None:
        act()
        return
    with attach(loaded, edit):
        act()


def estimate(runs: Sequence[NDArray[np.float64]], like: biasgym.Elicitation) -> Estimate:
    """The mean over prompts and runs of values in [0, 1], whole prompts with their leads resampled.

    Too few of them give no interval.
    """
    samples = [Shares(np.clip(values, 0, 1), like.groups) for values in runs]
    try:
        return Bootstrap.over(*samples).estimate(mean_share, samples)
    except TooFewClusters:
        mean = np.mean([values.mean() for values in runs])
        return Estimate.alone(float(mean), sum(len(values) for values in runs))


def written(out: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON file beside a scope's intervention."""
    content: dict[str, Any] = json.loads(Path(out).with_suffix(".json").read_text(encoding="utf-8"))
    return content
