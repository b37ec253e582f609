"""Info: a model, or an intervention file, in a table."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import torch

from ..interventions import InjectedToken, Intervention, Provenance, read_header
from ..models import LoadedModel, describe, load

Rows = list[tuple[str, str]]


def info(
    source: str | os.PathLike[str] | LoadedModel,
    *,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
) -> Rows:
    """Label and value of each line about a model, or about a ``.safetensors`` file that Equipoise wrote."""
    if not isinstance(source, LoadedModel) and Path(source).suffix == ".safetensors":
        return file_rows(source)
    return describe(load(source, dtype=dtype, device=device)).rows()


def file_rows(path: str | os.PathLike[str]) -> Rows:
    """What an intervention's or a token's file says; the file is checked like for any other use."""
    rows: Rows = [("file", os.fspath(path))]
    if "+" not in Path(path).name:
        header = read_header(path)
        rows += [("kind", str(header["kind"])), ("format", str(header["format"]))]
        if header["kind"] == "token":
            return rows + _token(InjectedToken.load(path))
    intervention = Intervention.load(path)
    kinds = Counter(".".join(p for p in site.split(".") if not p.isdigit()) for site in intervention.edits)
    parts = Counter(name for edit in intervention.edits.values() for name, _ in edit.parts())
    share = intervention.nonzero / intervention.size if intervention.size else 0.0
    rows += [
        ("token scope", intervention.scope),
        ("sites", ", ".join(f"{count} × {kind}" for kind, count in kinds.items()) or "none"),
        ("parts", ", ".join(f"{count} × {name}" for name, count in parts.items()) or "none"),
        ("entries", f"{intervention.size:,}, of which {intervention.nonzero:,} ({share:.1%}) are not zero"),
        *_origin(intervention.provenance),
    ]
    return rows


def _token(token: InjectedToken) -> Rows:
    return [
        ("token", token.string),
        ("row", f"{token.row.numel()} numbers, norm {float(token.row.norm()):.3g}"),
        ("tokenizer", token.tokenizer[:16]),
        *((label, value) for label, value in _origin(token.provenance) if label != "history"),
    ]


def _origin(origin: Provenance, prefix: str = "") -> Rows:
    rows: Rows = [(f"{prefix}method", origin.method)]
    if origin.model is not None:
        model = origin.model
        rows.append(
            (
                f"{prefix}fitted on",
                f"{model.architecture}, {model.blocks} blocks × {model.hidden_size}, fingerprint {model.digest}",
            )
        )
    rows += [(f"{prefix}{key}", str(value)) for key, value in origin.config.items()]
    if origin.seed is not None:
        rows.append((f"{prefix}seed", str(origin.seed)))
    if origin.data is not None:
        rows.append((f"{prefix}data", origin.data))
    if origin.versions:
        rows.append((f"{prefix}versions", ", ".join(f"{k} {v}" for k, v in origin.versions.items())))
    if origin.steps:
        rows.append((f"{prefix}since then", ", ".join(origin.steps)))
    for number, term in enumerate(origin.terms, 1):
        rows += _origin(term, f"term {number} ")
    return rows
