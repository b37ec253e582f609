"""The verbs: each a short story over the rooms below."""

from .audit import audit, write_results
from .compare import compare, write_comparison
from .convert import convert
from .demo import demo
from .fit import fit
from .generate import generate
from .info import info
from .probe import Probed, probe

__all__ = [
    "Probed",
    "audit",
    "compare",
    "convert",
    "demo",
    "fit",
    "generate",
    "info",
    "probe",
    "write_comparison",
    "write_results",
]
