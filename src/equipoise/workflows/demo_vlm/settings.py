"""How the demo's model is trained."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class TrainSettings:
    """How the model is trained.

    Attributes:
        styles: what it sees; the rest is for measuring.
        aligning: steps of the projector's first lesson (:mod:`equipoise.workflows.demo_vlm.alignment`).
        steps: of ``scenes`` scenes each.
        variants: of each drawing, the first of which is as drawn.
        rank: of the changes to the text model's matrices.
        rate: Adam's largest learning rate, of the low-rank changes. It rises over ``warmup`` steps, stays, and
            falls to zero over the last third, so that up to there a training may still be made longer or shorter.
        noise: standard deviation added to the standardised features, so that a style is not learnt by heart.
    """

    styles: tuple[str, ...]
    aligning: int = 120
    steps: int = 600
    scenes: int = 6
    variants: int = 4
    rank: int = 8
    rate: float = 1e-3
    warmup: int = 10
    noise: float = 0.3
    seed: int = 0

    @property
    def falls(self) -> int:
        """The step from which the learning rate falls."""
        return self.steps - self.steps // 3

    def goes_on(self, recipe: str, step: int) -> bool:
        """Whether a training by ``recipe`` (JSON) that has done ``step`` steps is one by these settings so far."""
        before = TrainSettings(**json.loads(recipe)) if recipe else None
        if before is None or asdict(before) | {"steps": 0} != asdict(self) | {
            "steps": 0,
            "styles": list(self.styles),
        }:
            return False
        return before.steps == self.steps or step <= min(before.falls, self.falls)
