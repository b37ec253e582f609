"""What a model does before its text backbone: watching it, and putting something in its place.

Nothing that steers is reached: the pass is left where the backbone is entered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ..models import LoadedModel

Place: TypeAlias = tuple[nn.Module, str]
"""A module, and the name of a method of it."""


@contextmanager
def ordinary() -> Iterator[None]:
    """No gradients, and no inference mode either: what is kept may be read by a pass with gradients."""
    with torch.inference_mode(False), torch.no_grad():
        yield


class _Entered(Exception):
    """The backbone was called: what comes before it is done."""


def entering(loaded: LoadedModel, inputs: Mapping[str, Tensor]) -> list[Tensor] | None:
    """The tensors that the text backbone is called with; None if it isn't called."""
    found: list[Tensor] = []

    def stop(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.extend(tensors((args, [kwargs[name] for name in sorted(kwargs)])))
        raise _Entered

    with ordinary(), ExitStack() as stack:
        # Before everything that listens to passes: there is none.
        handle = loaded.anatomy.backbone.register_forward_pre_hook(stop, with_kwargs=True, prepend=True)
        stack.callback(handle.remove)
        try:
            loaded.model(**inputs, use_cache=False)
        except _Entered:
            return found
    return None


def called(loaded: LoadedModel, inputs: Mapping[str, Tensor], places: Sequence[Place]) -> bool:
    """Whether a pass over ``inputs`` calls any of the places before it enters the backbone."""
    calls: list[None] = []

    def counting(before: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(None)
            return before(*args, **kwargs)

        return call

    with replaced(places, counting):
        entering(loaded, inputs)
    return bool(calls)


def first_to_see(loaded: LoadedModel, inputs: Mapping[str, Tensor], pixels: Iterable[str]) -> list[Place]:
    """The forward of the outermost module beside the backbone that is handed one of the inputs ``pixels``."""
    shown = {inputs[name].data_ptr() for name in pixels}
    backbone = loaded.anatomy.backbone
    around = {m for m in loaded.model.modules() if any(part is backbone for part in m.modules())}
    found: list[Place] = []

    def listening(module: nn.Module, before: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not found and any(t.data_ptr() in shown for t in tensors((args, list(kwargs.values())))):
                found.append((module, "forward"))
            return before(*args, **kwargs)

        return call

    beside = [m for m in loaded.model.modules() if m not in around]
    with ExitStack() as stack:
        for module in beside:
            stack.enter_context(replaced([(module, "forward")], lambda b, m=module: listening(m, b)))  # type: ignore[misc]
        entering(loaded, inputs)
    return found


@contextmanager
def replaced(places: Sequence[Place], by: Callable[[Any], Any]) -> Iterator[None]:
    """Replace each method by what ``by`` makes of it; on leaving everything is as it was."""
    absent = object()
    with ExitStack() as stack:
        for owner, name in places:
            own = owner.__dict__.get(name, absent)  # accelerate puts a forward there

            def restore(owner: nn.Module = owner, name: str = name, own: Any = own) -> None:
                if own is absent:
                    del owner.__dict__[name]
                else:
                    owner.__dict__[name] = own

            before = getattr(owner, name)
            # The signature stays: generation reads from it what the features take.
            owner.__dict__[name] = wraps(before)(by(before))
            stack.callback(restore)
        yield


def tensors(value: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples and mappings, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping) or hasattr(value, "items"):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for one in value for tensor in tensors(one)]
    return []


def agree(found: list[Tensor] | None, wanted: list[Tensor]) -> bool:
    """Whether two lists of tensors are the same but for rounding."""
    if found is None or len(found) != len(wanted):
        return False
    for a, b in zip(found, wanted, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if not a.is_floating_point():
            if not torch.equal(a, b):
                return False
            continue
        a, b = a.float(), b.float()
        size = float(b[b.isfinite()].abs().max()) if bool(b.isfinite().any()) else 0.0
        # Other batch sizes round otherwise; another feature in its place differs by the features' own size.
        bound = 1e-3 if found[0].dtype is torch.float32 else 2e-2
        near = (a == b) | ((a - b).abs() <= bound * min(size, 1e4))
        if not bool(near.all()):
            return False
    return True
