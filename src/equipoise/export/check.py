"""Comparing two models' logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..models import LoadedModel


@dataclass(frozen=True)
class Difference:
    """The largest difference of two sets of logits, ``absolute``, and ``relative`` to the largest logit's magnitude."""

    absolute: float
    relative: float


@torch.no_grad()
def logits_of(loaded: LoadedModel, ids: Tensor) -> Tensor:
    """Logits [B, T, vocabulary] in fp32 for full rows of tokens [B, T], with whatever steers now."""
    output: Any = loaded.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    logits = output.logits
    assert isinstance(logits, Tensor)
    return logits.float()


def difference(a: Tensor, b: Tensor) -> Difference:
    """How far ``b`` is from ``a``. Entries that are not finite count as infinitely far, unless both have them."""
    gap = torch.where(a == b, torch.zeros_like(a), (a - b).abs()).nan_to_num(nan=float("inf")).max()
    finite = a[torch.isfinite(a)]
    size = finite.abs().max() if finite.numel() else torch.tensor(1.0)
    return Difference(float(gap), float(gap / size) if size > 0 else float(gap))
