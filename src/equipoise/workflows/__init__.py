"""The verbs: each a short story over the rooms below."""

from .audit import audit, write_results
from .convert import convert
from .demo import demo
from .fit import fit
from .generate import generate
from .info import info
from .inject import inject
from .scope import ScopeResult, scope

__all__ = [
    "ScopeResult",
    "audit",
    "convert",
    "demo",
    "fit",
    "generate",
    "info",
    "inject",
    "scope",
    "write_results",
]
