"""Refusing to steer what can't be steered, before anything is touched."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from torch import nn

from ..errors import InputError
from ..models import LoadedModel, Site, is_compiled
from .fold import FOLDED
from .intervention import Intervention
from .steering import is_steered

_ATTACHED: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()


def refuse_compiled(loaded: LoadedModel) -> None:
    """Raise :class:`InputError` if the model, or a part of it, is compiled.

    Compiled code doesn't look for hooks that were added later: steering would silently do nothing.
    """
    if is_compiled(loaded.model):
        raise InputError(
            f"{loaded.name} is compiled, and compiled code ignores hooks that are added later: load the model again, "
            "attach first and compile then (the strength may change after that)"
        )


def refuse_shared(sites: Iterable[Site]) -> None:
    """Raise :class:`InputError` if two sites are one module: an edit of one would act at both."""
    seen: dict[tuple[int, str], str] = {}
    for site in sites:
        key = (id(site.module), site.where)
        if key in seen:
            raise InputError(
                f"{seen[key]} and {site.name} are the same module ({site.path}): edit one of them only"
            )
        seen[key] = site.name


def refuse_steered(loaded: LoadedModel) -> None:
    """Raise :class:`InputError` if anything steers the model at present, at whatever strength."""
    if any(is_steered(module) or module in FOLDED for module in loaded.model.modules()):
        raise InputError(
            f"{loaded.name} is steered, and this needs the model itself: detach what is attached first"
        )


class Claim:
    """The entry "these interventions are attached to this model"; refuses an intervention that has one already."""

    def __init__(self, loaded: LoadedModel, interventions: Iterable[Intervention]) -> None:
        self._all = _ATTACHED.setdefault(loaded.model, set())
        self._mine: set[str] = set()
        for intervention in interventions:
            if intervention.digest in self._all:
                self.release()
                raise InputError(
                    f"this intervention is already attached to {loaded.name}: set .strength on its handle, "
                    "or detach it first (for twice the effect attach 2.0 * intervention)"
                )
            self._all.add(intervention.digest)
            self._mine.add(intervention.digest)

    def release(self) -> None:
        """Take the entry back."""
        self._all -= self._mine
        self._mine = set()
