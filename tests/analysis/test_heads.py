"""Head attribution: direct parts add up, ablation is removal, the gradient is its first order."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, tiny
from torch import nn

from equipoise.analysis import (
    Contrast,
    ablation_scores,
    all_heads,
    direct_scores,
    gradient_scores,
    logit_gaps,
)
from equipoise.analysis.residual import read_stream
from equipoise.interventions import AffineEdit, Intervention, attach
from equipoise.models import LoadedModel

ROWS = ((5, 40, 77, 120, 9), (33, 8, 250), (90, 91, 92, 93, 94, 95, 96))
CONTRASTS = [Contrast(ids, (60, 61), (70,)) for ids in ROWS]


@functools.cache
def model(name: str) -> LoadedModel:
    return tiny(name)


def removed(loaded: LoadedModel, head: tuple[int, int], factor: float = 0.0) -> Intervention:
    heads = loaded.anatomy.blocks[head[0]].attention.heads  # type: ignore[union-attr]
    assert heads is not None
    scale = torch.zeros(heads.n_heads * heads.head_dim)
    scale[heads.slice(head[1])] = factor - 1
    return Intervention({f"block.{head[0]}.heads": AffineEdit(scale=scale)})


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_gap_is_what_the_models_logits_say(name: str) -> None:
    loaded = model(name)
    cap = loaded.anatomy.logit_map.softcap  # type: ignore[union-attr]
    with torch.no_grad():
        logits = [loaded.model(input_ids=torch.tensor([ids])).logits[0, -1].double() for ids in ROWS]
    if cap:
        logits = [cap * (one / cap).atanh() for one in logits]
    expected = [float(one[[60, 61]].mean() - one[70]) for one in logits]
    assert np.allclose(logit_gaps(loaded, CONTRASTS), expected, atol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_direct_score_of_a_last_blocks_head_is_its_ablation_with_the_norms_held(name: str) -> None:
    """Without its head a last block's attention writes less into the stream; what reads it is held, so Δ is linear."""
    loaded = model(name)
    assert read_stream(loaded, ROWS).adds_up
    direct = direct_scores(loaded, CONTRASTS)
    assert direct is not None
    heads = all_heads(loaded)
    place = heads.index((len(loaded.anatomy.blocks) - 1, 1))
    by_hand = _contribution(loaded, heads[place])
    assert np.allclose(direct[:, place], by_hand, rtol=2e-3, atol=2e-4)


def _contribution(loaded: LoadedModel, head: tuple[int, int]) -> list[float]:
    """What the head's term adds to Δ in a stream whose norms keep the size that they had.

    An independent way: the weights, and each norm's formula; no code of the package beyond the anatomy.
    """
    anatomy = loaded.anatomy
    block = anatomy.blocks[head[0]]
    heads = block.attention.heads  # type: ignore[union-attr]
    assert heads is not None and anatomy.final_norm is not None and anatomy.logit_map is not None
    module = heads.projection.module
    sandwich = [block.norms[1]] if len(block.norms) == 4 else []  # Gemma: between attention and stream
    found = []
    for ids, contrast in zip(ROWS, CONTRASTS, strict=True):
        modules = [module, *(norm.module for norm in (*sandwich, anatomy.final_norm))]
        z, *inputs = _last_inputs(loaded, modules, ids)
        only = torch.zeros_like(z)
        only[heads.slice(head[1])] = z[heads.slice(head[1])]
        with torch.no_grad():
            part = module(only[None])[0] - module(torch.zeros_like(z)[None])[0]
            for norm, x in zip((*sandwich, anatomy.final_norm), inputs, strict=True):
                eps = 1e-6 if norm.kind == "rms" else 1e-5
                if norm.kind == "layer":
                    part, x = part - part.mean(), x - x.mean()
                weight = getattr(norm.module, str(norm.weight_name)) + float(norm.unit_offset)
                part = part * (x.square().mean() + eps).rsqrt() * weight
            rows = loaded.model.get_output_embeddings().weight
            direction = rows[list(contrast.words)].mean(0) - rows[list(contrast.others)].mean(0)
            found.append(float(anatomy.logit_map.scale * part @ direction))
    return found


def _last_inputs(loaded: LoadedModel, modules: Sequence[nn.Module], ids: Sequence[int]) -> list[torch.Tensor]:
    """What each module takes at the last token."""
    kept: dict[int, torch.Tensor] = {}

    def keep(place: int) -> Callable[[nn.Module, Any], None]:
        return lambda module, args: kept.update({place: args[0].reshape(-1, args[0].shape[-1])[-1]})

    handles = [module.register_forward_pre_hook(keep(place)) for place, module in enumerate(modules)]
    with torch.no_grad():
        loaded.model(input_ids=torch.tensor([list(ids)]))
    for handle in handles:
        handle.remove()
    return [kept[place] for place in range(len(modules))]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_ablation_score_is_what_removing_the_head_takes_from_the_gap(name: str) -> None:
    loaded = model(name)
    chosen = [(0, 1), (0, 3), (2, 0)]
    found = ablation_scores(loaded, CONTRASTS, chosen, max_tokens=30)
    before = logit_gaps(loaded, CONTRASTS)
    for column, head in enumerate(chosen):
        with attach(loaded, removed(loaded, head)):
            assert np.allclose(before - logit_gaps(loaded, CONTRASTS), found[:, column], atol=1e-4)
    assert np.abs(found).max() > 1e-2  # the twin: removing a head does something


@pytest.mark.parametrize("name", ["Llama", "GPT2", "Gemma2", "Falcon"])
def test_the_gradient_is_the_first_order_of_an_ablation(name: str) -> None:
    loaded = model(name)
    heads = all_heads(loaded)
    gradient = gradient_scores(loaded, CONTRASTS)
    step = 1e-2
    # Both sides of λ = 0, so that the second order drops out.
    less = ablation_scores(loaded, CONTRASTS, heads, scale=1 - step)
    more = ablation_scores(loaded, CONTRASTS, heads, scale=1 + step)
    slope = (less - more) / (2 * step)
    assert np.allclose(gradient, slope, rtol=0.05, atol=5e-3 * np.abs(gradient).max() + 2e-3)


def test_a_model_whose_stream_does_not_add_up_has_no_direct_scores() -> None:
    loaded = tiny("Llama", seed=3)
    assert direct_scores(loaded, CONTRASTS) is not None
    block = loaded.anatomy.blocks[1].module
    handle = block.register_forward_hook(
        lambda m, a, o: (2 * o[0], *o[1:]) if isinstance(o, tuple) else 2 * o
    )
    try:
        assert direct_scores(loaded, CONTRASTS) is None
    finally:
        handle.remove()
