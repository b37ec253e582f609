"""Vectors of other packages as interventions: llama.cpp's and repeng's control vectors, steering-vectors' files."""

from __future__ import annotations

import importlib.util
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, InputWarning
from ..models import LoadedModel
from .dso_file import ScaleMeaning, convert_dso
from .edit import AffineEdit
from .intervention import Intervention
from .pickles import PickledSteeringVector, read_pickle
from .provenance import Provenance

_NORMS = {
    "input_layernorm": ("input_layernorm", "ln_1"),
    "post_attention_layernorm": ("post_attention_layernorm", "ln_2"),
}
_SITES = {"decoder_block": "out", "self_attn": "attn", "mlp": "mlp"}


def convert_file(
    path: str | os.PathLike[str], loaded: LoadedModel, *, scale: ScaleMeaning | None = None
) -> Intervention:
    """Read another package's file for ``loaded``, whatever it is: told by its content.

    A GGUF is a control vector (:func:`convert_control_vector`); what ``torch.save`` wrote is a steering vector
    (:func:`convert_steering_vector`) or interventions of the DSO repository (:func:`convert_dso_pt`), for which alone
    ``scale`` is. Raises :class:`InputError` for everything else.
    """
    if not Path(path).is_file():
        raise InputError(
            f"{path}: no such file: name a control vector (.gguf), or a file that torch.save wrote"
        )
    with open(path, "rb") as stream:
        gguf = stream.read(4) == b"GGUF"
    content = None if gguf else read_pickle(path)
    if not gguf and not _is_vector(content):
        return convert_dso(path, content, loaded, scale=scale)
    if scale is not None:
        raise InputError(f"{path} holds vectors that are added: leave --scale out, it is for files of DSO")
    return convert_control_vector(path, loaded) if gguf else _steering(path, content, loaded)


def convert_control_vector(path: str | os.PathLike[str], loaded: LoadedModel) -> Intervention:
    """A control vector that repeng or llama.cpp wrote (GGUF): ``direction.i`` is added to what block i gives.

    λ is what repeng calls the coefficient. Raises :class:`InputError` for a GGUF of anything else.
    """
    if importlib.util.find_spec("gguf") is None:
        raise InputError("reading a control vector needs the package gguf: pip install gguf")
    from gguf import GGUFReader

    try:
        reader: Any = GGUFReader(path)
        fields = {
            name: reader.get_field(name) for name in ("general.architecture", "controlvector.model_hint")
        }
        kind, hint = (None if field is None else str(field.contents()) for field in fields.values())
        tensors = {str(one.name): torch.tensor(one.data.copy()) for one in reader.tensors}
    except (ValueError, KeyError, IndexError, OSError, TypeError, OverflowError) as error:
        raise InputError(f"{path} is a damaged GGUF file ({error}): copy it again") from None
    if kind != "controlvector":
        raise InputError(
            f"{path} is a GGUF of {kind}, no control vector: give one that repeng or llama.cpp wrote"
        )
    shifts: dict[int, Any] = {}
    for name, tensor in tensors.items():
        found = re.fullmatch(r"direction\.(\d+)", name)
        if found is None:
            raise InputError(f"{path}: unknown tensor {name!r}: a control vector has direction.NUMBER alone")
        shifts[int(found[1])] = tensor
    own = str(loaded.model.config.get_text_config(decoder=True).model_type)
    if hint is not None and _letters(hint) != _letters(own):
        warnings.warn(f"{path} was made for a {hint} model, and this is a {own}", InputWarning, stacklevel=2)
    sites = {f"block.{block}.out": shift for block, shift in shifts.items()}
    return _intervention(path, loaded, sites, "control-vector", {"model_hint": hint})


def convert_steering_vector(path: str | os.PathLike[str], loaded: LoadedModel) -> Intervention:
    """A ``SteeringVector`` of the package steering-vectors that ``torch.save`` wrote; λ is its multiplier.

    The object itself, or a dictionary of its fields: ``{"layer_activations": {layer: [d]}, "layer_type": "mlp"}``.
    Raises :class:`InputError` for anything else.
    """
    content = read_pickle(path)
    if not _is_vector(content):
        raise InputError(f"{path} holds a {type(content).__name__}, no steering vector")
    return _steering(path, content, loaded)


def _is_vector(content: Any) -> bool:
    fields = {"layer_activations", "layer_type"}
    named = isinstance(content, Mapping) and "layer_activations" in content and set(content) <= fields
    return isinstance(content, PickledSteeringVector) or named


def _steering(path: str | os.PathLike[str], content: Any, loaded: LoadedModel) -> Intervention:
    fields = content if isinstance(content, Mapping) else vars(content)
    vectors, kind = fields.get("layer_activations"), fields.get("layer_type", "decoder_block")
    if not isinstance(vectors, Mapping) or not all(type(layer) is int for layer in vectors):
        raise InputError(f"{path}: layer_activations must be a dictionary from layer numbers to vectors")
    sites = {_site(path, loaded, layer, str(kind)): vector for layer, vector in vectors.items()}
    return _intervention(path, loaded, sites, "steering-vectors", {"layer_type": str(kind)})


def _site(path: str | os.PathLike[str], loaded: LoadedModel, layer: int, kind: str) -> str:
    blocks = len(loaded.anatomy.blocks)
    if not -blocks <= layer < blocks:
        raise InputError(
            f"{path}: there is no layer {layer} in {loaded.name}, which has {blocks}: wrong model?"
        )
    block = layer % blocks
    if kind in _SITES:
        return f"block.{block}.{_SITES[kind]}"
    for norm in loaded.anatomy.norms:
        if norm.site.startswith(f"block.{block}.") and norm.name.rpartition(".")[2] in _NORMS.get(kind, ()):
            return norm.site
    raise InputError(
        f"{path}: {loaded.name} has no {kind!r} in block {block}, of which the file's vectors are"
    )


def _intervention(
    path: str | os.PathLike[str],
    loaded: LoadedModel,
    sites: Mapping[str, Any],
    method: str,
    config: Mapping[str, Any],
) -> Intervention:
    if not sites:
        raise InputError(f"{path} is empty: there is nothing to convert")
    edits = {}
    for site, vector in sites.items():
        flat = isinstance(vector, Tensor) and vector.dim() > 0 and vector.numel() == vector.shape[-1]
        shift = vector.reshape(-1) if flat else vector
        try:
            edits[site] = AffineEdit(shift=shift)
        except InputError as error:
            raise InputError(f"{path}: {site}: {error}") from None
    origin = Provenance(method, {"converted_from": Path(path).name, **config}, loaded.fingerprint)
    intervention = Intervention(edits, "all", origin)
    intervention.check(loaded)
    return intervention


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
