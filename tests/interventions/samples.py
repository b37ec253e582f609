"""Random models' interventions, and an independent way to apply them, for the tests of this room."""

import copy
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from tiny import PAD, tiny
from torch import Tensor, nn

from equipoise.interventions import AffineEdit, Intervention, Provenance, Scope
from equipoise.models import LoadedModel, hidden_of, replace_hidden

KINDS = ("norm", "heads", "attn", "mlp", "out")


@functools.cache
def model(name: str) -> LoadedModel:
    """One tiny model of each architecture for the whole session: nothing may change it."""
    return tiny(name)


def edit(width: int, generator: torch.Generator, *, rank: int = 0, size: float = 0.3) -> AffineEdit:
    def draw(*shape: int) -> Tensor:
        return size * torch.randn(*shape, generator=generator)

    if rank:
        return AffineEdit(draw(width), draw(width), draw(width, rank), draw(width, rank))
    return AffineEdit(draw(width), draw(width))


def intervention(
    loaded: LoadedModel,
    kinds: Iterable[str] = ("norm",),
    *,
    seed: int = 0,
    scope: Scope = "all",
    rank: int = 0,
) -> Intervention:
    """A strong random edit at every site of the given kinds."""
    generator = torch.Generator().manual_seed(seed)
    sites = [loaded.anatomy.site(name) for kind in kinds for name in loaded.anatomy.sites(kind)]  # type: ignore[arg-type]
    edits = {site.name: edit(site.width, generator, rank=rank) for site in sites}
    return Intervention(edits, scope, Provenance("test", model=loaded.fingerprint, seed=seed))


def tokens(rows: int = 3, length: int = 7, seed: int = 0) -> Tensor:
    return torch.randint(10, 300, (rows, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def logits(loaded: LoadedModel, ids: Tensor, **more: Any) -> Tensor:
    return loaded.model(input_ids=ids, **more).logits


def padded(rows: Sequence[Tensor], side: str) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and position ids of rows of different lengths."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), PAD)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        place = slice(longest - len(row), None) if side == "left" else slice(len(row))
        ids[index, place], mask[index, place] = row, 1
    return ids, mask, (mask.cumsum(1) - 1).clamp_min(0)


class _Wrapped(nn.Module):
    """A module whose input or output is edited by a plain function: no hook, nothing shared with the engine."""

    def __init__(self, inner: nn.Module, change: Callable[[Tensor], Tensor], where: str) -> None:
        super().__init__()
        self.inner, self.change, self.where = inner, change, where

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.where == "input":
            return self.inner(self.change(args[0]), *args[1:], **kwargs)
        output = self.inner(*args, **kwargs)
        return replace_hidden(output, self.change(hidden_of(output)))


def by_hand(loaded: LoadedModel, parts: Sequence[tuple[Intervention, float]]) -> nn.Module:
    """A copy of the model in which wrapped modules compute y + Σ λ (a y + U Vᵀ y + b), term by term."""
    changed = copy.deepcopy(loaded.model)
    for name in dict.fromkeys(name for one, _ in parts for name in one.edits):
        site = loaded.anatomy.site(name)

        def change(y: Tensor, name: str = name) -> Tensor:
            total = y
            for one, strength in parts:
                if name in one.edits:
                    e = one.edits[name]
                    for part in (
                        None if e.scale is None else e.scale * y,
                        e.shift,
                        None if e.u is None or e.v is None else torch.einsum("dr,er,...e->...d", e.u, e.v, y),
                    ):
                        if part is not None:
                            total = total + strength * part
            return total

        parent, _, last = site.path.rpartition(".")
        holder = changed.get_submodule(parent)
        setattr(holder, last, _Wrapped(getattr(holder, last), change, site.where))
    return changed
