"""Injected tokens as safetensors files of the kind ``token``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import save as serialise

from ..errors import InputError
from ..files import write_atomic
from .files import FORMAT, METADATA_KEY, opened, refuse_unknown
from .provenance import Provenance
from .token import InjectedToken

KIND = "token"
_ROW = "row"
_HEADER = frozenset({"format", "kind", "string", "tokenizer", "provenance"})


def save_token(token: InjectedToken, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write ``token`` to ``path`` atomically; equal tokens give equal bytes."""
    header = {
        "format": FORMAT,
        "kind": KIND,
        "string": token.string,
        "tokenizer": token.tokenizer,
        "provenance": token.provenance.to_json(),
    }
    try:
        text = json.dumps(header, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: the provenance can't be written as JSON: {error}") from None
    return write_atomic(path, serialise({_ROW: token.row}, metadata={METADATA_KEY: text}), force=force)


def load_token(path: str | os.PathLike[str]) -> InjectedToken:
    """Read a token. Raises InputError that names the file for one that is damaged or of another kind."""
    with opened(path, "inject") as (header, file):
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if header["kind"] != KIND:
        raise InputError(
            f"{path} holds an {header['kind']!r}, not a token: give a file that `equipoise inject` wrote"
        )
    refuse_unknown(path, set(header), _HEADER)
    if set(tensors) != {_ROW} or tensors[_ROW].dtype != torch.float32:
        raise InputError(f"{path}: a token's file holds one float32 tensor, {_ROW!r}: inject it again")
    if not isinstance(header["tokenizer"], str):
        raise InputError(f"{path}: the tokenizer's hash in the header is damaged: inject it again")
    try:
        origin = Provenance.from_json(header["provenance"])
        return InjectedToken(header["string"], tensors[_ROW], header["tokenizer"], origin)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
