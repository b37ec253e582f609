"""The model that a fit computes with: in bf16 where that is faster, with the attention whose backward pass is."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ...models import LoadedModel
from ..evaluation import in_evaluation
from .settings import Precision


@contextmanager
def working_copy(loaded: LoadedModel, precision: Precision) -> Iterator[LoadedModel]:
    """A model to take gradients with; the caller's model comes back as it was.

    On a CPU the fused attention's backward pass in bf16 is many times slower than plain matrix products, so the
    plain ("eager") attention is used meanwhile, where the architecture offers it.
    """
    wanted = loaded.dtype
    if precision == "bfloat16" or (precision == "auto" and _bf16_is_faster(loaded)):
        wanted = torch.bfloat16
    if wanted != loaded.dtype:
        model = copy.deepcopy(loaded.model)
        _cast(model, wanted)
        loaded = LoadedModel(model, loaded.tokenizer, loaded.processor, loaded.name, loaded.blocks)
    trainable = [p for p in loaded.model.parameters() if p.requires_grad]
    attention = str(getattr(loaded.model.config, "_attn_implementation", None) or "eager")
    switch = loaded.device.type == "cpu" and attention != "eager"
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        with in_evaluation(loaded.model):
            if switch:
                loaded.model.set_attn_implementation("eager")
            yield loaded
    finally:
        if switch:
            loaded.model.set_attn_implementation(attention)
        for parameter in trainable:
            parameter.requires_grad_(True)


def _cast(model: nn.Module, dtype: torch.dtype) -> None:
    """The weights alone: buffers, such as the frequencies of rotary positions, stay exact, as in a loaded model."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)


def multiplies_bf16() -> bool:
    """Whether this CPU has instructions for products of bf16 matrices (AMX tiles, or AVX-512's dot products).

    Without them bf16 is no faster than fp32 on it.
    """
    instructions = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in instructions)


def _bf16_is_faster(loaded: LoadedModel) -> bool:
    return loaded.device.type == "cpu" and loaded.dtype == torch.float32 and multiplies_bf16()
