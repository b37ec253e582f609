"""Results as files, tables, figures and one self-contained page."""

from .heads import head_tables, render_heads
from .page import figure_tradeoff, render_page
from .results import Advice, Generation, Group, Results, Run
from .tables import audit_tables

__all__ = [
    "Advice",
    "Generation",
    "Group",
    "Results",
    "Run",
    "audit_tables",
    "figure_tradeoff",
    "head_tables",
    "render_heads",
    "render_page",
]
