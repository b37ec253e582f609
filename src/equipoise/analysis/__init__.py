"""Analysis: where bias lives in a model."""

from .activations import Reading, activations
from .norms import typical_norms

__all__ = ["Reading", "activations", "typical_norms"]
