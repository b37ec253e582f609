"""Telling two models apart by every weight, where a fingerprint's 256 samples would not do."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor, nn

from .loaded import LoadedModel

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
# Of the config, what says where a model lies and not what it computes.
_NAMES = ("_name_or_path", "name_or_path", "transformers_version")


@torch.no_grad()
def weights_digest(loaded: LoadedModel) -> str | None:
    """SHA-256 over the config and, for every parameter and buffer, the sums of its bits along rows and columns.

    One changed weight changes it, and so do rows or columns in another order; embeddings, norms and the number type
    count, unlike in a :class:`~equipoise.models.Fingerprint`. None where it can't say everything: weights that are
    not at hand (offloaded), or hooks, which may do anything.
    """
    model = loaded.model
    if any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):
        return None
    config = {key: value for key, value in model.config.to_dict().items() if key not in _NAMES}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=repr).encode())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:
            return None
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        for sums in _sums(tensor):
            digest.update(sums.cpu().numpy().tobytes())
    digest.update(_kind(model).encode())
    return digest.hexdigest()


def _sums(tensor: Tensor) -> tuple[Tensor, ...]:
    whole = tensor.detach().contiguous().reshape(tensor.shape[0] if tensor.dim() > 1 else 1, -1)
    bits = whole.to(torch.uint8) if tensor.dtype is torch.bool else whole.view(_BITS[tensor.element_size()])
    if tensor.dim() > 1:
        return bits.sum(0, dtype=torch.int64), bits.sum(1, dtype=torch.int64)
    # A vector has no columns to say which number stands where.
    places = torch.arange(1, bits.shape[1] + 1, device=bits.device)
    return bits.sum(1, dtype=torch.int64), (bits * places).sum(1, dtype=torch.int64)


def _kind(model: nn.Module) -> str:
    # Another implementation of attention rounds otherwise.
    config = getattr(model, "config", None)
    return f"{type(model).__name__} {getattr(config, '_attn_implementation', None)} {model.training}"
