"""``mean_projection``: the orthogonal projection off the difference of class means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..interventions import Intervention
from ..models import LoadedModel
from ..tasks import Task
from .erasing import ErasureSettings, fit_eraser
from .erasure import orthogonal
from .progress import Report


@dataclass(frozen=True)
class MeanProjectionSettings(ErasureSettings):
    """See :class:`equipoise.methods.erasing.ErasureSettings`."""

    method: ClassVar[str] = "mean_projection"


def fit(
    loaded: LoadedModel,
    task: Task,
    *,
    seed: int = 0,
    settings: MeanProjectionSettings | None = None,
    text: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    progress: Report | None = None,
) -> Intervention:
    """y' = y − λ s v vᵀ (y − μ) at a site, for every token, with v the unit difference of the two classes' means.

    It makes the classes' means equal like LEACE, without asking how much y varies along v (with more classes: the
    projection off all differences of their means).

    Args:
        settings: see :class:`ErasureSettings`; the layer is chosen on validation data unless fixed.
        text: plain passages for the KL budget and the background; by default the fitting half of our own text.
        checkpoint: not used: the fit is short.
        progress: called with a :class:`Progress`.

    Raises InputError for a site that the model hasn't, or a model that is steered.
    """
    return fit_eraser(
        orthogonal,
        loaded,
        task,
        settings or MeanProjectionSettings(),
        seed=seed,
        text=text,
        progress=progress,
    )
