"""How the residual stream is put together at each text's last token: what every block reads, adds and hands on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..models import LoadedModel, Norm, hidden_of
from ..scoring import run_backbone

# Below this relative difference two activations are the same but for rounding.
_SAME = 1e-3


@dataclass(frozen=True, eq=False)
class NormReading:
    """A norm with what it took and gave, both [n, d] in fp32."""

    norm: Norm
    input: Tensor
    output: Tensor

    def pull_back(self, direction: Tensor) -> Tensor:
        """[n, d] the direction v' with v'·x = v·norm(x) but for a constant, the norm's size x̄ᵀx̄ held as it was."""
        gain = self._gain()
        centred = self._centred(self.input) * gain
        output = self.output - self._bias()
        size = (output * centred).sum(1, keepdim=True) / centred.square().sum(1, keepdim=True)
        return self._centred(direction * gain * size)

    def _centred(self, x: Tensor) -> Tensor:
        return x - x.mean(1, keepdim=True) if self.norm.kind == "layer" else x

    def _gain(self) -> Tensor:
        if self.norm.weight_name is None:
            return torch.ones(self.norm.width)
        weight: Any = getattr(self.norm.module, self.norm.weight_name)
        gain: Tensor = weight.detach().float().cpu() + float(self.norm.unit_offset)
        return gain

    def _bias(self) -> Tensor:
        if self.norm.bias_name is None:
            return torch.zeros(self.norm.width)
        bias: Any = getattr(self.norm.module, self.norm.bias_name)
        found: Tensor = bias.detach().float().cpu()
        return found


@dataclass(frozen=True, eq=False)
class BlockReading:
    """One block at the last token of each text.

    Attributes:
        heads: [n, width] the input of the attention's output projection; None without heads.
        post: the norm between the attention's output and the stream (Gemma 2 and 3); None if there is none.
    """

    heads: Tensor | None
    post: NormReading | None


@dataclass(frozen=True, eq=False)
class StreamReading:
    """Blocks in order, the final norm if there is one, the head's input [n, d], and whether the parts add up.

    ``adds_up`` says that every block's output is its input plus what its attention and its MLP add, each through its
    own norm where it has one, and that the final norm takes the last block's output. Where a model weighs these
    (a residual multiplier), it is False, and a part's direct effect on the logits can't be read off.
    """

    blocks: tuple[BlockReading, ...]
    final: NormReading | None
    states: Tensor
    adds_up: bool


def pad(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids [n, T], padded on the right, where causal attention makes it harmless, and each row's last column."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    return ids, torch.tensor([len(row) - 1 for row in rows])


@torch.inference_mode()
def read_stream(loaded: LoadedModel, rows: Sequence[Sequence[int]]) -> StreamReading:
    """Read the stream at the last token of each text (its token ids), with whatever steers now."""
    anatomy = loaded.anatomy
    ids, last = pad(rows)
    wanted: list[tuple[str, nn.Module]] = []
    for block in anatomy.blocks:
        wanted += [(f"{block.index}.norm.{j}", norm.module) for j, norm in enumerate(block.norms)]
        wanted.append((f"{block.index}.block", block.module))
        for name, part in (("attn", block.attention), ("mlp", block.mlp)):
            if part is not None:
                wanted.append((f"{block.index}.{name}", anatomy.site(f"block.{block.index}.{name}").module))
        if block.attention is not None and block.attention.heads is not None:
            wanted.append((f"{block.index}.heads", block.attention.heads.projection.module))
    if anatomy.final_norm is not None:
        wanted.append(("final", anatomy.final_norm.module))
    with _listening(wanted, last) as (taken, given):
        hidden = hidden_of(run_backbone(loaded, ids.to(loaded.device)))
    states = hidden[torch.arange(len(rows)), last.to(hidden.device)].float().cpu()
    blocks, adds_up = [], True
    for block in anatomy.blocks:
        at = f"{block.index}"
        norms = [
            NormReading(norm, taken[f"{at}.norm.{j}"], given[f"{at}.norm.{j}"])
            for j, norm in enumerate(block.norms)
        ]
        added = torch.zeros_like(given[f"{at}.block"])
        post = {}
        for name in ("attn", "mlp"):
            if f"{at}.{name}" in given:
                value = given[f"{at}.{name}"]
                post[name] = next((one for one in norms if _same(one.input, value)), None)
                found = post[name]
                added = added + (value if found is None else found.output)
        adds_up &= _same(taken[f"{at}.block"] + added, given[f"{at}.block"])
        heads = taken.get(f"{at}.heads")
        blocks.append(BlockReading(heads, post.get("attn")))
    final = None
    if anatomy.final_norm is not None:
        final = NormReading(anatomy.final_norm, taken["final"], given["final"])
    end = given[f"{anatomy.blocks[-1].index}.block"]
    adds_up &= _same(end, states if final is None else final.input)
    adds_up &= final is None or _same(final.output, states)
    return StreamReading(tuple(blocks), final, states, bool(adds_up))


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).norm() <= _SAME * b.norm())


@contextmanager
def _listening(
    modules: Sequence[tuple[str, nn.Module]], last: Tensor
) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """What modules take and give at each row's last token, [n, d] in fp32 on the CPU; the latest call of each."""
    taken: dict[str, Tensor] = {}
    given: dict[str, Tensor] = {}
    handles: list[Any] = []

    def pick(value: Any) -> Tensor:
        hidden = hidden_of(value)
        hidden = hidden.reshape(len(last), -1, hidden.shape[-1])
        chosen = hidden[torch.arange(len(last)), last.to(hidden.device)]
        return chosen.float().cpu().clone()

    def listen(name: str, module: nn.Module) -> None:
        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            taken[name] = pick(args[0] if args else kwargs["hidden_states"])

        def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            given[name] = pick(output)

        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after))

    try:
        for name, module in modules:
            listen(name, module)
        yield taken, given
    finally:
        for handle in handles:
            handle.remove()
