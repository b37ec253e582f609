"""An intervention: affine edits at named sites, with a token scope and an origin. A value; no model inside."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch

from ..errors import InputError
from ..models import LoadedModel
from .edit import AffineEdit
from .provenance import Provenance

Scope = Literal["all", "answer"]
SCOPES: tuple[Scope, ...] = ("all", "answer")


@dataclass(frozen=True, eq=False)
class Intervention:
    """``y' = y + λ (a ⊙ y + U (Vᵀ y) + b)`` at each named site.

    Attributes:
        edits: site name -> edit; kept in the order of the sites ("block.2…" before "block.10…"), read-only.
        scope: which tokens are edited: "all", or "answer", every position from each row's last prompt token on.
        provenance: where it came from.

    ``a + b`` adds the deltas, each taken from the same y; ``2.0 * a`` multiplies the delta. The empty intervention
    (no sites) is the zero of the sum.
    """

    edits: Mapping[str, AffineEdit]
    scope: Scope = "all"
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise InputError(f"unknown token scope {self.scope!r}: it must be one of {', '.join(SCOPES)}")
        for site, edit in self.edits.items():
            if not isinstance(edit, AffineEdit):
                raise InputError(f"{site}: an edit must be an AffineEdit, not {type(edit).__name__}")
        ordered = {site: self.edits[site] for site in sorted(self.edits, key=_natural)}
        object.__setattr__(self, "edits", MappingProxyType(ordered))

    @property
    def size(self) -> int:
        """The number of entries in all edits, zeros included."""
        return sum(edit.size for edit in self.edits.values())

    @property
    def nonzero(self) -> int:
        """The number of entries that are not zero."""
        return sum(edit.nonzero for edit in self.edits.values())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of scope and numbers (not of the origin): equal exactly when two interventions do the same."""
        digest = hashlib.sha256(self.scope.encode())
        for site, edit in self.edits.items():
            for name, tensor in edit.parts():
                digest.update(f"\0{site}\0{name}\0{tuple(tensor.shape)}\0".encode())
                digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    def __add__(self, other: Intervention) -> Intervention:
        """The parallel sum: at each site both deltas, from the same y. Raises if the token scopes differ."""
        if not isinstance(other, Intervention):
            return NotImplemented
        if self.scope != other.scope:
            raise InputError(
                f"interventions with the token scopes {self.scope!r} and {other.scope!r} can't become one: "
                "attach them as a list instead"
            )
        edits = dict(self.edits)
        for site, edit in other.edits.items():
            try:
                edits[site] = edits[site] + edit if site in edits else edit
            except InputError as error:
                raise InputError(f"{site}: {error}") from None
        return replace(self, edits=edits, provenance=self.provenance + other.provenance)

    def __mul__(self, factor: float) -> Intervention:
        """The intervention whose full strength is ``factor`` times this one's."""
        if not isinstance(factor, (int, float)):
            return NotImplemented
        edits = {site: edit * factor for site, edit in self.edits.items()}
        return replace(self, edits=edits, provenance=self.provenance.then(f"times {float(factor)!r}"))

    __rmul__ = __mul__

    def sparsify(self, keep: float) -> Intervention:
        """Keep the strongest fraction of all entries and set the others to zero.

        All entries of all scales and shifts are ranked together by |value|; equal ones keep the order of the sites,
        scale before shift. Sizes stay, so ``a.sparsify(k).sparsify(k)`` is ``a.sparsify(k)``, and what a small
        ``keep`` leaves, a larger one leaves too.

        Args:
            keep: fraction in [0, 1]; round(keep · size) entries stay, halves rounded up.

        Raises InputError for a low-rank edit: an entry of U or V alone means nothing, only their product does.
        """
        if not 0.0 <= keep <= 1.0:
            raise InputError(f"keep must be a fraction from 0 to 1, not {keep!r}")
        for site, edit in self.edits.items():
            if edit.rank:
                raise InputError(
                    f"{site}: a low-rank edit can't be sparsified by entries: fit it with a smaller rank instead"
                )
        parts = [tensor for edit in self.edits.values() for _, tensor in edit.parts()]
        kept = _strongest(parts, keep)
        rest = iter(kept)
        edits = {
            site: AffineEdit(**{name: tensor * next(rest) for name, tensor in edit.parts()})
            for site, edit in self.edits.items()
        }
        return replace(self, edits=edits, provenance=self.provenance.then(f"keep {float(keep)!r}"))

    def check(self, loaded: LoadedModel) -> None:
        """Raise :class:`InputError`, in words, unless this intervention belongs to the model.

        The fingerprints must match (when the origin has one), every site must exist, and widths must agree.
        """
        origin = self.provenance.model
        if origin is not None and not origin.matches(loaded.fingerprint):
            raise InputError(
                f"the intervention was fitted on another model than {loaded.name}: "
                f"{origin.mismatch(loaded.fingerprint)}; load that model, or fit again on this one"
            )
        for name, edit in self.edits.items():
            site = loaded.anatomy.site(name)
            if site.width != edit.width:
                raise InputError(
                    f"{name}: the edit is {edit.width} wide and the activation of {loaded.name} is {site.width}: "
                    "the intervention belongs to another model; load that one, or fit again"
                )

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write a safetensors file, whole or not at all; refuses an existing one unless ``force``."""
        from .files import save_intervention

        return save_intervention(self, path, force=force)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Intervention:
        """Read a file written by :meth:`save`, or a sum of files, ``"a.safetensors+b.safetensors"``."""
        from .files import load_intervention

        return load_intervention(path)


def _strongest(tensors: list[torch.Tensor], keep: float) -> list[torch.Tensor]:
    """Boolean masks of the round(keep · n) entries of largest magnitude among all tensors together."""
    if not tensors:
        return []
    magnitudes = torch.cat([tensor.abs().flatten() for tensor in tensors])
    count = int(keep * magnitudes.numel() + 0.5)
    order = torch.sort(magnitudes, descending=True, stable=True).indices
    mask = torch.zeros_like(magnitudes, dtype=torch.bool)
    mask[order[:count]] = True
    ends = itertools.accumulate(tensor.numel() for tensor in tensors)
    return [
        mask[end - tensor.numel() : end].view_as(tensor) for end, tensor in zip(ends, tensors, strict=True)
    ]


def _natural(site: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which "block.2" comes before "block.10" and the blocks before "final"."""
    pieces = re.split(r"(\d+)", site)
    return tuple((0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in pieces)
