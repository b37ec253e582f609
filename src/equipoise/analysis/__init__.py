"""Analysis: where bias lives in a model."""

from .activations import Reading, activations, prompt_activations, prompt_states, states_of
from .detector import Detector
from .heads import (
    Contrast,
    Head,
    ablation_scores,
    all_heads,
    direct_scores,
    gradient_scores,
    logit_gaps,
)
from .norms import typical_norms
from .probes import (
    LayerProbe,
    Linear,
    ProbeSettings,
    best_site,
    cross_validate,
    fit_linear,
    group_folds,
    held_out,
    judgements,
    probe_site,
    shuffled,
)
from .streams import FirstTokens, Streams, last_logprobs, lens, read_streams
from .watch import Watch

__all__ = [
    "Contrast",
    "Detector",
    "FirstTokens",
    "Head",
    "LayerProbe",
    "Linear",
    "ProbeSettings",
    "Reading",
    "Streams",
    "Watch",
    "ablation_scores",
    "activations",
    "all_heads",
    "best_site",
    "cross_validate",
    "direct_scores",
    "fit_linear",
    "gradient_scores",
    "group_folds",
    "held_out",
    "judgements",
    "last_logprobs",
    "lens",
    "logit_gaps",
    "probe_site",
    "prompt_activations",
    "prompt_states",
    "read_streams",
    "shuffled",
    "states_of",
    "typical_norms",
]
