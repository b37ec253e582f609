"""Mitigations of a tiny model whose effect is known, and methods that pretend to fit them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from methods.samples import TinyTask
from tiny import tiny

from equipoise.interventions import AffineEdit, Intervention, Provenance, Scope
from equipoise.methods.settings import parse_settings
from equipoise.models import LoadedModel
from equipoise.scoring import OptionScores, score_options
from equipoise.tasks import Prompt, Split

SITE = "final.norm"


@cache
def model() -> LoadedModel:
    return tiny("Llama", 0)


@cache
def leans() -> dict[str, float]:
    """Item -> log P(he) − log P(she) of the model as it is."""
    items = [item for item in TinyTask().items() if item.part == "ambiguous"]
    logp = score_options(model(), items).logp
    return {item.id: float(row[0] - row[1]) for item, row in zip(items, logp, strict=True)}


@cache
def towards_even() -> torch.Tensor:
    """The shift at the final norm that takes the median lean from every answer: it only parts he from she."""
    weight = model().model.get_output_embeddings().weight.detach()
    he, she = (model().tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in (" he", " she"))
    along = weight[she] - weight[he]
    return float(np.median(list(leans().values()))) * along / (along @ along)


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(len(towards_even()), generator=torch.Generator().manual_seed(seed))


def shift(
    vector: torch.Tensor,
    method: str = "planted",
    scope: Scope = "all",
    site: str = SITE,
    seed: int | None = None,
) -> Intervention:
    origin = Provenance(method=method, config={"task": "planted"}, model=model().fingerprint, seed=seed)
    return Intervention({site: AffineEdit(shift=vector)}, scope, origin)


def clean() -> Intervention:
    """Moves he and she, and little else."""
    return shift(towards_even())


def dear(seed: int = 0) -> Intervention:
    """The same, and what only costs."""
    return shift(towards_even() + 0.2 * noise(seed))


def wrong() -> Intervention:
    """Away from even."""
    return shift(-towards_even())


@dataclass(frozen=True)
class NoDial:
    """On or off, and dear."""

    intervention: Intervention
    method: str = "switch"
    size: int = 3
    dial: bool = False
    digest: str | None = None
    adjusts: bool = False

    def check(self, loaded: LoadedModel) -> None:
        self.intervention.check(loaded)

    def attach(self, loaded: LoadedModel, strength: float) -> AbstractContextManager[Any]:
        from equipoise.interventions import attach

        return attach(loaded, self.intervention) if strength else nullcontext()

    def rewrite(self, prompt: Prompt, strength: float) -> Prompt:
        return prompt

    def adjust(self, scores: OptionScores, items: Sequence[Any], strength: float) -> OptionScores:
        return scores


class Turned(TinyTask):
    """Validation items all lean to she and held-out ones to he, so that what evens the ones tilts the others."""

    name = "turned"

    def split(self, seed: int, limit: int | None = None) -> Split:
        items = [item for item in self.items() if item.part == "ambiguous"]
        middle = float(np.median(list(leans().values())))
        held = tuple(item for item in items if leans()[item.id] > 0)
        shown = tuple(item for item in items if leans()[item.id] < middle)
        return Split(tuple(item for item in items if item not in held + shown), shown, held)


@dataclass(frozen=True)
class Settings:
    """Of a pretended method."""

    size: float = 1.0

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Settings:
        return parse_settings(cls, "fake", given)


def pretend(
    make: Callable[[], Any], calls: list[tuple[Any, int]] | None = None, stop_at: int | None = None
) -> Any:
    """A method whose fit gives ``make()`` times its setting ``size``, or a Ctrl-C at its call ``stop_at``."""

    def fit(
        loaded: LoadedModel,
        task: Any,
        *,
        seed: int = 0,
        settings: Settings | None = None,
        text: Sequence[str] | None = None,
        checkpoint: Any = None,
        progress: Any = None,
    ) -> Any:
        if calls is not None:
            if len(calls) == stop_at:
                raise KeyboardInterrupt
            calls.append((make, seed))
        found = make()
        if progress is not None:
            progress(SimpleNamespace(fraction=0.5, message="halfway"))
        return found * settings.size if settings is not None and isinstance(found, Intervention) else found

    fit.__annotations__["settings"] = Settings | None
    return SimpleNamespace(fit=fit)
