"""``mean_difference``: v = mean(neutral) − mean(biased) of whole statements, added to every token (Dubey)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..analysis import activations, typical_norms
from ..errors import InputError
from ..interventions import AffineEdit, Intervention, Provenance, Scope
from ..models import LoadedModel
from ..versions import versions
from .directions import mean_direction


def from_statements(
    loaded: LoadedModel,
    neutral: Sequence[Sequence[int]],
    biased: Sequence[Sequence[int]],
    site: str,
    *,
    strength: float = 0.1,
    scope: Scope = "all",
    config: Mapping[str, Any] | None = None,
    data: str | None = None,
    seed: int | None = None,
) -> Intervention:
    """y' = y + λ s r v at ``site``, from plain statements (arXiv 2508.09019).

    v = (mean(neutral) − mean(biased)) / ‖·‖ of the statements' last tokens, r the median norm of the site's activation
    over all but the first tokens of the statements, and s the ``strength``: a unit vector alone is tiny against late
    residual streams. Nothing is validated here.

    Args:
        neutral, biased: token ids of each statement (see :func:`equipoise.scoring.text_ids`); the numbers may differ.
        site: where it is read and added.
        strength: s, in units of r; λ = 1 is this much.
        scope: which tokens it is added to.
        config: recorded in the provenance, beside what is given here.
        data: the data's fingerprint, recorded.
        seed: recorded.

    Raises :class:`InputError` for an unknown site, an empty side, a statement without tokens, or equal means.
    """
    if not 0 < strength < float("inf"):
        raise InputError(f"the strength of a steering vector is {strength:g}, but must be above 0")
    if not neutral or not biased:
        raise InputError("a steering vector needs at least one neutral and one biased statement")
    rows = [*neutral, *biased]
    found = activations(loaded, rows, [site])[site]
    direction = mean_direction(found[: len(neutral)], found[len(neutral) :], site)
    norm = typical_norms(loaded, rows, [site])[site]
    recorded = {
        **(config or {}),
        "site": site,
        "strength": strength,
        "typical_norm": norm,
        "statements": {"neutral": len(neutral), "biased": len(biased)},
    }
    origin = Provenance(
        "mean_difference", recorded, model=loaded.fingerprint, data=data, versions=versions(), seed=seed
    )
    return Intervention({site: AffineEdit(shift=strength * norm * direction)}, scope, origin)
