"""Settings of BiasGym's two steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import InputError
from ..settings import parse_settings, require, require_word

SCORES = ("ablation", "direct", "gradient")


@dataclass(frozen=True)
class InjectSettings:
    """How a token is trained.

    Attributes:
        token: the new word.
        epochs: passes over the paragraphs.
        batch: paragraphs a step.
        rate: Adam's step, in units of the root mean square of the embedding's entries: the same number then means
            the same for models of any scale.
        restarts: cycles of the cosine that takes the step size to 0.
        slack: how far the row's norm may be from the vocabulary's mean, as a share of it.
        noise: size of the seeded noise on the row that training starts from, in the same unit as ``rate``.
    """

    token: str = "<Zorvia>"
    epochs: int = 10
    batch: int = 8
    rate: float = 0.1
    restarts: int = 1
    slack: float = 0.1
    noise: float = 0.1

    def __post_init__(self) -> None:
        require(
            "inject",
            self,
            {"epochs": 1, "batch": 1, "rate": 0, "restarts": 1, "slack": 0, "noise": 0},
        )
        if not self.rate > 0:
            raise InputError(f"inject setting rate={self.rate}: it must be above 0")
        if self.slack >= 1:
            raise InputError(f"inject setting slack={self.slack}: it must be below 1")

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> InjectSettings:
        """From texts, as ``--set`` takes them."""
        return parse_settings(cls, "inject", given)


@dataclass(frozen=True)
class ScopeSettings:
    """How heads are found.

    Attributes:
        heads: K, how many are scaled; 0 chooses it on validation prompts.
        scale: what their outputs are multiplied by; 0 removes them.
        by: the score that ranks them: ``ablation``, ``direct`` or ``gradient``.
        prompts: validation prompts that heads are scored on; 0 takes all.
        candidates: how many heads are ablated, those with the largest gradient scores; 0 ablates every head.
        kl: where K is chosen, the most that the scaled heads may cost on plain text, nats a token.
    """

    heads: int = 0
    scale: float = 0.0
    by: str = "ablation"
    prompts: int = 10
    candidates: int = 0
    kl: float = 0.1

    def __post_init__(self) -> None:
        require("scope", self, {"heads": 0, "prompts": 0, "candidates": 0, "kl": 0, "scale": -10})
        require_word("scope", self, "by", SCORES)

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> ScopeSettings:
        """From texts, as ``--set`` takes them."""
        return parse_settings(cls, "scope", given)
