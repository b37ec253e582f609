"""Writing a model as Llama, whose classes take a bias wherever an edit may need one."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from ..errors import InputError
from ..models import LoadedModel
from .check import Difference, difference, logits_of
from .readers import probe_ids


@torch.no_grad()
def as_llama(loaded: LoadedModel) -> LoadedModel:
    """The same model as a ``LlamaForCausalLM``: Qwen2, and Mistral without a sliding window.

    Models are told apart by what they hold, not by name: every parameter must be one of Llama's with the same shape,
    attention must not be windowed, and the logits must be equal (relative difference at most 1e-5 in float32). The
    weights are shared with ``loaded``, which stays as it is. Raises :class:`InputError` with the reason otherwise.
    """
    model, kind = loaded.model, type(loaded.model).__name__
    if isinstance(model, LlamaForCausalLM):
        return loaded
    _refuse_windows(model)
    if not hasattr(model.config, "num_attention_heads") or not hasattr(model.config, "intermediate_size"):
        raise InputError(f"{kind} can't be written as Llama: its config doesn't speak of the same parts")
    config = _config(model)
    with torch.device("meta"):
        llama = LlamaForCausalLM(config)
    state = model.state_dict()
    offered = {name: tensor.shape for name, tensor in llama.state_dict().items()}
    strange = next((name for name, t in state.items() if offered.get(name) != t.shape), None)
    if strange is not None:
        raise InputError(f"{kind} can't be written as Llama: Llama has no parameter {strange} of this shape")
    biases = [name for name in state if name.endswith(".bias")]
    # Biases that this family has and the other lacks are zero.
    for name in (name for name in offered if name not in state):
        if not biases or not name.endswith(".bias"):
            raise InputError(f"{kind} can't be written as Llama: it has no parameter {name}")
        like = state[f"{name.rpartition('.')[0]}.weight"]
        state[name] = torch.zeros(offered[name], dtype=like.dtype, device=like.device)
    with torch.device(model.device):
        llama.model.rotary_emb = type(llama.model.rotary_emb)(config)
    llama.load_state_dict(state, assign=True)
    llama.tie_weights()
    if any(tensor.is_meta for tensor in [*llama.parameters(), *llama.buffers()]):
        raise InputError(f"{kind} can't be written as Llama: it doesn't hold all that Llama needs")
    llama.generation_config = model.generation_config
    llama.requires_grad_(False)
    found = dataclasses.replace(loaded, model=llama.train(False))
    ids = probe_ids(loaded, rows=3, length=24)
    seen: Difference = difference(logits_of(loaded, ids), logits_of(found, ids))
    if seen.relative > (1e-5 if loaded.dtype is torch.float32 else 2e-2):
        raise InputError(
            f"{kind} can't be written as Llama: the logits differ by {seen.relative:.1e} of the largest"
        )
    return found


def _refuse_windows(model: PreTrainedModel) -> None:
    config = model.config
    kinds = set(getattr(config, "layer_types", None) or [])
    window = getattr(config, "sliding_window", None)
    uses = getattr(config, "use_sliding_window", window is not None)
    if kinds - {"full_attention"} or (uses and window is not None and not kinds):
        other = ", ".join(sorted(kinds - {"full_attention", "sliding_attention"}))
        what = (
            f"it has layers of the kind {other}"
            if other
            else f"its attention has a sliding window of {window} tokens"
        )
        raise InputError(f"{type(model).__name__} can't be written as Llama: {what}")


def _config(model: PreTrainedModel) -> LlamaConfig:
    theirs: dict[str, Any] = model.config.to_dict()
    known = LlamaConfig().to_dict()
    kept = {key: theirs[key] for key in known if key in theirs and key not in ("model_type", "architectures")}
    kept.pop("transformers_version", None)
    has = set(model.state_dict())
    kept["attention_bias"] = any(n.endswith(("q_proj.bias", "o_proj.bias")) for n in has)
    kept["mlp_bias"] = any(n.endswith("up_proj.bias") for n in has)
    if kept.get("head_dim") is None:
        kept["head_dim"] = theirs["hidden_size"] // theirs["num_attention_heads"]
    config = LlamaConfig(**kept)
    config._attn_implementation = model.config._attn_implementation
    return config
