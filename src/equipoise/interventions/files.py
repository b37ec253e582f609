"""Interventions as safetensors files: numbers as tensors, everything else as JSON in the header."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise

from ..errors import InputError
from ..files import write_atomic
from .edit import PARTS, AffineEdit
from .intervention import Intervention
from .provenance import Provenance

FORMAT = 1
KIND = "intervention"
# One metadata entry: safetensors gives several entries no fixed order, and equal fits must give equal bytes.
METADATA_KEY = "equipoise"
_HEADER = frozenset({"format", "kind", "scope", "sites", "provenance"})


def save_intervention(
    intervention: Intervention, path: str | os.PathLike[str], *, force: bool = False
) -> Path:
    """Write ``intervention`` to ``path`` atomically; equal interventions give equal bytes.

    Tensors are named ``<site>.scale``, ``.shift``, ``.u`` and ``.v``. The header's entry "equipoise" is JSON with
    the format version, the kind, the token scope, the sites and the provenance. Raises InputError for an existing
    file without ``force``, or a configuration that isn't JSON.
    """
    header = {
        "format": FORMAT,
        "kind": KIND,
        "scope": intervention.scope,
        "sites": list(intervention.edits),
        "provenance": intervention.provenance.to_json(),
    }
    try:
        text = json.dumps(header, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: the provenance can't be written as JSON: {error}") from None
    tensors = {
        f"{site}.{name}": tensor for site, edit in intervention.edits.items() for name, tensor in edit.parts()
    }
    return write_atomic(path, serialise(tensors, metadata={METADATA_KEY: text}), force=force)


def load_intervention(path: str | os.PathLike[str]) -> Intervention:
    """Read an intervention, or the parallel sum of several, ``"a.safetensors+b.safetensors"``.

    A path with a plus sign in it that names a file is that file. Everything that is wrong with a file (missing,
    truncated, another kind or version, unknown keys, wrong types or shapes, values that are not finite) raises one
    :class:`InputError` that names it.
    """
    first, *others = split_sum(os.fspath(path))
    total = _load_one(first)
    for other in others:
        total = total + _load_one(other)
    return total


def split_sum(text: str) -> tuple[str, ...]:
    """The file names in ``a.safetensors+b.safetensors``; the name of a file that exists is never split."""
    if Path(text).is_file():
        return (text,)
    pieces = tuple(piece.strip() for piece in re.split(r"(?<=\.safetensors)\s*\+", text))
    if not all(pieces):
        raise InputError(f"the sum {text!r} has an empty term: write a.safetensors+b.safetensors")
    return pieces


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The checked JSON header of any Equipoise safetensors file: at least "format" and "kind" are there."""
    with opened(path) as (header, _):
        return header


def _load_one(path: str) -> Intervention:
    with opened(path) as (header, file):
        # Cloned: the tensors of a memory map would change if the file were overwritten in place.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    kind = header["kind"]
    if kind != KIND:
        hints = {"token": "give it as --tokens", "detector": "give it as --detect"}
        hint = hints.get(kind, "give a file that `equipoise fit` wrote")
        raise InputError(f"{path} holds a {kind!r}, not an intervention: {hint}")
    refuse_unknown(path, set(header), _HEADER)
    sites = header["sites"]
    if not isinstance(sites, list) or not all(isinstance(site, str) for site in sites):
        raise InputError(f"{path}: the list of sites in the header is damaged: fit it again")
    parts: dict[str, dict[str, torch.Tensor]] = {site: {} for site in sites}
    for name, tensor in tensors.items():
        site, _, part = name.rpartition(".")
        if site not in parts or part not in PARTS:
            raise InputError(
                f"{path}: unknown tensor {name!r}: the file was changed or is of a newer version"
            )
        if tensor.dtype != torch.float32:
            raise InputError(f"{path}: {name} is {tensor.dtype}, it must be float32: convert it or fit again")
        parts[site][part] = tensor
    edits = {}
    for site, named in parts.items():
        try:
            edits[site] = AffineEdit(**named)
        except InputError as error:
            raise InputError(f"{path}: {site}: {error}") from None
    try:
        return Intervention(edits, header["scope"], Provenance.from_json(header["provenance"]))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


@contextmanager
def opened(path: str | os.PathLike[str], maker: str = "fit") -> Iterator[tuple[dict[str, Any], Any]]:
    """The checked header, and the file with the tensors, of which none is read; ``maker`` is the command to name."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file: check the path, or make it with `equipoise {maker}`")
    try:
        with safe_open(path, framework="pt") as file:
            yield _header(path, file.metadata() or {}), file
    except InputError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path} is truncated or no safetensors file ({error}): copy it again or fit again"
        ) from None


def _header(path: str | os.PathLike[str], metadata: dict[str, str]) -> dict[str, Any]:
    if METADATA_KEY not in metadata:
        raise InputError(
            f"{path} is a safetensors file, but Equipoise didn't write it: give a file made by `fit`"
        )
    try:
        header = json.loads(metadata[METADATA_KEY])
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: the header is damaged ({error}): copy it again or fit again") from None
    if not isinstance(header, dict) or not {"format", "kind"} <= set(header):
        raise InputError(
            f"{path}: the header is damaged (no format version or kind): copy it again or fit again"
        )
    if header["format"] != FORMAT:
        raise InputError(
            f"{path} has format version {header['format']!r} and this version reads {FORMAT}: update equipoise"
        )
    refuse_unknown(path, set(metadata), frozenset({METADATA_KEY}))
    return header


def refuse_unknown(path: str | os.PathLike[str], found: set[str], known: frozenset[str]) -> None:
    """Raise :class:`InputError` unless the header's keys are exactly the known ones."""
    unknown, missing = sorted(found - known), sorted(known - found)
    if unknown:
        raise InputError(f"{path}: unknown keys in the header: {', '.join(unknown)}; update equipoise")
    if missing:
        raise InputError(f"{path}: the header lacks {', '.join(missing)}: copy it again or fit again")
