"""Fit: find an intervention on a task with one of the methods."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast, get_args, get_type_hints

import torch

from ..errors import InputError
from ..interventions import Intervention
from ..methods import METHODS, Adapter, Prompting, Temperature
from ..methods.mitigation import Mitigation
from ..models import LoadedModel, load
from ..tasks import PromptTask, Task, load_any_task
from .inputs import check_seeds, free_output, the_text, writable
from .progress import Report, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SUFFIX = ".safetensors"


def fit(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    task: str | Task | PromptTask,
    *,
    method: str = "dso",
    settings: Any | Mapping[str, str] | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    text: str | os.PathLike[str] | Sequence[str] | None = None,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    progress: Report = silent,
) -> Intervention | Prompting | Temperature | Adapter:
    """Fit an intervention on the training and validation part of ``task.split(seed)``; or choose another mitigation.

    Args:
        source: see :func:`equipoise.models.load`.
        task: a name as on the command line, or a task; a free-text one, such as ``toxicity``, is fitted from samples.
        method: one of :data:`equipoise.methods.METHODS`.
        settings: the method's own settings, or texts by name as ``--set`` takes them; None for its defaults.
        seed: decides the split and everything random.
        out: a ``.safetensors`` file for the result; None writes nothing.
        force: overwrite it.
        checkpoint: a file that an interrupted fit of ``dso`` is resumed from, to the same result.
        text: a text file, or passages, on which KL is kept low; by default our own, the half that no report uses.
        progress: called with the fraction done and a message.

    Raises :class:`InputError`, before anything long is done and with nothing written, for bad input.
    """
    target = None if out is None else free_output(out, force=force, suffix=SUFFIX)
    if checkpoint is not None:
        writable(Path(checkpoint).parent)
    check_seeds([seed])
    chosen = load_any_task(task) if isinstance(task, str) else task
    fitter = fitter_of(method, chosen)
    if checkpoint is not None and not getattr(METHODS[method], "RESUMES", False):
        raise InputError(f"method {method!r} keeps no checkpoint (dso does): leave --checkpoint out")
    parsed = parse(fitter, settings) if isinstance(settings, Mapping) else settings
    passages, _ = the_text(text, "fit")
    progress(0.0, "loading the model")
    loaded = load(source, dtype=dtype, device=device)
    progress(0.0, f"fitting {method} on {chosen.name}")
    found = cast(
        Intervention | Prompting | Temperature | Adapter,
        run_fitter(
            fitter,
            loaded,
            chosen,
            seed=seed,
            settings=parsed,
            text=passages,
            checkpoint=checkpoint,
            progress=progress,
        ),
    )
    if target is not None:
        found.save(target, force=force)
    progress(1.0, "done")
    return found


def run_fitter(
    fitter: Callable[..., Any],
    loaded: LoadedModel,
    task: Task | PromptTask,
    *,
    seed: int,
    settings: Any,
    text: Sequence[str],
    checkpoint: str | os.PathLike[str] | None,
    progress: Report,
) -> Intervention | Mitigation:
    """Call a method's fitter, its progress reported in this room's way."""
    return cast(
        Intervention | Mitigation,
        fitter(
            loaded,
            task,
            seed=seed,
            settings=settings,
            text=text,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            progress=lambda step: progress(step.fraction, step.message),
        ),
    )


def fitter_of(name: str, task: Task | PromptTask) -> Callable[..., Any]:
    """The method's ``fit``, or for free text its ``fit_sampled``.

    Raises :class:`InputError` that lists the methods there are, or says that this one needs closed answers.
    """
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}: use one of {', '.join(METHODS)}")
    method: ModuleType = METHODS[name]
    if isinstance(task, Task):
        return cast(Callable[..., Any], method.fit)
    found = getattr(method, "fit_sampled", None)
    if found is None:
        raise InputError(f"method {name!r} needs closed answers and task {task.name!r} is free text: use dso")
    return cast(Callable[..., Any], found)


def parse(fitter: Callable[..., Any], given: Mapping[str, str]) -> Any:
    """Settings from texts: whatever class the fitter names for ``settings`` reads them."""
    hint = get_type_hints(fitter)["settings"]
    kind = next(one for one in (get_args(hint) or (hint,)) if hasattr(one, "parse"))
    return kind.parse(given)
