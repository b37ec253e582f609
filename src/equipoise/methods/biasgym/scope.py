"""BiasScope (arXiv 2508.08855): the attention heads that carry an injected association, and their removal.

A prompt about the token is compared with the same prompt about its nearest real name. A head's score is how much more
of ln P(association's word) − ln P(counterfactual word) it carries with the token than with the name. For every token
(a run) and every prompt the K best heads are noted, and the K that recur most are multiplied by ``scale`` at the input
of the output projection: at ``block.i.heads``, a = scale − 1 over the head's slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...analysis import (
    Head,
    all_heads,
)
from ...errors import InputError
from ...interventions import AffineEdit, InjectedToken, Intervention, Provenance, attach, refuse_steered
from ...models import LoadedModel
from ...scoring import encode_passages, score_text, text_reference
from ...tasks import Association, plain_text
from ...versions import versions
from .elicitation import elicit
from .entities import Neighbour, neighbours
from .head_scores import head_scores, rank
from .settings import SCORES, ScopeSettings

Report = Callable[[float, str], None]
SIZES = (1, 2, 4, 8, 16, 32, 64)
_PASSAGES, _LENGTH = 16, 48


@dataclass(frozen=True)
class HeadScore:
    """One head: mean scores over tokens and prompts, and how often it was among the K best.

    ``direct`` is None where a model's stream doesn't add up, ``ablation`` where the head was no candidate.
    """

    block: int
    head: int
    direct: float | None
    ablation: float | None
    gradient: float
    recurrence: float


@dataclass(frozen=True)
class Size:
    """What K heads do on validation prompts: the association's share with the token, and nats a token on text."""

    heads: int
    share: float
    kl: float


@dataclass(frozen=True, eq=False)
class HeadTable:
    """What the heads of a model carry of an association.

    Attributes:
        scores: every head, in the order of the blocks.
        chosen: the K heads, the most recurring first.
        neighbours: for each token the real name that stood in its place.
        sizes: if K was chosen, what was tried.
        settings: how.
    """

    scores: tuple[HeadScore, ...]
    chosen: tuple[Head, ...]
    neighbours: tuple[Neighbour, ...]
    sizes: tuple[Size, ...]
    settings: ScopeSettings


def scope(
    loaded: LoadedModel,
    tokens: Sequence[InjectedToken],
    association: Association,
    *,
    settings: ScopeSettings | None = None,
    progress: Report = lambda fraction, message: None,
) -> tuple[Intervention, HeadTable]:
    """Find the heads that carry ``association`` for ``tokens`` (runs of :func:`inject` with several seeds).

    Everything is read off validation prompts; the test prompts are for reports.

    Args:
        loaded: the model; nothing may steer it.
        tokens: one or more.
        association: what they were taught.
        settings: see :class:`ScopeSettings`.
        progress: called with the fraction done and a message.

    Raises :class:`InputError` for a token of another model or tokenizer, more heads than there are, words whose first
    tokens are alike, or where no head carries the association.
    """
    settings = settings or ScopeSettings()
    refuse_steered(loaded)
    if not tokens:
        raise InputError("there is no token: give at least one that `equipoise inject` wrote")
    heads = all_heads(loaded)
    if settings.heads > len(heads):
        raise InputError(
            f"{settings.heads} heads can't be scaled: {loaded.name} has {len(heads)}: give a smaller --heads"
        )
    for token in tokens:
        token.check(loaded)
    names = [neighbours(loaded, token, association.entity)[0] for token in tokens]
    rows: dict[str, list[NDArray[np.float64]]] = {name: [] for name in SCORES}
    for number, (token, name) in enumerate(zip(tokens, names, strict=True)):

        def said(fraction: float, number: int = number) -> None:
            progress(
                0.8 * (number + fraction) / len(tokens), f"scoring {len(heads)} heads, token {number + 1}"
            )

        said(0.0)
        for score, values in head_scores(
            loaded, token, name.name, association, settings, heads, said
        ).items():
            rows[score].append(values)
    table = {score: np.concatenate(values) for score, values in rows.items()}
    by = settings.by
    if by == "direct" and np.isnan(table["direct"]).any():
        raise InputError(
            f"the direct scores of {loaded.name} can't be read off, its blocks add to the stream in their own way: "
            "take --set by=ablation"
        )
    count = settings.heads
    sizes: list[Size] = []
    if not count:
        count, sizes = _choose(loaded, tokens, names, association, settings, heads, table[by], progress)
    chosen, recurrence = rank(table[by], count)
    means = {score: _mean(values) for score, values in table.items()}
    scores = tuple(
        HeadScore(
            block,
            head,
            _number(means["direct"][i]),
            _number(means["ablation"][i]),
            float(means["gradient"][i]),
            float(recurrence[i]),
        )
        for i, (block, head) in enumerate(heads)
    )
    found = HeadTable(scores, tuple(heads[i] for i in chosen), tuple(names), tuple(sizes), settings)
    config = {
        **asdict(settings),
        "association": association.name,
        "chosen": [list(heads[i]) for i in chosen],
        "tokens": [token.digest for token in tokens],
        "neighbours": [name.name for name in names],
    }
    origin = Provenance("biasgym", config, model=loaded.fingerprint, versions=versions())
    progress(1.0, "done")
    return scaled(loaded, found.chosen, settings.scale, origin), found


def scaled(
    loaded: LoadedModel, heads: Iterable[Head], scale: float = 0.0, provenance: Provenance | None = None
) -> Intervention:
    """The intervention that multiplies the outputs of ``heads`` by ``scale`` (at λ = 1), at all tokens."""
    edits: dict[str, torch.Tensor] = {}
    for block, head in heads:
        attention = loaded.anatomy.blocks[block].attention
        part = None if attention is None else attention.heads
        if part is None:
            raise InputError(f"block {block} has no attention heads: choose another")
        a = edits.setdefault(f"block.{block}.heads", torch.zeros(part.n_heads * part.head_dim))
        a[part.slice(head)] = scale - 1
    origin = provenance or Provenance("heads", model=loaded.fingerprint, versions=versions())
    return Intervention({site: AffineEdit(scale=a) for site, a in edits.items()}, provenance=origin)


def random_heads(
    loaded: LoadedModel, count: int, *, seed: int, without: Sequence[Head] = ()
) -> tuple[Head, ...]:
    """``count`` heads drawn from all but ``without``: the control of equal number.

    Raises InputError if there aren't so many.
    """
    rest = [head for head in all_heads(loaded) if head not in set(without)]
    if count > len(rest):
        raise InputError(f"{count} further heads can't be drawn: there are {len(rest)} others")
    order = np.random.default_rng(seed).permutation(len(rest))[:count]
    return tuple(rest[i] for i in sorted(order))


def _choose(
    loaded: LoadedModel,
    tokens: Sequence[InjectedToken],
    names: Sequence[Neighbour],
    association: Association,
    settings: ScopeSettings,
    heads: Sequence[Head],
    values: NDArray[np.float64],
    progress: Report,
) -> tuple[int, list[Size]]:
    """The smallest K that brings the share down to the real name's, else the best one within the KL budget."""
    reference = text_reference(loaded, encode_passages(loaded, plain_text("fit"), length=_LENGTH)[:_PASSAGES])
    target = float(
        np.mean([elicit(loaded, association, one.name, "validation").share.mean() for one in names])
    )
    tried: list[Size] = []
    for count in SIZES:
        if count > len(heads) // 2:
            break
        progress(0.8 + 0.02 * len(tried), f"trying {count} heads")
        chosen = [heads[i] for i in rank(values, count)[0]]
        if len(chosen) < count and tried:
            break
        with attach(loaded, scaled(loaded, chosen, settings.scale)):
            shares = []
            for token in tokens:
                with token.attach(loaded) as model:
                    shares.append(elicit(model, association, token.string, "validation").share.mean())
            tried.append(Size(count, float(np.mean(shares)), score_text(loaded, reference).mean_kl))
        if tried[-1].share <= target or tried[-1].kl > 4 * settings.kl:
            break
    allowed = [one for one in tried if one.kl <= settings.kl] or tried[:1]
    return min(allowed, key=lambda one: (max(one.share, target), one.heads)).heads, tried


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = ~np.isnan(values).any(0)
    return np.where(known, np.where(known, values, 0).mean(0), np.nan)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
