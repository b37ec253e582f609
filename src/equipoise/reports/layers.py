"""results.json of ``equipoise layers``, as frozen values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files import json_text, write_atomic
from ..metrics import Estimate
from .estimates import write_estimate

SCHEMA = 1
Json = dict[str, Any]


@dataclass(frozen=True)
class Layer:
    """One block's streams, read at the last prompt token through the final norm and the head.

    Attributes:
        block: its number.
        metrics: of what the stream after the block answers, by name as in an audit; ``said`` is the mean probability of
            any option.
        residuals: shares of the items: ``before`` (the block's input gives a fair answer), ``middle`` (the stream after
            its attention does), ``disagree`` (one does and the other doesn't).
    """

    block: int
    metrics: Mapping[str, Estimate | None]
    residuals: Mapping[str, Estimate | None]


@dataclass(frozen=True)
class LayerCurve:
    """All blocks of the model for one kind of input, without a mitigation (``mitigation`` None) or with it.

    ``modality`` is text or image, or None for a task that doesn't tell; ``final`` is the model's own answer there.
    """

    mitigation: str | None
    strength: float
    modality: str | None
    n: int
    layers: tuple[Layer, ...]
    final: Mapping[str, Estimate | None]

    def to_dict(self) -> Json:
        """The entry in ``curves``."""
        return {
            "mitigation": self.mitigation,
            "strength": self.strength,
            "modality": self.modality,
            "n": self.n,
            "final": _written(self.final),
            "layers": [
                {"block": one.block, "metrics": _written(one.metrics), "residuals": _written(one.residuals)}
                for one in self.layers
            ],
        }


@dataclass(frozen=True)
class LayerResults:
    """A whole file. ``model`` describes the model and has at least its ``name``."""

    model: Mapping[str, Any]
    task: str
    seed: int
    curves: tuple[LayerCurve, ...]
    level: float = 0.95
    file: str | None = None
    equipoise: str = ""
    command: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def curve(self, modality: str | None = None, *, mitigated: bool = False) -> LayerCurve:
        """One curve. Raises KeyError if there is none."""
        for one in self.curves:
            if (one.modality, one.mitigation is not None) == (modality, mitigated):
                return one
        raise KeyError((modality, mitigated))

    def to_dict(self) -> Json:
        """The file's content."""
        return {
            "schema": SCHEMA,
            "kind": "layers",
            "equipoise": self.equipoise,
            "model": dict(self.model),
            "task": self.task,
            "split": "heldout",
            "seed": self.seed,
            "level": self.level,
            "file": self.file,
            **self.extra,
            "curves": [one.to_dict() for one in self.curves],
            **({} if self.command is None else {"command": self.command}),
        }

    def write(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the file whole or not at all; an existing one is replaced only with ``force``."""
        return write_atomic(path, json_text(self.to_dict()), force=force)


def _written(values: Mapping[str, Estimate | None]) -> Json:
    return {name: write_estimate(value) for name, value in values.items()}
