"""Which linear layers read a norm's output, found by what they take and proved complete by a second pass.

A layer *reads* a norm if it takes the very numbers that the norm gave. That list can be incomplete: the router of a
mixture of experts is a bare weight, and where a norm stands before the residual sum (Gemma's second and fourth) the
sum reads it. So every norm's output is replaced by noise while its readers are handed the former values: the stream
after every block and the logits stay what they were only if nothing else reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..models import Block, LoadedModel, Norm, Projection, hidden_of, replace_hidden
from ..models.trace import undisturbed


@dataclass(frozen=True)
class Readers:
    """The linear layers that read one norm; ``complete`` says that nothing else does."""

    layers: tuple[Projection, ...]
    complete: bool


@torch.no_grad()
def find_readers(loaded: LoadedModel, norms: Sequence[Norm]) -> dict[str, Readers]:
    """Site -> :class:`Readers` for each of ``norms``; two passes over two dozen tokens, more if any is incomplete."""
    with undisturbed(loaded.model):
        given, clean, before = _watch(loaded, norms)
        found = {norm.site: _taking(loaded, clean, given[norm.site]) for norm in norms}
        if _same(before, _shielded(loaded, norms, found, clean)):
            return {site: Readers(layers, True) for site, layers in found.items()}
        alone = {norm.site: _same(before, _shielded(loaded, [norm], found, clean)) for norm in norms}
    return {site: Readers(layers, alone[site]) for site, layers in found.items()}


@torch.no_grad()
def adds_to_output(loaded: LoadedModel, block: Block, layer: Projection) -> bool:
    """Whether what is added to ``layer``'s output is added to the block's: no norm and nothing else lies between."""
    ids = probe_ids(loaded)
    states: list[Tensor] = []
    with undisturbed(loaded.model), _hooked(block.module, lambda _, args, out: states.append(hidden_of(out))):
        _logits(loaded, ids)
        generator = torch.Generator().manual_seed(block.index)
        size = float(states[0].float().pow(2).mean().sqrt())
        noise = (size * torch.randn(layer.width_out, generator=generator)).to(states[0])
        with _hooked(layer.module, lambda _, args, out: replace_hidden(out, hidden_of(out) + noise)):
            _logits(loaded, ids)
    change = (states[1].float() - states[0].float()).reshape(-1, layer.width_out)
    return bool((change - noise.float()).norm() <= 2e-2 * change.norm())


def probe_ids(loaded: LoadedModel, rows: int = 2, length: int = 12, seed: int = 0) -> Tensor:
    """Random ordinary token ids [rows, length] on the model's device."""
    embedding: Any = loaded.model.get_input_embeddings()
    vocabulary = min(int(embedding.weight.shape[0]), len(loaded.tokenizer))
    special = {*loaded.tokenizer.all_special_ids}
    ordinary = torch.tensor([token for token in range(vocabulary) if token not in special])
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(ordinary), (rows, length), generator=generator)
    return ordinary[chosen].to(loaded.device)


def _logits(loaded: LoadedModel, ids: Tensor) -> Tensor:
    output: Any = loaded.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    logits = output.logits
    assert isinstance(logits, Tensor)
    return logits


def _states(loaded: LoadedModel) -> list[Tensor]:
    """The stream after every block, and the logits."""
    states: list[Tensor] = []
    with ExitStack() as stack:
        for block in loaded.anatomy.blocks:
            # Copies, because what follows may add to a block's output in place.
            keep = partial(_keep, states)
            stack.enter_context(_hooked(block.module, keep))
        logits = _logits(loaded, probe_ids(loaded))
    return [*states, logits]


def _keep(states: list[Tensor], _: nn.Module, args: Any, out: Any) -> None:
    states.append(hidden_of(out).clone())


def _watch(
    loaded: LoadedModel, norms: Sequence[Norm]
) -> tuple[dict[str, Tensor], dict[nn.Module, tuple[str, Tensor]], list[Tensor]]:
    """What each norm gave, what each leaf with one matrix took (the last time it was called), and the states."""
    given: dict[str, Tensor] = {}
    taken: dict[nn.Module, tuple[str, Tensor]] = {}
    with ExitStack() as stack:
        for norm in norms:

            def keep(_: nn.Module, args: Any, out: Any, site: str = norm.site) -> None:
                given[site] = hidden_of(out).clone()

            stack.enter_context(_hooked(norm.module, keep))
        for name, module in loaded.model.named_modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.ndim == 2 and next(module.children(), None) is None:

                def take(module: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
                    if args and isinstance(args[0], Tensor) and args[0].is_floating_point():
                        taken[module] = (name, args[0].clone())

                stack.callback(module.register_forward_pre_hook(take).remove)
        states = _states(loaded)
    return given, taken, states


def _taking(
    loaded: LoadedModel, taken: dict[nn.Module, tuple[str, Tensor]], given: Tensor
) -> tuple[Projection, ...]:
    found = []
    for module, (name, x) in taken.items():
        if x.shape[-1] != given.shape[-1] or x.numel() != given.numel():
            continue
        if torch.equal(x.reshape(-1, x.shape[-1]).to(given), given.reshape(-1, given.shape[-1])):
            weight: Any = module.weight
            width_in = given.shape[-1]
            width_out = int(weight.numel()) // width_in
            found.append(Projection(name, module, width_in, width_out))
    return tuple(found)


def _shielded(
    loaded: LoadedModel,
    norms: Sequence[Norm],
    readers: dict[str, tuple[Projection, ...]],
    clean: dict[nn.Module, tuple[str, Tensor]],
) -> list[Tensor]:
    """The states when the norms give noise and their readers take what the norms gave before."""
    generator = torch.Generator().manual_seed(1)
    with ExitStack() as stack:
        for norm in norms:

            def spoil(_: nn.Module, args: Any, out: Any) -> Any:
                y = hidden_of(out)
                noise = torch.randn(y.shape, generator=generator).to(y)
                return replace_hidden(out, noise * y.float().pow(2).mean().sqrt().to(y))

            stack.enter_context(_hooked(norm.module, spoil))
            for layer in readers[norm.site]:

                def shield(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
                    return (clean[module][1], *args[1:])

                stack.callback(layer.module.register_forward_pre_hook(shield).remove)
        return _states(loaded)


def _same(before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    pairs = [(a.float(), b.float()) for a, b in zip(before, after, strict=True)]
    return all(bool((a - b).abs().max() <= 1e-5 * a.abs().max()) for a, b in pairs)


@contextmanager
def _hooked(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
