"""``lora_dpo``: DPO with KL to equal confidence, RES-FAIR's own training (arXiv 2505.23798, section 4.4)."""

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
class LoraDpoSettings(PreferenceSettings):
    """See :class:`equipoise.methods.preference.PreferenceSettings`."""

    method: ClassVar[str] = "lora_dpo"

    kl: float = 0.5


def fit(
    loaded: LoadedModel,
    task: Task,
    *,
    seed: int = 0,
    settings: LoraDpoSettings | None = None,
    text: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    progress: Report | None = None,
) -> Adapter:
    """Train an adapter by the loss of ``dpo`` + 0.5 KL({p₁, p₂} ‖ {½, ½}) (eq. 13 to 15, 19).

    A fair answer is one against the stereotype (:mod:`equipoise.methods.orientation`), drawn anew for each item and
    step, like the unfair one. p are the shares of what is unfair: of the two values in ``choices``, of all outcomes
    where equal shares are right.

    Args:
        settings: see :class:`equipoise.methods.preference.PreferenceSettings`.
        text: plain passages for the recorded KL; by default the fitting half of our own text.
        checkpoint: not used.
        progress: called with a :class:`Progress`.

    Raises InputError where peft is missing, for a model that is steered or has no linear attention layers.
    """
    return fit_preferring(
        loaded, task, settings or LoraDpoSettings(), seed=seed, text=text, progress=progress
    )
