"""Analysis: where bias lives in a model."""

from .activations import Reading, activations, states_of
from .norms import typical_norms

__all__ = ["Reading", "activations", "states_of", "typical_norms"]
