"""The verbs: each a short story over the rooms below."""

from .audit import audit, write_results
from .generate import generate

__all__ = ["audit", "generate", "write_results"]
