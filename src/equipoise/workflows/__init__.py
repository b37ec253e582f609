"""The verbs: each a short story over the rooms below."""

from .audit import audit, write_results
from .choices import choices
from .convert import convert
from .demo import demo
from .fit import fit
from .generate import generate
from .info import info

__all__ = ["audit", "choices", "convert", "demo", "fit", "generate", "info", "write_results"]
