"""Giving linear layers a bias that a stock model will load: only where the model's own config can ask for it."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


def bias_flags(model: PreTrainedModel, wanted: Collection[str]) -> tuple[str, ...] | None:
    """The settings of the model's config that give every parameter in ``wanted`` a place; None if none do.

    A setting counts if it is off, has "bias" in its name, and a model built with it on has further parameters and
    otherwise the same ones. That is tried on a model without storage. ``attention_bias`` and ``mlp_bias`` are Llama's.
    """
    lacking = set(wanted)
    chosen = []
    for name, added in _offers(model).items():
        if lacking & added:
            chosen.append(name)
            lacking -= added
    return None if lacking else tuple(chosen)


def add_biases(model: PreTrainedModel, flags: Collection[str]) -> tuple[str, ...]:
    """Turn ``flags`` on and make the parameters that they ask for, all zero; returns their names.

    The model computes what it did before, and its saved form is one that the stock class loads.
    """
    if not flags:
        return ()
    shapes = {name: tuple(p.shape) for name, p in _built(model, flags).named_parameters()}
    config = text_config(model.config)
    for flag in flags:
        setattr(config, flag, True)
    present = dict(model.named_parameters())
    added = tuple(name for name in shapes if name not in present)
    for name in added:
        owner, _, last = name.rpartition(".")
        module = model.get_submodule(owner)
        like = next(module.parameters())
        bias = torch.zeros(shapes[name], dtype=like.dtype, device=like.device)
        setattr(module, last, nn.Parameter(bias, requires_grad=False))
    return added


def text_config(config: PretrainedConfig) -> PretrainedConfig:
    """The part of a config that describes the text decoder; the config itself for a plain language model."""
    return config.get_text_config(decoder=True)


def _offers(model: PreTrainedModel) -> dict[str, set[str]]:
    settings: dict[str, Any] = text_config(model.config).to_dict()
    before = {name: p.shape for name, p in model.named_parameters()}
    found = {}
    for name in [name for name, value in settings.items() if value is False and "bias" in name]:
        try:
            after = {key: p.shape for key, p in _built(model, [name]).named_parameters()}
        except (TypeError, ValueError, RuntimeError, AttributeError):
            continue
        if all(after.get(key) == shape for key, shape in before.items()) and len(after) > len(before):
            found[name] = set(after) - set(before)
    return found


def _built(model: PreTrainedModel, flags: Collection[str]) -> PreTrainedModel:
    config = copy.deepcopy(model.config)
    for flag in flags:
        setattr(text_config(config), flag, True)
    with torch.device("meta"):
        built: PreTrainedModel = type(model)(config)
    return built
