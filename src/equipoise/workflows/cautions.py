"""What is accepted, but may do something else than expected: a line of warning each."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence

from ..errors import InputWarning
from ..interventions import meeting
from ..methods import Steering
from ..methods.mitigation import Mitigation, Together


def warn_of_meeting(terms: Sequence[tuple[str, Mitigation]]) -> None:
    """One :class:`InputWarning` for a sum of which two terms edit the same site."""
    steering = [(name, one.intervention) for name, one in terms if isinstance(one, Steering)]
    for (one, first), (other, second) in itertools.combinations(steering, 2):
        sites = meeting(first, second)
        if sites:
            more = f" and {len(sites) - 1} more" if len(sites) > 1 else ""
            warnings.warn(
                f"{one} and {other} meet at {sites[0]}{more}: their changes add up there, so what each was measured "
                "to do alone says little about the sum: measure it",
                InputWarning,
                stacklevel=2,
            )
            return


def warn_of_seeds(name: str | None, found: Mapping[int, Mitigation]) -> None:
    """One :class:`InputWarning` for what was fitted under another seed than the one it is measured at."""
    for seed, mitigation in found.items():
        others = sorted(_fit_seeds(mitigation) - {seed})
        if others:
            warnings.warn(
                f"{name or 'the intervention'} was fitted with seed {others[0]} and is measured at seed {seed}, which "
                "holds out other items: it may have learned from them (a file for each seed is named with {seed})",
                InputWarning,
                stacklevel=2,
            )
            return


def _fit_seeds(mitigation: Mitigation) -> set[int]:
    """The seeds of the splits that it was fitted on, as far as they are known.

    What was made from statements (``probe``), converted or drawn at random has learned from no task's items: its seed,
    if it has one, decided something else.
    """
    if isinstance(mitigation, Together):
        return {seed for part in mitigation.parts for seed in _fit_seeds(part)}
    origin = getattr(
        mitigation.intervention if isinstance(mitigation, Steering) else mitigation, "provenance", None
    )
    terms = [] if origin is None else [*origin.terms, origin]
    return {
        term.seed
        for term in terms
        if term.seed is not None and "task" in term.config and term.method != "random"
    }
