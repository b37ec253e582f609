"""Fit: find an intervention on a task with one of the methods."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast, get_args, get_type_hints

import torch

from ..errors import InputError
from ..interventions import Intervention
from ..methods import METHODS
from ..models import LoadedModel, load
from ..tasks import Task
from .inputs import check_seeds, free_output, the_tasks, writable
from .progress import Report, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SUFFIX = ".safetensors"


def fit(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    task: str | Task,
    *,
    method: str = "dso",
    settings: Any | Mapping[str, str] | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    progress: Report = silent,
) -> Intervention:
    """Fit an intervention on the training and validation part of ``task.split(seed)``.

    Args:
        source: see :func:`equipoise.models.load`.
        task: a name as on the command line, or a task.
        method: one of :data:`equipoise.methods.METHODS`.
        settings: the method's own settings, or texts by name as ``--set`` takes them; None for its defaults.
        seed: decides the split and everything random.
        out: a ``.safetensors`` file for the result; None writes nothing.
        force: overwrite it.
        checkpoint: a file that an interrupted fit is resumed from, to the same result.
        progress: called with the fraction done and a message.

    Raises :class:`InputError`, before anything long is done and with nothing written, for bad input.
    """
    target = None if out is None else free_output(out, force=force, suffix=SUFFIX)
    if checkpoint is not None:
        writable(Path(checkpoint).parent)
    check_seeds([seed])
    module = method_named(method)
    parsed = parse(module, settings) if isinstance(settings, Mapping) else settings
    (chosen,) = the_tasks(task)
    progress(0.0, "loading the model")
    loaded = load(source, dtype=dtype, device=device)
    progress(0.0, f"fitting {method} on {chosen.name}")
    intervention = cast(
        Intervention,
        module.fit(
            loaded,
            chosen,
            seed=seed,
            settings=parsed,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            progress=lambda step: progress(step.fraction, step.message),
        ),
    )
    if target is not None:
        intervention.save(target, force=force)
    progress(1.0, "done")
    return intervention


def method_named(name: str) -> ModuleType:
    """The method's module. Raises :class:`InputError` that lists the methods there are."""
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}: use one of {', '.join(METHODS)}")
    return METHODS[name]


def parse(method: ModuleType, given: Mapping[str, str]) -> Any:
    """The method's settings from texts: whatever class its ``fit`` names for ``settings`` reads them."""
    hint = get_type_hints(method.fit)["settings"]
    kind = next(one for one in (get_args(hint) or (hint,)) if hasattr(one, "parse"))
    return kind.parse(given)
