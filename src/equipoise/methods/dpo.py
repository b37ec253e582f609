"""``dpo``: preferring fair answers to unfair ones, without KL, a baseline of RES-FAIR (arXiv 2505.23798)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..models import LoadedModel
from ..tasks import Task
from .adapter import Adapter
from .preference import PreferenceSettings, fit_preferring
from .progress import Report


@dataclass(frozen=True)
class DpoSettings(PreferenceSettings):
    """See :class:`equipoise.methods.preference.PreferenceSettings`."""

    method: ClassVar[str] = "dpo"


def fit(
    loaded: LoadedModel,
    task: Task,
    *,
    seed: int = 0,
    settings: DpoSettings | None = None,
    text: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    progress: Report | None = None,
) -> Adapter:
    """Train an adapter by −log σ(β (log p(fair) − log p(unfair))) (eq. 13).

    A fair answer is one against the stereotype (:mod:`equipoise.methods.orientation`), drawn anew for each item and
    step, like the unfair one. All weights of a model are not trained, so that what is saved stays small and has a dial.

    Args:
        settings: see :class:`equipoise.methods.preference.PreferenceSettings`.
        text: plain passages for the recorded KL; by default the fitting half of our own text.
        checkpoint: not used.
        progress: called with a :class:`Progress`.

    Raises InputError where peft is missing, for a model that is steered or has no linear attention layers.
    """
    return fit_preferring(loaded, task, settings or DpoSettings(), seed=seed, text=text, progress=progress)
