"""``iti``: Inference-Time Intervention (arXiv 2306.03341): a shift of the attention heads that probes rank best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ..errors import InputError
from ..interventions import AffineEdit, Intervention
from ..models import LoadedModel
from ..tasks import Task
from .contrast import Contrast
from .ground import ground
from .heads import Head, head_sites, probe_heads
from .progress import Report
from .selection import Budget, Candidate, Dial, require_budgets
from .settings import AUTO, fixed, parse_settings, require, require_auto

# Offered for K, as far as the model has so many heads; 48 is the paper's.
_COUNTS = (4, 8, 16, 32, 48, 96, 192)


@dataclass(frozen=True)
class ItiSettings:
    """Settings of :func:`fit`.

    Attributes:
        heads: K, how many heads are shifted, or ``auto``.
        alpha: α, the shift in standard deviations, or ``auto``.
        pairs: how many pairs of training statements probes and directions are fitted on.
        validation_pairs: how many pairs of validation statements rank the heads.
        kl: nats a token that the choice may cost on plain text.
        accuracy_drop: how much unambiguous accuracy it may cost.
    """

    heads: int | str = AUTO
    alpha: float | str = AUTO
    pairs: int = 256
    validation_pairs: int = 96
    kl: float = 0.05
    accuracy_drop: float = 0.01

    def __post_init__(self) -> None:
        require_auto("iti", self, "heads", whole=True)
        require_auto("iti", self, "alpha")
        require("iti", self, {"pairs": 2, "validation_pairs": 1})
        require_budgets("iti", self)

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> ItiSettings:
        """Settings from texts; raises InputError for an unknown key or a value that doesn't fit."""
        return parse_settings(cls, "iti", given)


def fit(
    loaded: LoadedModel,
    task: Task,
    *,
    seed: int = 0,
    settings: ItiSettings | None = None,
    text: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    progress: Report | None = None,
) -> Intervention:
    """x' = x + λ α σ θ for the K best heads' slices x of the output projection's input, from the last prompt token on.

    θ is the unit vector from the mean of statements with pro answers to that of statements with anti answers (the
    "mass mean" direction), σ the standard deviation of their projections onto it, and heads rank by the validation
    accuracy of a logistic probe.

    Args:
        settings: see :class:`ItiSettings`; K and α are chosen on validation data unless fixed.
        text: plain passages for the KL budget; by default the fitting half of our own text.
        checkpoint: not used: the fit is short.
        progress: called with a :class:`Progress`.

    Raises InputError for more heads than there are, or a model that is steered.
    """
    settings = settings or ItiSettings()
    counts = _counts(loaded, settings.heads)
    with ground("iti", loaded, task, seed=seed, text=text, progress=progress) as found:
        sites = head_sites(loaded)
        train = Contrast.of(loaded, found.pairs(settings.pairs)).read(loaded, sites)
        held = Contrast.of(loaded, found.held_pairs(settings.validation_pairs)).read(loaded, sites)
        ranked = probe_heads(loaded, train, held)

        def unit(count: int) -> Intervention:
            return found.intervention(head_shifts(loaded, ranked[:count]), "answer")

        budget = Budget(settings.kl, settings.accuracy_drop)
        chosen = found.choose(
            [[Candidate({"heads": count}, partial(unit, count)) for count in counts]],
            budget,
            Dial("alpha", fixed(settings.alpha), guess=2.0),
        )
        best = [[head.site, head.number, head.accuracy] for head in ranked[: chosen.choice["heads"]]]
        return found.finished(chosen, settings, ranked_heads=best)


def head_shifts(loaded: LoadedModel, heads: Sequence[Head]) -> dict[str, AffineEdit]:
    """The edit at α = 1: σ θ in each head's slice, zero elsewhere."""
    shifts: dict[str, torch.Tensor] = {}
    for head in heads:
        width = loaded.anatomy.site(head.site).width
        shifts.setdefault(head.site, torch.zeros(width))[head.place] = head.sigma * head.direction
    return {site: AffineEdit(shift=shift) for site, shift in shifts.items()}


def _counts(loaded: LoadedModel, heads: int | str) -> list[int]:
    """The K to try. Raises InputError for more heads than the model has, or none at all."""
    attentions = [block.attention for block in loaded.anatomy.blocks]
    total = sum(one.heads.n_heads for one in attentions if one is not None and one.heads is not None)
    if not total:
        raise InputError(f"iti: no attention heads were found in {loaded.name}: take another method")
    if isinstance(heads, int):
        if heads > total:
            raise InputError(
                f"iti setting heads={heads}: {loaded.name} has {total} heads: give at most {total}"
            )
        return [heads]
    return [count for count in _COUNTS if count < total] or [total]
