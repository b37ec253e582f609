"""Which attention heads make the model say one word and not another, three ways.

For a text, Δ is the logit of a word minus that of another at the text's last token.

* ``direct``, direct logit attribution: what head h writes into the stream there, read by the unembedding,
  Δₕ = vᵀ W_O[:, h] zₕ, v the difference of the words' unembeddings pulled back through the final norm with its size
  held (Elhage et al. 2021). The direct parts of everything add up to Δ.
* ``ablation``: Δ − Δ without the head (its output is multiplied by ``scale``, 0 by default, at all tokens): also
  what goes through later layers.
* ``gradient``: the same to first order, zₕ·∂Δ/∂zₕ summed over tokens; one backward pass for all heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..interventions import LiveEdit, attach_live
from ..models import Block, Heads, LoadedModel, hidden_of, is_offloaded
from ..scoring import run_backbone
from .residual import pad, read_stream

Head = tuple[int, int]
"""Block and head, both from 0."""


@dataclass(frozen=True)
class Contrast:
    """A text and the words that it is asked for at its end: their first tokens, one or more on each side.

    With several words on a side, Δ takes the mean of their logits.
    """

    ids: tuple[int, ...]
    words: tuple[int, ...]
    others: tuple[int, ...]


def all_heads(loaded: LoadedModel) -> tuple[Head, ...]:
    """Every head of every block that has some. Raises :class:`InputError` if none has."""
    found = tuple(
        (block.index, head) for block, heads in _with_heads(loaded) for head in range(heads.n_heads)
    )
    if not found:
        raise InputError(f"{loaded.name} has no attention heads that could be told apart: use another model")
    return found


def logit_gaps(loaded: LoadedModel, contrasts: Sequence[Contrast]) -> NDArray[np.float64]:
    """[n] Δ of each text with whatever steers now, before any soft cap."""
    with torch.inference_mode():
        ids, last = pad([one.ids for one in contrasts])
        return _array(_gaps(loaded, ids, last, contrasts))


def direct_scores(loaded: LoadedModel, contrasts: Sequence[Contrast]) -> NDArray[np.float64] | None:
    """[n, heads] direct logit attribution in the order of :func:`all_heads`; None where the parts don't add up,
    or weights aren't at hand (offloaded)."""
    if is_offloaded(loaded.model):
        return None
    reading = read_stream(loaded, [one.ids for one in contrasts])
    if not reading.adds_up:
        return None
    direction = _unembedding(loaded, reading.states, contrasts)
    if reading.final is not None:
        direction = reading.final.pull_back(direction)
    columns = []
    for block, heads in _with_heads(loaded):
        found = reading.blocks[block.index]
        assert found.heads is not None
        through = direction if found.post is None else found.post.pull_back(direction)
        pulled = _pull(heads.projection.module, found.heads, through)
        columns.append((found.heads * pulled).reshape(len(contrasts), heads.n_heads, heads.head_dim).sum(2))
    return _array(torch.cat(columns, 1))


def gradient_scores(loaded: LoadedModel, contrasts: Sequence[Contrast]) -> NDArray[np.float64]:
    """[n, heads] the first-order effect of removing each head, in the order of :func:`all_heads`."""
    ids, last = pad([one.ids for one in contrasts])
    dials, edits = [], {}
    for block, heads in _with_heads(loaded):
        dial = torch.zeros(len(contrasts), 1, heads.n_heads * heads.head_dim, device=loaded.device)
        dials.append(dial.requires_grad_(True))
        edits[f"block.{block.index}.heads"] = LiveEdit(scale=dial)
    with attach_live(loaded, edits), torch.enable_grad():
        total = _gaps(loaded, ids, last, contrasts).sum()
        gradients = torch.autograd.grad(total, dials)
    parts = [
        gradient.float().cpu().reshape(len(contrasts), heads.n_heads, heads.head_dim).sum(2)
        for gradient, (_, heads) in zip(gradients, _with_heads(loaded), strict=True)
    ]
    return _array(torch.cat(parts, 1))


def ablation_scores(
    loaded: LoadedModel,
    contrasts: Sequence[Contrast],
    chosen: Sequence[Head],
    *,
    scale: float = 0.0,
    max_tokens: int = 4096,
    progress: Callable[[float], None] = lambda fraction: None,
) -> NDArray[np.float64]:
    """[n, len(chosen)] Δ minus Δ with one head's output multiplied by ``scale``, each head by itself.

    Several heads of a block are tried in one batch, each in its own copy of the rows.
    """
    found = np.zeros((len(contrasts), len(chosen)))
    ids, last = pad([one.ids for one in contrasts])
    n = len(contrasts)
    at_once = max(1, max_tokens // ids.numel())
    by_block: dict[int, list[int]] = {}
    for place, (index, _) in enumerate(chosen):
        by_block.setdefault(index, []).append(place)
    with torch.inference_mode():
        before = _array(_gaps(loaded, ids, last, contrasts))
        done = 0
        for index, places in by_block.items():
            heads = _heads_of(loaded.anatomy.blocks[index])
            for start in range(0, len(places), at_once):
                part = places[start : start + at_once]
                dial = torch.zeros(len(part), n, 1, heads.n_heads * heads.head_dim)
                for copy, place in enumerate(part):
                    dial[copy, ..., heads.slice(chosen[place][1])] = scale - 1
                edit = LiveEdit(scale=dial.flatten(0, 1).to(loaded.device))
                with attach_live(loaded, {f"block.{index}.heads": edit}):
                    rows = ids.repeat(len(part), 1)
                    after = _gaps(loaded, rows, last.repeat(len(part)), [*contrasts] * len(part))
                found[:, part] = before[:, None] - _array(after).reshape(len(part), n).T
                done += len(part)
                progress(done / len(chosen))
    return found


def _with_heads(loaded: LoadedModel) -> list[tuple[Block, Heads]]:
    return [
        (block, block.attention.heads)
        for block in loaded.anatomy.blocks
        if block.attention is not None and block.attention.heads is not None
    ]


def _heads_of(block: Block) -> Heads:
    if block.attention is None or block.attention.heads is None:
        raise InputError(f"block {block.index} has no attention heads: choose another")
    return block.attention.heads


def _gaps(loaded: LoadedModel, ids: Tensor, last: Tensor, contrasts: Sequence[Contrast]) -> Tensor:
    hidden = hidden_of(run_backbone(loaded, ids.to(loaded.device)))
    states = hidden[torch.arange(len(last), device=hidden.device), last.to(hidden.device)].contiguous()
    return _differences(loaded, states, contrasts)


def _differences(loaded: LoadedModel, states: Tensor, contrasts: Sequence[Contrast]) -> Tensor:
    """[n] Δ from last states [n, d]. A soft cap bends all logits alike, so it is left out: Δ stays linear."""
    anatomy = loaded.anatomy
    anatomy.logits(states[:0])  # refuses a model whose logits are made otherwise
    assert anatomy.logit_map is not None
    logits = anatomy.head(states).float() * anatomy.logit_map.scale
    rows = [
        logits[i, list(one.words)].mean() - logits[i, list(one.others)].mean()
        for i, one in enumerate(contrasts)
    ]
    return torch.stack(rows)


def _unembedding(loaded: LoadedModel, states: Tensor, contrasts: Sequence[Contrast]) -> Tensor:
    """[n, d] the gradient of Δ with respect to the head's input; exact, since the head is linear."""
    weight = next(loaded.anatomy.head.parameters())
    x = states.to(device=weight.device, dtype=weight.dtype).clone()
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(_differences(loaded, x, contrasts).sum(), [x])
    return gradient.float().cpu()


def _pull(module: torch.nn.Module, z: Tensor, direction: Tensor) -> Tensor:
    """[n, width] Wᵀ direction, whatever kind of linear layer the module is."""
    weight = next(module.parameters())
    with torch.inference_mode(False), torch.enable_grad():
        x = z.clone().to(device=weight.device, dtype=weight.dtype).requires_grad_(True)
        (gradient,) = torch.autograd.grad(module(x), [x], direction.clone().to(weight.device, weight.dtype))
    return gradient.float().cpu()


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().double().cpu().numpy())
