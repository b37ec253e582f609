"""Results as files, tables, figures and one self-contained page."""

from .page import figure_tradeoff, render_page
from .probe_page import probe_table, render_probes
from .probes import CategoryProbes, ProbeResults
from .results import Advice, Detection, Generation, Group, Results, Run
from .tables import audit_tables

__all__ = [
    "Advice",
    "CategoryProbes",
    "Detection",
    "Generation",
    "Group",
    "ProbeResults",
    "Results",
    "Run",
    "audit_tables",
    "figure_tradeoff",
    "probe_table",
    "render_page",
    "render_probes",
]
