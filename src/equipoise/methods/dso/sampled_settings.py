"""What can be set about a sampled DSO fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from ...errors import InputError
from ..settings import parse_settings, require, require_budget, require_share, require_word
from .settings import Precision


@dataclass(frozen=True)
class SampledSettings:
    """Settings of :func:`equipoise.methods.dso.fit_sampled`; every one can be given as ``--set key=value``.

    Attributes:
        steps: gradient steps.
        prompts: training prompts a step.
        samples: completions a prompt, at least 2: each one's baseline is the others' mean reward.
        tokens: most tokens of a completion.
        validation_samples: completions of each validation prompt, by which the state to keep is chosen.
        passages: plain passages from which the metric of KL is estimated.
        passage_tokens: tokens of each.
        kl: ε, the KL budget on plain text, mean nats a token.
        step_kl: δ, the length of one step in the same unit: ½ ΔᵀFΔ, F the Fisher information of plain text.
        momentum: share of the earlier gradients in the direction of a step, in [0, 1).
        density: the largest share of entries that the ℓ1 proximal step leaves other than zero; 1 is no ℓ1.
        precision: as in :class:`DsoSettings`.
    """

    steps: int = 12
    prompts: int = 16
    samples: int = 4
    tokens: int = 16
    validation_samples: int = 8
    passages: int = 96
    passage_tokens: int = 32
    kl: float = 0.05
    step_kl: float = 0.002
    momentum: float = 0.6
    density: float = 0.5
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        counts = ("steps", "prompts", "tokens", "validation_samples", "passages")
        require("dso", self, {**dict.fromkeys(counts, 1), "samples": 2, "passage_tokens": 2})
        require_budget("dso", self, "kl", "step_kl")
        require_share("dso", self, "density")
        if not 0 <= self.momentum < 1:
            raise InputError(f"dso setting momentum={self.momentum}: it must be at least 0 and below 1")
        require_word("dso", self, "precision", get_args(Precision))

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> "SampledSettings":
        """Settings from texts, as the command line gives them.

        Raises InputError for an unknown key (naming those there are) or a value that doesn't fit.
        """
        return parse_settings(cls, "sampled dso", given)
