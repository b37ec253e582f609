"""Analysis: where bias lives in a model."""

from .activations import Reading, activations, states_of
from .detector import Detector
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
from .watch import Watch

__all__ = [
    "Detector",
    "LayerProbe",
    "Linear",
    "ProbeSettings",
    "Reading",
    "Watch",
    "activations",
    "best_site",
    "cross_validate",
    "fit_linear",
    "group_folds",
    "held_out",
    "judgements",
    "probe_site",
    "shuffled",
    "states_of",
    "typical_norms",
]
