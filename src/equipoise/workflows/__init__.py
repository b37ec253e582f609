"""The verbs: each a short story over the rooms below."""

from .answers import answers
from .audit import audit, write_results
from .choices import choices
from .compare import compare, write_comparison
from .convert import convert
from .culture import culture
from .demo import demo
from .diff import diff
from .export import export
from .fit import fit
from .generate import generate
from .hub import pull, push
from .info import info
from .inject import inject
from .layers import layers
from .probe import Probed, probe
from .scope import ScopeResult, scope
from .utility import utility

__all__ = [
    "Probed",
    "ScopeResult",
    "answers",
    "audit",
    "choices",
    "compare",
    "convert",
    "culture",
    "demo",
    "diff",
    "export",
    "fit",
    "generate",
    "info",
    "inject",
    "layers",
    "probe",
    "pull",
    "push",
    "scope",
    "utility",
    "write_comparison",
    "write_results",
]
