"""Several interventions at once: as few as do the same, and where they meet."""

from __future__ import annotations

from collections.abc import Sequence

from .intervention import Intervention, Scope


def added(interventions: Sequence[Intervention]) -> tuple[Intervention, ...]:
    """As few interventions as do the same together, one a token scope: what :func:`attach` takes as a list.

    Raises InputError for interventions of different models.
    """
    by_scope: dict[Scope, Intervention] = {}
    for one in interventions:
        by_scope[one.scope] = by_scope[one.scope] + one if one.scope in by_scope else one
    return tuple(by_scope.values())


def meeting(one: Intervention, other: Intervention) -> tuple[str, ...]:
    """The sites that both edit, in order. There the deltas add up, and neither does what it does alone."""
    return tuple(site for site in one.edits if site in other.edits)
