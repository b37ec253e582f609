"""Convert: another package's file into a safetensors file."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ..errors import InputError
from ..interventions import Intervention, convert_file
from ..models import LoadedModel, load
from .inputs import free_output


def convert(
    path: str | os.PathLike[str],
    source: str | os.PathLike[str] | LoadedModel,
    *,
    scale: str | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
) -> Intervention:
    """Read ``path`` for the model it was fitted on (see :func:`equipoise.interventions.convert_file`), and save it.

    ``scale`` says what the scales of a DSO file are, ``delta`` or ``factor``. Raises :class:`InputError` for anything
    that is not understood; nothing is written then.
    """
    target = None if out is None else free_output(out, force=force, suffix=".safetensors")
    if scale not in (None, "delta", "factor"):
        raise InputError(f"--scale {scale}: it must be delta (no effect at 0) or factor (no effect at 1)")
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file: name a .pt or .gguf file of another package")
    intervention = convert_file(path, load(source, dtype=dtype, device=device), scale=scale)  # type: ignore[arg-type]
    if target is not None:
        intervention.save(target, force=force)
    return intervention
