"""Mitigations as files: an instruction has one too, of the same format, with the text in the header."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialise

from ..errors import InputError
from ..files import write_atomic
from ..interventions import Intervention, Provenance, read_header
from ..interventions.files import FORMAT, METADATA_KEY, opened
from .adapter import Adapter
from .mitigation import Mitigation, Prompting, Steering
from .temperature import Temperature

PROMPT = "prompt"
TEMPERATURE = "temperature"
ADAPTER = "adapter"
_HEADER = frozenset({"format", "kind", "provenance"})


def save_prompting(prompting: Prompting, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a file of the kind ``prompt`` atomically; raises InputError for an existing one without ``force``."""
    return _save(path, prompting, PROMPT, {"instruction": prompting.instruction}, force=force)


def save_temperature(temperature: Temperature, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a file of the kind ``temperature`` atomically; raises InputError for an existing one without ``force``."""
    return _save(path, temperature, TEMPERATURE, {"temperature": temperature.temperature}, force=force)


def save_adapter(adapter: Adapter, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a file of the kind ``adapter`` atomically, with the tensors ``LAYER.a`` and ``LAYER.b`` in fp32."""
    tensors = {
        f"{name}.{part}": tensor.float().contiguous()
        for name, pair in adapter.layers.items()
        for part, tensor in zip("ab", pair, strict=True)
    }
    values = {"alpha": adapter.alpha, "layers": list(adapter.layers)}
    return _save(path, adapter, ADAPTER, values, tensors, force=force)


def _save(
    path: str | os.PathLike[str],
    mitigation: Prompting | Temperature | Adapter,
    kind: str,
    values: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor] | None = None,
    *,
    force: bool,
) -> Path:
    header = {"format": FORMAT, "kind": kind, "provenance": mitigation.provenance.to_json(), **values}
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    return write_atomic(path, serialise(dict(tensors or {}), metadata={METADATA_KEY: text}), force=force)


def load_mitigation(path: str | os.PathLike[str]) -> Mitigation:
    """What one file holds: an intervention, an instruction, a temperature or an adapter; a sum, as interventions.

    Raises InputError, naming the file, for everything that is wrong with it.
    """
    kind = read_header(path)["kind"] if Path(path).is_file() else None
    if kind not in _READERS:
        return Steering(Intervention.load(path))
    keys, read = _READERS[kind]
    header = read_header(path)
    if wrong := sorted(set(header) ^ keys ^ _HEADER):
        raise InputError(
            f"{path}: the header lacks or has beyond the known keys: {', '.join(wrong)}; fit it again"
        )
    try:
        return read(header, path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _prompting(header: Mapping[str, Any], path: str | os.PathLike[str]) -> Prompting:
    if not isinstance(header["instruction"], str):
        raise InputError("the instruction is no text")
    return Prompting(header["instruction"], Provenance.from_json(header["provenance"]))


def _temperature(header: Mapping[str, Any], path: str | os.PathLike[str]) -> Temperature:
    value = header["temperature"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError("the temperature is no number")
    return Temperature(float(value), Provenance.from_json(header["provenance"]))


def _adapter(header: Mapping[str, Any], path: str | os.PathLike[str]) -> Adapter:
    names, alpha = header["layers"], header["alpha"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("the list of layers in the header is damaged: fit it again")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise InputError("alpha is no number")
    with opened(path) as (_, file):
        known = set(file.keys())
        wanted = {f"{name}.{part}" for name in names for part in "ab"}
        if known != wanted:
            raise InputError(f"the tensors are not those of the layers: {', '.join(sorted(known ^ wanted))}")
        tensors = {name: file.get_tensor(name).clone() for name in wanted}
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or tensor.ndim != 2:
            raise InputError(f"{name} is {tensor.dtype} {list(tensor.shape)}, it must be a float32 matrix")
    layers = {name: (tensors[f"{name}.a"], tensors[f"{name}.b"]) for name in names}
    return Adapter(layers, float(alpha), Provenance.from_json(header["provenance"]))


_READERS: dict[str, tuple[frozenset[str], Callable[..., Mitigation]]] = {
    PROMPT: (frozenset({"instruction"}), _prompting),
    ADAPTER: (frozenset({"alpha", "layers"}), _adapter),
    TEMPERATURE: (frozenset({"temperature"}), _temperature),
}
