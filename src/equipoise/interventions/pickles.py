"""Pickles of others: the only place that opens one, and only with ``weights_only=True``."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ..errors import InputError


class PickledSteeringVector:
    """What stands in for ``steering_vectors.SteeringVector`` in a pickle: its fields, and none of its code."""

    layer_activations: Any = None
    layer_type: Any = "decoder_block"


_KNOWN = (PickledSteeringVector, "steering_vectors.steering_vector.SteeringVector")
_UNREADABLE = (
    pickle.UnpicklingError,
    SafetensorError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
)


def read_pickle(path: str | os.PathLike[str]) -> Any:
    """What ``torch.save`` wrote: tensors, plain containers, and steering vectors.

    Raises :class:`InputError` in one line for anything else; no code of the file runs.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file: check the path")
    try:
        with torch.serialization.safe_globals([_KNOWN]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        # torch's own message goes on to advise loading the file with its code.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0]
        raise InputError(
            f"{path} can't be read as tensors alone ({reason}): give a plain dictionary that torch.save wrote"
        ) from None
