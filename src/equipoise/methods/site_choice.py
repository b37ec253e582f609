"""Which sites a method may choose from: one kind of site in one block, in any, or in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..models import LoadedModel
from .settings import AUTO

KINDS = ("out", "attn", "mlp", "heads")
Layer = int | str


@dataclass(frozen=True)
class Place:
    """Sites that are edited together: of one kind, in one block or in all of them."""

    layer: Layer
    kind: str
    sites: tuple[str, ...]


def require_layer(method: str, settings: object) -> None:
    """Raise InputError unless ``layer`` is ``auto``, ``all`` or a whole number from 0."""
    layer = settings.layer  # type: ignore[attr-defined]
    if layer not in (AUTO, "all") and not (isinstance(layer, int) and layer >= 0):
        raise InputError(
            f"{method} setting layer={layer}: give auto, all, or a block's number, counted from 0"
        )


def require_site(method: str, settings: object) -> None:
    """Raise InputError unless ``site`` is a kind of site that a block has, or ``norm.j``."""
    site = settings.site  # type: ignore[attr-defined]
    norm = isinstance(site, str) and site.startswith("norm.") and site[5:].isdigit()
    if site not in KINDS and not norm:
        raise InputError(f"{method} setting site={site}: choose one of {', '.join(KINDS)}, norm.0, norm.1, …")


def places(
    loaded: LoadedModel,
    method: str,
    kinds: Sequence[str],
    layer: Layer,
    *,
    together: bool = False,
    spare: bool = False,
) -> list[list[Place]]:
    """Lines of places: along a line the block goes up, so that neighbours resemble each other.

    Args:
        kinds: kinds of site, such as ``out`` or ``norm.0``; each makes a line of its own.
        layer: ``auto`` for every block, ``all`` for all blocks together, or the number of one.
        together: with ``auto``, offer all blocks together as well.
        spare: pass over kinds of site that there aren't, as long as there is one of them.

    Raises InputError, naming the method, for a block or a kind of site that the model hasn't.
    """
    blocks = len(loaded.anatomy.blocks)
    if isinstance(layer, int) and not 0 <= layer < blocks:
        raise InputError(
            f"{method} setting layer={layer}: {loaded.name} has the blocks 0 to {blocks - 1}; choose one of these"
        )
    known = set(loaded.anatomy.sites())
    lines: list[list[Place]] = []
    missing: list[InputError] = []
    for kind in kinds:
        named = {i: f"block.{i}.{kind}" for i in range(blocks)}
        there = [i for i, name in named.items() if name in known]
        if not there or (isinstance(layer, int) and layer not in there):
            where = f"block {layer}" if isinstance(layer, int) else "no block"
            verb = "has no" if isinstance(layer, int) else "has a"
            missing.append(
                InputError(
                    f"{method} setting site={kind}: {where} of {loaded.name} {verb} site {kind!r}: "
                    f"`equipoise info` lists the sites that there are"
                )
            )
            continue
        singles = [Place(i, kind, (named[i],)) for i in there]
        everywhere = Place("all", kind, tuple(named[i] for i in there))
        if isinstance(layer, int):
            lines.append([singles[there.index(layer)]])
        elif layer == "all":
            lines.append([everywhere])
        else:
            lines += [singles, [everywhere]] if together else [singles]
    if missing and not (spare and lines):
        raise missing[0]
    return lines


def sites_of(lines: Sequence[Sequence[Place]]) -> list[str]:
    """Every site of every place, each once."""
    return list(dict.fromkeys(site for line in lines for place in line for site in place.sites))
