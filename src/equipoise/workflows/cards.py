"""What an audit was asked and what acted in it, for the page's cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..interventions import Provenance
from ..methods.mitigation import Mitigation, Prompting, Steering, Together
from .measure import Questions
from .runs import Contender

Card = dict[str, Any]


def data_card(questions: Questions) -> Card:
    """How much was asked: items of each part, and of how many groups and templates."""
    items = questions.items
    return {
        **{part: sum(item.part == part for item in items) for part in ("ambiguous", "unambiguous")},
        "groups": len({group for item in items for group in item.groups}),
        "templates": len({item.template for item in items}),
    }


def mitigation_cards(contenders: Sequence[Contender]) -> list[Card]:
    """What each mitigation is: one entry a value, with the seeds that it serves."""
    return [
        {"name": contender.name, "file": contender.file, "seeds": list(seeds), **_card(mitigation)}
        for contender in contenders
        for mitigation, seeds in contender.distinct()
    ]


def _card(mitigation: Mitigation) -> Card:
    if isinstance(mitigation, Steering):
        intervention = mitigation.intervention
        return {
            "scope": intervention.scope,
            "sites": list(intervention.edits),
            "entries": intervention.size,
            "nonzero": intervention.nonzero,
            **_origin(intervention.provenance),
        }
    if isinstance(mitigation, Prompting):
        return {"instruction": mitigation.instruction, **_origin(mitigation.provenance)}
    if isinstance(mitigation, Together):
        return {"method": mitigation.method, "terms": [_card(part) for part in mitigation.parts]}
    origin = getattr(mitigation, "provenance", None)
    return {
        "method": mitigation.method,
        "nonzero": mitigation.size,
        **({} if origin is None else _origin(origin)),
    }


def _origin(provenance: Provenance) -> Card:
    found: Card = {
        "method": provenance.method,
        "settings": dict(provenance.config),
        "fitted_seed": provenance.seed,
        "fitted_data": provenance.data,
        "steps": list(provenance.steps),
    }
    if provenance.terms:
        found["terms"] = [_origin(term) for term in provenance.terms]
    return {name: value for name, value in found.items() if value not in (None, [], {})}
