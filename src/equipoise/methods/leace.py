"""``leace``: LEAst-squares Concept Erasure (arXiv 2306.03819) of what the stereotype favours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..interventions import Intervention
from ..models import LoadedModel
from ..tasks import Task
from .erasing import ErasureSettings, fit_eraser
from .erasure import leace
from .progress import Report


@dataclass(frozen=True)
class LeaceSettings(ErasureSettings):
    """See :class:`equipoise.methods.erasing.ErasureSettings`."""

    method: ClassVar[str] = "leace"


def fit(
    loaded: LoadedModel,
    task: Task,
    *,
    seed: int = 0,
    settings: LeaceSettings | None = None,
    text: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    progress: Report | None = None,
) -> Intervention:
    """y' = y − λ s W⁺ U Uᵀ W (y − μ) at a site, for every token: no linear probe finds the concept any more.

    W = Σ^(−1/2), and U an orthonormal basis of the columns of W Σ_xz: of all affine maps that make the classes' means
    equal, this one changes y least in mean square. Σ and μ are those of labelled texts and plain text together, since
    it is plain text that the edit should leave alone; Σ_xz is of the labelled texts, read at their last token.

    Args:
        settings: see :class:`ErasureSettings`; the layer is chosen on validation data unless fixed.
        text: plain passages for the KL budget and the background; by default the fitting half of our own text.
        checkpoint: not used: the fit is short.
        progress: called with a :class:`Progress`.

    Raises InputError for a site that the model hasn't, or a model that is steered.
    """
    return fit_eraser(
        leace, loaded, task, settings or LeaceSettings(), seed=seed, text=text, progress=progress
    )
