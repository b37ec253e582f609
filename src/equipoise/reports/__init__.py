"""Results as files, tables, figures and one self-contained page."""

from .comparison import AtBudget, Compared, Comparison
from .comparison_page import figure_comparison
from .comparison_tables import comparison_table
from .culture import CultureResults, CultureRow, culture_table, render_culture
from .diff import Diff, Difference, Pair, Pairing, diff_tables, render_diff
from .estimates import write_estimate
from .heads import head_tables, render_heads
from .layers import Layer, LayerCurve, LayerResults
from .layers_page import layer_table, render_layers
from .page import figure_tradeoff, render_page
from .probe_page import probe_table, render_probes
from .probes import CategoryProbes, ProbeResults
from .results import Advice, Detection, Generation, Group, Results, Run
from .tables import audit_tables

__all__ = [
    "Advice",
    "AtBudget",
    "CategoryProbes",
    "Compared",
    "Comparison",
    "CultureResults",
    "CultureRow",
    "Detection",
    "Diff",
    "Difference",
    "Generation",
    "Group",
    "Layer",
    "LayerCurve",
    "LayerResults",
    "Pair",
    "Pairing",
    "ProbeResults",
    "Results",
    "Run",
    "audit_tables",
    "comparison_table",
    "culture_table",
    "diff_tables",
    "figure_comparison",
    "figure_tradeoff",
    "head_tables",
    "layer_table",
    "probe_table",
    "render_culture",
    "render_diff",
    "render_heads",
    "render_layers",
    "render_page",
    "render_probes",
    "write_estimate",
]
