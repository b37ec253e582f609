"""Info: a model, or an intervention file, in a table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch

from ..analysis import Detector
from ..interventions import InjectedToken, Intervention, Provenance, read_header
from ..methods import Adapter, Prompting, Temperature, load_mitigation
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
    """What the file of an intervention, instruction, detector or token says; it is checked like for any other use."""
    rows: Rows = [("file", os.fspath(path))]
    if Path(path).is_file() or "+" not in os.fspath(path):
        header = read_header(path)
        if header["kind"] == "detector":
            return [*rows, *_detector(Detector.load(path))]
        rows += [("kind", str(header["kind"])), ("format", str(header["format"]))]
        if header["kind"] == "token":
            return rows + _token(InjectedToken.load(path))
    found = load_mitigation(path)
    if isinstance(found, Prompting):
        return [*rows, ("instruction", found.instruction), *_origin(found.provenance)]
    if isinstance(found, Adapter):
        numbers = [
            ("layers", str(len(found.layers))),
            ("rank", str(found.rank)),
            ("alpha", f"{found.alpha:g}"),
        ]
        return [*rows, *numbers, *_origin(found.provenance)]
    if isinstance(found, Temperature):
        return [*rows, ("temperature", f"{found.temperature:g}"), *_origin(found.provenance)]
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


def _detector(detector: Detector) -> Rows:
    return [
        ("kind", "detector"),
        ("category", detector.category),
        ("reads", f"{detector.reading} token{'s' if detector.reading == 'mean' else ''} at {detector.site}"),
        ("fires above", f"P(biased) = {detector.threshold:g}"),
        *_origin(detector.provenance),
    ]


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
    rows += [(f"{prefix}{key.replace('_', ' ')}", _shown(value)) for key, value in origin.config.items()]
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


def _shown(value: object) -> str:
    """A setting's value for people: mappings as "name value", pair by pair; numbers to five digits."""
    if isinstance(value, Mapping):
        pieces = [f"{key} {_shown(one)}" for key, one in value.items()]
        return ("; " if any(isinstance(one, Mapping) for one in value.values()) else ", ").join(pieces)
    if isinstance(value, (list, tuple)):
        return ", ".join(
            f"({_shown(one)})" if isinstance(one, (list, tuple)) else _shown(one) for one in value
        )
    return f"{value:.5g}" if isinstance(value, float) else str(value)
