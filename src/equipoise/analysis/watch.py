"""Detect while writing: before each token an unsteered reading of the text so far decides each row's strength."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..interventions import Attached, capture
from ..models import LoadedModel
from ..scoring import Step, memory
from .detector import Detector

# What tells the backbone about padding and positions; the other inputs belong to the head or to the steered pass.
_PLACES = ("attention_mask", "position_ids", "cache_position", "token_type_ids")


class Watch:
    """Steers only where a detector fires: give it to :func:`equipoise.scoring.generate_ids` as ``before_step``.

    Before each pass of the model the tokens of that pass go through the model unsteered, with a cache of their own.
    A detector reads these activations, and a row for which one fires gets ``strength`` in the pass that follows, any
    other row 0. So what is read is what the model itself makes of the text so far, whoever wrote it, and the next token
    is written with a strength that this text has earned.

    Keys and values in the steered pass's cache belong to the strength with which their tokens were computed.
    """

    def __init__(
        self, loaded: LoadedModel, detectors: Sequence[Detector], handle: Attached, strength: float
    ) -> None:
        """Watch ``loaded`` with ``detectors`` and turn ``handle`` to ``strength`` (λ) where one fires.

        The handle's strength is set to 0 at once. Raises :class:`InputError` without a detector, for
        another model's, or for a model without a cache that goes on token by token.
        """
        if not detectors:
            raise InputError("there is no detector to steer by: give at least one")
        for detector in detectors:
            detector.check(loaded)
        if not memory(loaded).steps:
            raise InputError(
                f"a detector can't read along while {loaded.name} writes: what it keeps of the tokens before is no "
                "cache that goes on token by token; steer without a detector"
            )
        self._loaded, self._detectors = loaded, tuple(detectors)
        self._handle, self._strength = handle, strength
        self._names = frozenset(inspect.signature(loaded.anatomy.backbone.forward).parameters)
        self._cache: Any = None
        self._sums: dict[str, Tensor] = {}
        self._counts: Tensor | None = None
        self._first: dict[str, Tensor] = {}
        self.fired: dict[int, list[bool]] = {}
        """Prompt -> whether it was steered while its token 0, 1, … was written."""
        self._turn(torch.zeros(1, dtype=torch.bool))

    def __call__(self, step: Step) -> None:
        """Read the text so far, unsteered, and set each row's strength for the pass that follows."""
        if step.number == 0:
            self._cache, self._sums, self._counts, self._first = None, {}, None, {}
        self._turn(torch.zeros(1, dtype=torch.bool))
        states = self._unsteered(step)
        fires = torch.zeros(len(step.index), dtype=torch.bool)
        last = {name: value[:, -1] for name, value in states.items()}
        means = self._means(step, states)
        for detector in self._detectors:
            read = last if detector.reading == "last" else means
            fires |= detector.fires(read[detector.site]).cpu()
        for row, prompt in enumerate(step.index):
            self.fired.setdefault(prompt, []).append(bool(fires[row]))
        self._turn(fires)

    def _turn(self, fires: Tensor) -> None:
        strengths = self._strength * fires.double()
        # One strength for all rows is set as a number: then the engine computes exactly what it does without a watch.
        uniform = bool((fires == fires[0]).all())
        with torch.inference_mode(False):
            self._handle.strength = float(strengths[0]) if uniform else strengths.tolist()

    def _unsteered(self, step: Step) -> dict[str, Tensor]:
        """[B, T, d] at each detector's site, for the tokens of this step."""
        sites = [detector.site for detector in self._detectors]
        given = {key: step.inputs[key] for key in _PLACES if key in step.inputs and key in self._names}
        with torch.inference_mode(), capture(self._loaded, sites) as captured:
            output = self._loaded.anatomy.backbone(
                input_ids=step.ids, past_key_values=self._cache, use_cache=True, **given
            )
        self._cache = output.past_key_values
        return {name: value[-1].reshape(*step.ids.shape, -1) for name, value in captured.items()}

    def _means(self, step: Step, states: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean over all tokens so far but each row's first, as :func:`equipoise.analysis.activations` takes it."""
        if all(detector.reading == "last" for detector in self._detectors):
            return {}
        mask = step.mask[:, -step.ids.shape[1] :].bool()
        if self._counts is None:
            first = mask.long().cumsum(1) == 1
            first &= mask
            self._first = {name: value[first.to(value.device)].float() for name, value in states.items()}
            mask = mask & ~first
            self._counts = torch.zeros(len(mask), device=mask.device)
        self._counts = self._counts + mask.sum(1)
        found = {}
        for name, value in states.items():
            here = mask.to(value.device)[..., None]
            total = self._sums.get(name, 0) + torch.where(here, value.float(), 0).sum(1)
            self._sums[name] = total
            counts = self._counts.to(value.device)[:, None]
            found[name] = torch.where(counts > 0, total / counts.clamp_min(1), self._first[name])
        return found
