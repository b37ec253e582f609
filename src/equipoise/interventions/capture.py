"""Reading activations as the rest of the model sees them: after everything that edits them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from ..models import LoadedModel, Site, hidden_of


@contextmanager
def capture(
    loaded: LoadedModel, sites: Iterable[str], *, detach: bool = True
) -> Iterator[dict[str, list[Tensor]]]:
    """Collect the activations at ``sites``, one tensor for each call of the site's module, in order.

    Values are copies and post-steering, whether steering was attached before or after: steering hooks go first and
    these last. Sites hand activations over as [B, T, d], or flattened [B·T, d].

    Args:
        sites: names; an unknown one raises :class:`InputError`.
        detach: False keeps the graph, so that gradients flow through what was captured.
    """
    found = [loaded.anatomy.site(name) for name in dict.fromkeys(sites)]
    captured: dict[str, list[Tensor]] = {site.name: [] for site in found}
    handles = []
    try:
        for site in found:
            handles.append(_listen(site, captured[site.name], detach))
        yield captured
    finally:
        for handle in handles:
            handle.remove()


def _listen(site: Site, into: list[Tensor], detach: bool) -> Any:
    def keep(value: Any) -> None:
        hidden = hidden_of(value)
        # A copy: some models add the residual to a sublayer's output in place.
        into.append((hidden.detach() if detach else hidden).clone())

    def before(module: Any, args: tuple[Any, ...]) -> None:
        keep(args[0])

    def after(module: Any, args: tuple[Any, ...], output: Any) -> None:
        keep(output)

    if site.where == "input":
        return site.module.register_forward_pre_hook(before)
    return site.module.register_forward_hook(after)
