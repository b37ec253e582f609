"""``lora``: fine-tuning of a low-rank adapter on fair answers, a baseline of RES-FAIR (arXiv 2505.23798)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..models import LoadedModel
from ..tasks import Task
from .adapter import Adapter
from .preference import AdapterSettings, fit_adapter, likelihood
from .progress import Report


@dataclass(frozen=True)
class LoraSettings(AdapterSettings):
    """See :class:`equipoise.methods.preference.AdapterSettings`."""

    method: ClassVar[str] = "lora"


def fit(
    loaded: LoadedModel,
    task: Task,
    *,
    seed: int = 0,
    settings: LoraSettings | None = None,
    text: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    progress: Report | None = None,
) -> Adapter:
    """Train an adapter of the attention's linear layers to say fair answers: cross-entropy.

    A fair answer is one against the stereotype (:mod:`equipoise.methods.orientation`), drawn anew for each item and
    step.

    Args:
        settings: see :class:`equipoise.methods.preference.AdapterSettings`.
        text: plain passages for the recorded KL; by default the fitting half of our own text.
        checkpoint: not used.
        progress: called with a :class:`Progress`.

    Raises InputError where peft is missing, for a model that is steered or has no linear attention layers.
    """
    settings = settings or LoraSettings()
    return fit_adapter(likelihood, loaded, task, settings, seed=seed, text=text, progress=progress)
