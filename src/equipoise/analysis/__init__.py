"""Analysis: where bias lives in a model."""

from .activations import Reading, activations, prompt_activations

__all__ = ["Reading", "activations", "prompt_activations"]
