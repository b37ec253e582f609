"""Analysis: where bias lives in a model."""

from .activations import Reading, activations
from .heads import (
    Contrast,
    Head,
    ablation_scores,
    all_heads,
    direct_scores,
    gradient_scores,
    logit_gaps,
)

__all__ = [
    "Contrast",
    "Head",
    "Reading",
    "ablation_scores",
    "activations",
    "all_heads",
    "direct_scores",
    "gradient_scores",
    "logit_gaps",
]
