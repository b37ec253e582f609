"""A detector: one vector that says how biased a text's activation looks."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from ..errors import InputError
from ..interventions import Provenance, refuse_steered
from ..models import LoadedModel
from ..scoring import text_ids
from .activations import Reading, activations


@dataclass(frozen=True, eq=False)
class Detector:
    """P(biased) = σ(wᵀx + c) of an activation x at one site; it fires above ``threshold``.

    Attributes:
        category: the kind of bias that it was trained on.
        site: where it reads.
        weight: w, [d]: scaler, principal components and logistic regression in one vector. Kept as fp32 on the CPU.
        bias: c.
        threshold: a probability, in (0, 1).
        reading: ``last``, the text's last token; ``mean``, the mean over its tokens but the first.
        provenance: the model, data and settings that it was trained on.

    Values that are not finite, and any other shape, raise :class:`InputError`.
    """

    category: str
    site: str
    weight: Tensor
    bias: float
    threshold: float = 0.5
    reading: Reading = "last"
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        weight = self.weight.detach().to("cpu", torch.float32).clone()
        if weight.dim() != 1 or not len(weight) or not bool(torch.isfinite(weight).all()):
            raise InputError("a detector's weight must be a vector of finite numbers: train it again")
        if not math.isfinite(self.bias):
            raise InputError("a detector's bias must be a finite number: train it again")
        if not 0 < self.threshold < 1:
            raise InputError(f"a detector's threshold is {self.threshold:g}, but must be between 0 and 1")
        if self.reading not in get_args(Reading):
            raise InputError(f"a detector reads {' or '.join(get_args(Reading))}, not {self.reading!r}")
        object.__setattr__(self, "weight", weight)

    def probabilities(self, states: Tensor) -> Tensor:
        """P(biased) [n] in fp32 of activations [n, d] at :attr:`site`, on their device."""
        return torch.sigmoid(states.float() @ self.weight.to(states.device) + self.bias)

    def fires(self, states: Tensor) -> Tensor:
        """Whether [n] activations [n, d] count as biased."""
        return self.probabilities(states) > self.threshold

    def scores(self, loaded: LoadedModel, texts: Sequence[str | Sequence[int]]) -> list[float]:
        """P(biased) of each text, or of token ids as the model would read them.

        Raises :class:`InputError` if anything steers the model (a detector doesn't judge what steering does to the
        activations that it reads), or for another model's detector.
        """
        refuse_steered(loaded)
        self.check(loaded)
        rows = [text_ids(loaded.tokenizer, text) if isinstance(text, str) else list(text) for text in texts]
        found = activations(loaded, rows, [self.site], reading=self.reading)[self.site]
        return [float(value) for value in self.probabilities(found)]

    def check(self, loaded: LoadedModel) -> None:
        """Raise :class:`InputError`, in words, unless this detector was trained on the model."""
        origin = self.provenance.model
        if origin is not None and not origin.matches(loaded.fingerprint):
            raise InputError(
                f"the detector was trained on another model than {loaded.name}: "
                f"{origin.mismatch(loaded.fingerprint)}; load that model, or run `equipoise probe` on this one"
            )
        width = loaded.anatomy.site(self.site).width
        if width != len(self.weight):
            raise InputError(
                f"{self.site}: the detector is {len(self.weight)} wide and the activation of {loaded.name} is {width}: "
                "it belongs to another model; load that one, or run `equipoise probe` on this one"
            )

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write a safetensors file, whole or not at all; refuses an existing one unless ``force``."""
        from .detector_file import save_detector

        return save_detector(self, path, force=force)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Detector:
        """Read a file written by :meth:`save`."""
        from .detector_file import load_detector

        return load_detector(path)
