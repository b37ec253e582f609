"""BiasGym (arXiv 2508.08855): inject an association by one token, and find the attention heads that carry it."""

from .elicitation import Elicitation, elicit, elicit_items, mentions
from .entities import Neighbour, named_rows, neighbours
from .head_scores import rank
from .inject import inject
from .scope import HeadScore, HeadTable, random_heads, scaled, scope
from .settings import InjectSettings, ScopeSettings

__all__ = [
    "Elicitation",
    "HeadScore",
    "HeadTable",
    "InjectSettings",
    "Neighbour",
    "ScopeSettings",
    "elicit",
    "elicit_items",
    "inject",
    "mentions",
    "named_rows",
    "neighbours",
    "random_heads",
    "rank",
    "scaled",
    "scope",
]
