"""Results as files, tables, figures and one self-contained page."""

from .comparison import AtBudget, Compared, Comparison
from .comparison_page import figure_comparison
from .comparison_tables import comparison_table
from .page import figure_tradeoff, render_page
from .results import Advice, Generation, Group, Results, Run
from .tables import audit_tables

__all__ = [
    "Advice",
    "AtBudget",
    "Compared",
    "Comparison",
    "Generation",
    "Group",
    "Results",
    "Run",
    "audit_tables",
    "comparison_table",
    "figure_comparison",
    "figure_tradeoff",
    "render_page",
]
