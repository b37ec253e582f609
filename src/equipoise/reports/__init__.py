"""Results as files, tables, figures and one self-contained page."""

from .page import figure_tradeoff, render_page, write_page
from .results import Advice, Generation, Group, Results, Run
from .tables import audit_table, audit_tables, recommendation_line

__all__ = [
    "Advice",
    "Generation",
    "Group",
    "Results",
    "Run",
    "audit_table",
    "audit_tables",
    "figure_tradeoff",
    "recommendation_line",
    "render_page",
    "write_page",
]
