"""The verbs: each a short story over the rooms below."""

from .audit import audit, write_results
from .choices import choices
from .compare import compare, write_comparison
from .convert import convert
from .demo import demo
from .diff import diff
from .export import export
from .fit import fit
from .generate import generate
from .hub import pull, push
from .info import info
from .inject import inject
from .probe import Probed, probe
from .scope import ScopeResult, scope

__all__ = [
    "Probed",
    "ScopeResult",
    "audit",
    "choices",
    "compare",
    "convert",
    "demo",
    "diff",
    "export",
    "fit",
    "generate",
    "info",
    "inject",
    "probe",
    "pull",
    "push",
    "scope",
    "write_comparison",
    "write_results",
]
