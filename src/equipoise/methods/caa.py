"""``caa``: Contrastive Activation Addition (arXiv 2312.06681): the mean difference at the answer token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..interventions import AffineEdit, Intervention
from ..models import LoadedModel
from ..tasks import Task
from .contrast import Contrast
from .directions import mean_directions
from .ground import ground
from .progress import Report
from .selection import Budget, Candidate, Dial, require_budgets
from .settings import AUTO, fixed, parse_settings, require, require_auto
from .site_choice import Layer, places, require_layer, sites_of


@dataclass(frozen=True)
class CaaSettings:
    """Settings of :func:`fit`.

    Attributes:
        layer: after which block the vector is added: its number from 0, ``all``, or ``auto`` to choose it.
        multiplier: the vector's length in units of the residual stream's median norm there, or ``auto``.
        pairs: how many pairs of statements the vector is the mean of.
        kl: nats a token that the choice may cost on plain text.
        accuracy_drop: how much unambiguous accuracy it may cost.
    """

    layer: Layer = AUTO
    multiplier: float | str = AUTO
    pairs: int = 256
    kl: float = 0.05
    accuracy_drop: float = 0.01

    def __post_init__(self) -> None:
        require_layer("caa", self)
        require_auto("caa", self, "multiplier")
        require("caa", self, {"pairs": 1})
        require_budgets("caa", self)

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> CaaSettings:
        """Settings from texts; raises InputError for an unknown key or a value that doesn't fit."""
        return parse_settings(cls, "caa", given)


def fit(
    loaded: LoadedModel,
    task: Task,
    *,
    seed: int = 0,
    settings: CaaSettings | None = None,
    text: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    progress: Report | None = None,
) -> Intervention:
    """h' = h + λ m r v after a block, from each row's last prompt token on.

    v is the unit vector along mean(h | anti) − mean(h | pro), over pairs of one prompt with an answer against and one
    for the stereotype, read at the answer's last token; r is the median norm of h over all but the first tokens of
    a quarter of these statements, and m the multiplier.

    Args:
        settings: see :class:`CaaSettings`; layer and multiplier are chosen on validation data unless fixed.
        text: plain passages for the KL budget; by default the fitting half of our own text.
        checkpoint: not used: the fit is short.
        progress: called with a :class:`Progress`.

    Raises InputError for a layer that the model hasn't, or a model that is steered.
    """
    settings = settings or CaaSettings()
    lines = places(loaded, "caa", ["out"], settings.layer, together=True)
    with ground("caa", loaded, task, seed=seed, text=text, progress=progress) as found:
        contrast = Contrast.of(loaded, found.pairs(settings.pairs))
        names = sites_of(lines)
        states = contrast.read(loaded, names)
        norms = contrast.norms(loaded, names)

        def unit(sites: Sequence[str]) -> Intervention:
            shifts = {site: norms[site] * unit for site, unit in mean_directions(states, sites).items()}
            return found.intervention({s: AffineEdit(shift=v) for s, v in shifts.items()}, "answer")

        candidates = [
            [Candidate({"layer": place.layer}, partial(unit, place.sites)) for place in line]
            for line in lines
        ]
        budget = Budget(settings.kl, settings.accuracy_drop)
        dial = Dial("multiplier", fixed(settings.multiplier), guess=0.1)
        return found.finished(found.choose(candidates, budget, dial), settings)
