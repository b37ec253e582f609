"""Demo: the whole story on a small real model, fitted in front of the user."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..interventions import Intervention
from ..models import LoadedModel, load
from ..reports import Results
from ..tasks import Suite, Task
from .audit import GRID, LIMIT, OUTPUTS, PASSAGES, audit
from .fit import fit
from .inputs import check_seeds, free_outputs
from .progress import Report, part, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MODEL = "smollm2"
TASK = "pronouns"
FILE = "dso.safetensors"
FOLDER = "equipoise-demo"
# What a fit of a minute or two reaches on this model within the KL budget; audit's own default asks for 0.05.
TARGET = 0.10

# Of the two steps, how much of the time the first one takes.
_FIT_SHARE = 0.55

# One step fewer than by default, and a little more bias left: a demo is watched.
QUICK = {"steps": "4"}


def demo(
    out: str | os.PathLike[str] = FOLDER,
    *,
    force: bool = False,
    seed: int = 0,
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel = MODEL,
    task: str | Task = TASK,
    settings: Mapping[str, str] | None = None,
    limit: int | None = LIMIT,
    command: str | None = None,
    progress: Report = silent,
) -> tuple[Intervention, Results]:
    """Fit DSO on ``pronouns``, audit it on what was held out, and write all of it into ``out``.

    The folder gets ``dso.safetensors``, ``results.json``, ``report.html`` and ``scores.jsonl``, all at the end. Raises
    :class:`InputError` at once if one of them exists and ``force`` is not set, or the model is not installed.
    """
    check_seeds([seed])
    folder = free_outputs(out, (FILE, *OUTPUTS), force=force)
    progress(0.0, "loading the model")
    loaded = load(source)
    return fit_and_audit(
        loaded,
        task,
        folder,
        settings={**QUICK, **(settings or {})},
        seed=seed,
        limit=limit,
        force=force,
        command=command,
        progress=progress,
    )


def fit_and_audit(
    loaded: LoadedModel,
    task: str | Task,
    folder: Path,
    *,
    settings: Mapping[str, str],
    seed: int,
    limit: int | None,
    force: bool,
    command: str | None,
    progress: Report,
    strengths: Sequence[float] = GRID,
    passages: int = PASSAGES,
    suites: Sequence[Suite] = (),
    target: float = TARGET,
    kl_budget: float = 0.05,
    accuracy_drop: float = 0.01,
) -> tuple[Intervention, Results]:
    """What every demo does: fit DSO, audit it on what was held out and on suites, write both."""
    intervention = fit(
        loaded,
        task,
        method="dso",
        settings=settings,
        seed=seed,
        progress=part(progress, 0.0, _FIT_SHARE),
    )
    assert isinstance(intervention, Intervention)
    found = audit(
        loaded,
        [task, *suites],
        intervention={seed: intervention},
        strengths=strengths,
        seeds=(seed,),
        target=target,
        kl_budget=kl_budget,
        accuracy_drop=accuracy_drop,
        limit=limit,
        passages=passages,
        out=folder,
        force=force,
        file=FILE,
        command=command,
        progress=part(progress, _FIT_SHARE, 1.0),
    )
    intervention.save(folder / FILE, force=force)
    return intervention, found
