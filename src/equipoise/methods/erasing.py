"""Fitting an eraser to a task: what ``leace`` and ``mean_projection`` share, which differ in the map alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor

from ..analysis import states_of
from ..errors import InputError
from ..interventions import AffineEdit, Intervention, attach
from ..models import LoadedModel
from ..tasks import Task
from .concept import CONCEPTS, Concept, Labelled, labelled
from .contrast import batch_tokens, read_rows
from .erasure import Eraser
from .ground import Ground, ground
from .progress import Report
from .selection import Budget, Candidate, Dial, require_budgets
from .settings import AUTO, fixed, parse_settings, require, require_auto, require_word
from .site_choice import Layer, Place, places, require_layer, require_site, sites_of

MakeEraser = Callable[[Tensor, Tensor, Tensor | None], Eraser]


@dataclass(frozen=True)
class ErasureSettings:
    """Settings of both erasers.

    Attributes:
        site: the kind of site: ``out`` (the residual stream after a block), ``norm.0``, ``attn``, ``mlp`` or ``heads``.
        layer: the block, from 0; ``all``, each fitted on what the erasers before it leave; or ``auto`` to choose one.
        strength: the share of the erasure, 1 for all of it; ``auto`` takes as much as the KL budget allows.
        concept: what is erased: ``option``, ``mention``, ``statement`` or ``auto``; see
            :func:`equipoise.methods.concept.labelled`.
        items: how many ambiguous training items it is fitted on.
        background: tokens of plain text in the midst of which the edit is kept small; 0 for none.
        kl: nats a token that the choice may cost on plain text.
        accuracy_drop: how much unambiguous accuracy it may cost.
    """

    method: ClassVar[str]

    site: str = "out"
    layer: Layer = AUTO
    strength: float | str = AUTO
    concept: Concept = "auto"
    items: int = 256
    background: int = 2048
    kl: float = 0.05
    accuracy_drop: float = 0.01

    def __post_init__(self) -> None:
        require_site(self.method, self)
        require_layer(self.method, self)
        require_auto(self.method, self, "strength")
        require_word(self.method, self, "concept", CONCEPTS)
        require(self.method, self, {"items": 2, "background": 0})
        require_budgets(self.method, self)

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Self:
        """Settings from texts; raises InputError for an unknown key or a value that doesn't fit."""
        return parse_settings(cls, cls.method, given)


def fit_eraser(
    make: MakeEraser,
    loaded: LoadedModel,
    task: Task,
    settings: ErasureSettings,
    *,
    seed: int,
    text: Sequence[str] | None,
    progress: Report | None,
) -> Intervention:
    """Erase the concept at the site where that lowers bias most within the budgets; see the methods' ``fit``."""
    method = settings.method
    lines = places(loaded, method, [settings.site], settings.layer)
    with ground(method, loaded, task, seed=seed, text=text, progress=progress) as found:
        texts = labelled(loaded, found.pairs(settings.items), settings.concept)
        if len(texts.classes) < 2:
            raise InputError(
                f"{method}: the stereotype favours {texts.classes[0]!r} in every training item of task {task.name!r}, "
                "so no concept can be told apart: take --set concept=statement"
            )
        passages = found.background[: settings.background // found.background.shape[1]]
        if settings.layer == "all":
            everywhere = partial(_in_turn, make, found, texts, passages)
            candidates = [[_candidate(p, partial(everywhere, p.sites)) for p in line] for line in lines]
        else:
            names = sites_of(lines)
            states = read_rows(loaded, texts.rows, names)
            around = _every_token(loaded, passages, names)

            def unit(site: str) -> Intervention:
                eraser = make(states[site], texts.labels, around[site])
                return found.intervention({site: eraser.edit()}, "all")

            candidates = [[_candidate(p, partial(unit, p.sites[0])) for p in line] for line in lines]
        chosen = found.choose(
            candidates,
            Budget(settings.kl, settings.accuracy_drop),
            Dial("strength", fixed(settings.strength), guess=1.0, most=1.0, fractions=()),
        )
        return found.finished(chosen, settings, concept=texts.concept, classes=list(texts.classes))


def _candidate(place: Place, make: Callable[[], Intervention]) -> Candidate:
    return Candidate({"layer": place.layer, "site": place.kind}, make)


def _in_turn(
    make: MakeEraser, found: Ground, texts: Labelled, passages: Tensor, sites: Sequence[str]
) -> Intervention:
    """One eraser a site, each fitted on what the ones before it leave, so that the concept is gone at every site."""
    edits: dict[str, AffineEdit] = {}
    for number, site in enumerate(sites):
        found.tell(number / len(sites), f"erasing at {site}")
        with attach(found.loaded, found.intervention(edits, "all")):
            states = read_rows(found.loaded, texts.rows, [site])[site]
            around = _every_token(found.loaded, passages, [site])[site]
        try:
            edits[site] = make(states, texts.labels, around).edit()
        except InputError:
            # What the erasers before have left nothing of needs none here.
            continue
    return found.intervention(edits, "all")


def _every_token(loaded: LoadedModel, passages: Tensor, sites: Sequence[str]) -> dict[str, Tensor | None]:
    """Each site's activations of every token of the passages, [tokens, d]; None without passages."""
    if not len(passages):
        return dict.fromkeys(sites)
    parts: dict[str, list[Tensor]] = {site: [] for site in sites}
    batches = states_of(loaded, passages.tolist(), sites, max_tokens=batch_tokens(loaded, sites))
    for _, captured in batches:
        for site, states in captured.items():
            parts[site].append(states.flatten(0, 1).float().cpu())
    return {site: torch.cat(found) for site, found in parts.items()}
