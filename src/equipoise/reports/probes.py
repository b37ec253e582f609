"""probes.json: what `equipoise probe` measured, as frozen values."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..analysis import LayerProbe
from ..files import json_text, write_atomic
from ..metrics import Estimate

SCHEMA = 1
Json = dict[str, Any]


@dataclass(frozen=True)
class CategoryProbes:
    """One category of statements.

    Attributes:
        category: its name.
        groups: groups that probes were cross-validated on, and that the detector was trained on.
        heldout_groups: groups that played no part in either.
        layers: one entry a site, cross-validated.
        words: the same procedure on which words occur, instead of activations: what needs no model.
        best: the site that the detector reads, the most accurate of ``layers``.
        heldout: the detector's accuracy on the held-out groups.
        heldout_words: the words' accuracy there.
        steered: the residual site of the steering vector, the most accurate of the kind ``out``.
        norm: median norm of the activation at that site over all but first tokens.
        detector, steering: the files' names; None if nothing was written.
    """

    category: str
    groups: int
    heldout_groups: int
    layers: tuple[LayerProbe, ...]
    words: Estimate
    best: str
    heldout: Estimate
    heldout_words: Estimate
    steered: str
    norm: float
    detector: str | None = None
    steering: str | None = None

    def layer(self, site: str) -> LayerProbe:
        """The entry of one site."""
        return next(one for one in self.layers if one.site == site)

    def to_dict(self) -> Json:
        """The entry in ``categories``."""
        return {
            "category": self.category,
            "groups": self.groups,
            "heldout_groups": self.heldout_groups,
            "words": self.words.as_dict(),
            "detector": {
                "file": self.detector,
                "site": self.best,
                "heldout_accuracy": self.heldout.as_dict(),
                "heldout_words": self.heldout_words.as_dict(),
            },
            "steering": {"file": self.steering, "site": self.steered, "typical_norm": self.norm},
            "sites": [
                {
                    "site": one.site,
                    "accuracy": one.accuracy.as_dict(),
                    "shuffled": None if one.control is None else one.control.as_dict(),
                    "above_shuffled": None if one.above_control is None else one.above_control.as_dict(),
                    "loss": one.loss if math.isfinite(one.loss) else None,
                }
                for one in self.layers
            ],
        }


@dataclass(frozen=True)
class ProbeResults:
    """A whole probes.json.

    ``model`` describes the model and has at least its ``name``; ``statements`` says which statements these were.
    """

    model: Mapping[str, Any]
    statements: str
    seed: int
    categories: tuple[CategoryProbes, ...]
    level: float = 0.95
    equipoise: str = ""
    command: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def category(self, name: str) -> CategoryProbes:
        """The entry of one category."""
        return next(one for one in self.categories if one.category == name)

    def to_dict(self) -> Json:
        """The file's content."""
        return {
            "schema": SCHEMA,
            "kind": "probes",
            "equipoise": self.equipoise,
            "model": dict(self.model),
            "statements": self.statements,
            "seed": self.seed,
            "level": self.level,
            **self.extra,
            "categories": [one.to_dict() for one in self.categories],
            **({} if self.command is None else {"command": self.command}),
        }

    def write(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the file whole or not at all; an existing one is replaced only with ``force``."""
        return write_atomic(path, json_text(self.to_dict()), force=force)
