"""``random``: a control. Another method's edit, turned into a random direction of the same size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from ..errors import InputError
from ..interventions import AffineEdit, Intervention, Provenance
from ..models import LoadedModel
from ..tasks import Task
from . import caa, iti, leace, mean_difference, mean_projection
from .progress import Report
from .settings import parse_settings, require_word

LIKE: Mapping[str, ModuleType] = {
    "caa": caa,
    "mean_difference": mean_difference,
    "iti": iti,
    "leace": leace,
    "mean_projection": mean_projection,
}
"""Methods that it can be made from; :func:`control` takes any intervention."""


@dataclass(frozen=True)
class RandomSettings:
    """Settings of :func:`fit`.

    Attributes:
        like: the method whose sites, scope and sizes are kept; it is fitted with its defaults.
    """

    like: str = "caa"

    def __post_init__(self) -> None:
        require_word("random", self, "like", tuple(LIKE))

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> RandomSettings:
        """Settings from texts; raises InputError for an unknown key or a value that doesn't fit."""
        return parse_settings(cls, "random", given)


def fit(
    loaded: LoadedModel,
    task: Task,
    *,
    seed: int = 0,
    settings: RandomSettings | None = None,
    text: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    progress: Report | None = None,
) -> Intervention:
    """:func:`control` of what another method finds: what a change of that size does, whatever its direction.

    Args:
        settings: see :class:`RandomSettings`.
        text, checkpoint, progress: as for that method.

    Raises InputError as that method does.
    """
    settings = settings or RandomSettings()
    found = LIKE[settings.like].fit(loaded, task, seed=seed, text=text, progress=progress)
    return control(found, seed)


def control(intervention: Intervention, seed: int) -> Intervention:
    """At each site an edit that changes every activation by as much as this one's, in a random direction.

    With Δ the intervention's change of y, the control's is Q Δ. Q is orthogonal and random: it takes the span of U and
    b to a random one, among the coordinates that the edit touches at all. Where there is a scale, which Q would make
    dense, it flips signs at random. So ‖change‖ is the same for every y, λ and site.

    Raises InputError for an intervention without sites, or negative seeds.
    """
    if not intervention.edits:
        raise InputError("a control needs an intervention with at least one site")
    if seed < 0:
        raise InputError(f"the seed of a control is {seed}, but must be at least 0")
    draw = torch.Generator().manual_seed(seed)
    edits = {site: _turned(edit, draw) for site, edit in intervention.edits.items()}
    origin = intervention.provenance
    # What the other's numbers did on validation data is not what these do.
    config = {key: value for key, value in origin.config.items() if key in ("task", "settings", "chosen")}
    return replace(
        intervention,
        edits=edits,
        provenance=Provenance(
            method="random",
            config={"like": origin.method, **config},
            model=origin.model,
            data=origin.data,
            versions=origin.versions,
            seed=seed,
        ),
    )


def _turned(edit: AffineEdit, draw: torch.Generator) -> AffineEdit:
    written = [
        part for part in (edit.u, None if edit.shift is None else edit.shift[:, None]) if part is not None
    ]
    if edit.scale is not None:
        signs = 2.0 * torch.randint(0, 2, (edit.width,), generator=draw) - 1.0
        return AffineEdit(
            edit.scale * signs,
            None if edit.shift is None else edit.shift * signs,
            None if edit.u is None else edit.u * signs[:, None],
            edit.v,
        )
    matrix = torch.cat(written, 1).double()
    touched = matrix.abs().sum(1) > 0
    turned = torch.zeros_like(matrix)
    turned[touched] = _rotated(matrix[touched], draw)
    rank = edit.rank
    return AffineEdit(
        shift=None if edit.shift is None else turned[:, -1],
        u=turned[:, :rank] if rank else None,
        v=edit.v,
    )


def _rotated(matrix: Tensor, draw: torch.Generator) -> Tensor:
    """Q · matrix [m, r] for a random orthogonal Q: all products of columns stay as they are."""
    rows, columns = matrix.shape
    drawn = torch.randn(rows, min(rows, columns), generator=draw, dtype=torch.float64)
    basis, upper = torch.linalg.qr(drawn)
    # The signs that the factorisation chose would make the directions less than random.
    basis = basis * upper.diagonal().sign()
    _, triangle = torch.linalg.qr(matrix)
    found: Tensor = basis @ triangle
    return found
