"""Analysis: where bias lives in a model."""

from .activations import Reading, activations

__all__ = ["Reading", "activations"]
