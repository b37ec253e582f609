"""Detectors as safetensors files of their own kind: the vector as a tensor, everything else as JSON in the header."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import save as serialise

from ..errors import InputError
from ..files import write_atomic
from ..interventions import Provenance
from ..interventions.files import FORMAT, METADATA_KEY, opened, refuse_unknown
from .detector import Detector

KIND = "detector"
_HEADER = frozenset({"format", "kind", "category", "site", "bias", "threshold", "reading", "provenance"})
_WEIGHT = "weight"
_REMEDY = "copy it again, or make it with `equipoise probe`"


def save_detector(detector: Detector, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write ``detector`` to ``path`` atomically; equal detectors give equal bytes."""
    header = {
        "format": FORMAT,
        "kind": KIND,
        "category": detector.category,
        "site": detector.site,
        "bias": detector.bias,
        "threshold": detector.threshold,
        "reading": detector.reading,
        "provenance": detector.provenance.to_json(),
    }
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    data = serialise({_WEIGHT: detector.weight}, metadata={METADATA_KEY: text})
    return write_atomic(path, data, force=force)


def load_detector(path: str | os.PathLike[str]) -> Detector:
    """Read a detector. Everything that is wrong with the file raises one :class:`InputError` that names it."""
    with opened(path, "probe") as (header, file):
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if header["kind"] != KIND:
        raise InputError(
            f"{path} holds an {header['kind']!r}, not a detector: give a detector-….safetensors of `equipoise probe`"
        )
    refuse_unknown(path, set(header), _HEADER)
    if set(tensors) != {_WEIGHT} or tensors[_WEIGHT].dtype != torch.float32:
        raise InputError(f"{path}: must hold one float32 tensor named {_WEIGHT!r}: {_REMEDY}")
    for key, kind in (
        ("category", str),
        ("site", str),
        ("reading", str),
        ("bias", float),
        ("threshold", float),
    ):
        if not isinstance(header[key], kind):
            raise InputError(f"{path}: {key} in the header is {header[key]!r}, no {kind.__name__}: {_REMEDY}")
    try:
        return Detector(
            category=header["category"],
            site=header["site"],
            weight=tensors[_WEIGHT],
            bias=header["bias"],
            threshold=header["threshold"],
            reading=header["reading"],
            provenance=Provenance.from_json(header["provenance"]),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
