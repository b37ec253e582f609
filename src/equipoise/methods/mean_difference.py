"""``mean_difference``: v = mean(neutral) − mean(biased) of whole statements, added to every token (Dubey)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..analysis import activations, typical_norms
from ..errors import InputError
from ..interventions import AffineEdit, Intervention, Provenance, Scope
from ..models import LoadedModel
from ..tasks import Task
from ..versions import versions
from .contrast import Contrast
from .directions import mean_direction, mean_directions
from .ground import ground
from .progress import Report
from .selection import Budget, Candidate, Dial, require_budgets
from .settings import AUTO, fixed, parse_settings, require, require_auto
from .site_choice import Layer, places, require_layer, require_site, sites_of

PAPERS_SITES = ("out", "heads")
"""Where the paper reads and steers: the residual stream after a block, and the heads before their projection."""


@dataclass(frozen=True)
class MeanDifferenceSettings:
    """Settings of :func:`fit`.

    Attributes:
        site: the kind of site that is read and edited: ``out`` (the residual stream after a block), ``heads`` (the
            attention's heads before the output projection), ``attn``, ``mlp``, ``norm.0``, …; ``auto`` tries the
            paper's two, ``out`` and ``heads``, where the model has them.
        layer: the block, from 0; ``all``, or ``auto`` to choose it.
        strength: the vector's length in units of the activation's median norm there, or ``auto``.
        pairs: how many pairs of statements the vector is the mean of.
        kl: nats a token that the choice may cost on plain text.
        accuracy_drop: how much unambiguous accuracy it may cost.
    """

    site: str = AUTO
    layer: Layer = AUTO
    strength: float | str = AUTO
    pairs: int = 256
    kl: float = 0.05
    accuracy_drop: float = 0.01

    def __post_init__(self) -> None:
        if self.site != AUTO:
            require_site("mean_difference", self)
        require_layer("mean_difference", self)
        require_auto("mean_difference", self, "strength")
        require("mean_difference", self, {"pairs": 1})
        require_budgets("mean_difference", self)

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> MeanDifferenceSettings:
        """Settings from texts; raises InputError for an unknown key or a value that doesn't fit."""
        return parse_settings(cls, "mean_difference", given)


def fit(
    loaded: LoadedModel,
    task: Task,
    *,
    seed: int = 0,
    settings: MeanDifferenceSettings | None = None,
    text: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    progress: Report | None = None,
) -> Intervention:
    """y' = y + λ s r v at a site, for every token: :func:`from_statements` of a task's pairs (arXiv 2508.09019).

    The neutral statements are prompts with an answer against the stereotype, the biased ones the same prompts with
    an answer for it.

    Args:
        settings: see :class:`MeanDifferenceSettings`; site and strength are chosen on validation data unless fixed.
        text: plain passages for the KL budget; by default the fitting half of our own text.
        checkpoint: not used: the fit is short.
        progress: called with a :class:`Progress`.

    Raises InputError for a site that the model hasn't, or a model that is steered.
    """
    settings = settings or MeanDifferenceSettings()
    kinds = PAPERS_SITES if settings.site == AUTO else (settings.site,)
    lines = places(loaded, "mean_difference", kinds, settings.layer, spare=settings.site == AUTO)
    with ground("mean_difference", loaded, task, seed=seed, text=text, progress=progress) as found:
        contrast = Contrast.of(loaded, found.pairs(settings.pairs))
        states = contrast.read(loaded, sites_of(lines))
        norms = contrast.norms(loaded, sites_of(lines))

        def unit(sites: Sequence[str]) -> Intervention:
            shifts = {site: norms[site] * unit for site, unit in mean_directions(states, sites).items()}
            return found.intervention({s: AffineEdit(shift=v) for s, v in shifts.items()}, "all")

        candidates = [
            [Candidate({"layer": p.layer, "site": p.kind}, partial(unit, p.sites)) for p in line]
            for line in lines
        ]
        budget = Budget(settings.kl, settings.accuracy_drop)
        dial = Dial("strength", fixed(settings.strength), guess=0.1)
        return found.finished(found.choose(candidates, budget, dial), settings)


def from_statements(
    loaded: LoadedModel,
    neutral: Sequence[Sequence[int]],
    biased: Sequence[Sequence[int]],
    site: str,
    *,
    strength: float = 0.1,
    scope: Scope = "all",
    config: Mapping[str, Any] | None = None,
    data: str | None = None,
    seed: int | None = None,
) -> Intervention:
    """y' = y + λ s r v at ``site``, from plain statements (arXiv 2508.09019).

    v = (mean(neutral) − mean(biased)) / ‖·‖ of the statements' last tokens, r the median norm of the site's activation
    over all but the first tokens of the statements, and s the ``strength``: a unit vector alone is tiny against late
    residual streams. Nothing is validated here.

    Args:
        neutral, biased: token ids of each statement (see :func:`equipoise.scoring.text_ids`); the numbers may differ.
        site: where it is read and added.
        strength: s, in units of r; λ = 1 is this much.
        scope: which tokens it is added to.
        config: recorded in the provenance, beside what is given here.
        data: the data's fingerprint, recorded.
        seed: recorded.

    Raises :class:`InputError` for an unknown site, an empty side, a statement without tokens, or equal means.
    """
    if not 0 < strength < float("inf"):
        raise InputError(f"the strength of a steering vector is {strength:g}, but must be above 0")
    if not neutral or not biased:
        raise InputError("a steering vector needs at least one neutral and one biased statement")
    rows = [*neutral, *biased]
    found = activations(loaded, rows, [site])[site]
    direction = mean_direction(found[: len(neutral)], found[len(neutral) :], site)
    norm = typical_norms(loaded, rows, [site])[site]
    recorded = {
        **(config or {}),
        "site": site,
        "strength": strength,
        "typical_norm": norm,
        "statements": {"neutral": len(neutral), "biased": len(biased)},
    }
    origin = Provenance(
        "mean_difference", recorded, model=loaded.fingerprint, data=data, versions=versions(), seed=seed
    )
    return Intervention({site: AffineEdit(shift=strength * norm * direction)}, scope, origin)
