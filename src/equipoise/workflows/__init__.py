"""The verbs: each a short story over the rooms below."""

from .audit import audit, write_results
from .convert import convert
from .demo import demo
from .export import export
from .fit import fit
from .generate import generate
from .info import info

__all__ = ["audit", "convert", "demo", "export", "fit", "generate", "info", "write_results"]
