"""What a model's cache can do: be repeated over rows, be continued by one token or by several, and begin with padding.

Keys and values can mostly do all of it. A recurrent state (Mamba, linear attention, short convolutions) mostly goes on
token by token only, some models hand none on, and some count padding among the positions (BART). It is tried out once a
model, on a few tokens, without what steers it.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..models import LoadedModel, hidden_of, ordinary_tokens, speaker, token_device, undisturbed

_ROWS, _BEFORE, _AFTER, _PADDING = 2, 9, 4, 3


@dataclass(frozen=True)
class Memory:
    """What continuing a model's cache gives, compared with a pass over the whole text.

    Attributes:
        steps: the same, if it is continued by one token.
        repeats: the same, if it is repeated over rows and continued by several tokens.
        pads: whether rows may be padded on the left, masked: the same, if it is begun and repeated so.
    """

    steps: bool
    repeats: bool
    pads: bool


_KNOWN: WeakKeyDictionary[nn.Module, Memory] = WeakKeyDictionary()


def memory(loaded: LoadedModel) -> Memory:
    """What the cache of this model's text backbone can do."""
    backbone = loaded.anatomy.backbone
    if backbone not in _KNOWN:
        with undisturbed(loaded.model):
            _KNOWN[backbone] = _tried(loaded)
    return _KNOWN[backbone]


def _tried(loaded: LoadedModel) -> Memory:
    from .answers import run_backbone  # which asks for a model's memory itself

    ordinary = ordinary_tokens(loaded.model)
    before = torch.tensor([[ordinary[3 * i % len(ordinary)] for i in range(_BEFORE)]])
    after = torch.tensor([[ordinary[(5 * i + 1) % len(ordinary)] for i in range(_ROWS * _AFTER)]])
    after = after.reshape(_ROWS, _AFTER)
    device = token_device(loaded.model)
    whole = torch.cat([before.expand(_ROWS, -1), after], 1).to(device)
    wanted = hidden_of(run_backbone(loaded, whole))[:, _BEFORE:]

    def continued(rows: int, tokens: int) -> bool:
        try:
            cache: Any = run_backbone(loaded, whole[:1, :_BEFORE], use_cache=True).past_key_values
            if cache is None:
                return False
            if rows > 1:
                cache.batch_repeat_interleave(rows)
            output = run_backbone(
                loaded, whole[:rows, _BEFORE : _BEFORE + tokens], cache=cache, use_cache=True
            )
            found: Tensor = hidden_of(output)
            return _near(wanted[:rows, :tokens], found)
        except Exception:  # each kind of cache has its own way to say that it can't
            return False

    def padded() -> bool:
        columns = whole.shape[1] + _PADDING
        mask = (torch.arange(columns, device=device) >= _PADDING).long().expand(_ROWS, -1)
        given: dict[str, Any] = {"attention_mask": mask}
        # Transformers' generate gives them to a whole model that takes them (Whisper's has a decoder that does).
        forwards = (speaker(loaded.model).forward, loaded.anatomy.backbone.forward)
        if all("position_ids" in inspect.signature(forward).parameters for forward in forwards):
            given["position_ids"] = (mask.cumsum(1) - 1).clamp_min(0)
        with suppress(Exception):
            ids = torch.nn.functional.pad(whole, (_PADDING, 0), value=loaded.tokenizer.pad_token_id or 0)
            output = loaded.anatomy.backbone(input_ids=ids, use_cache=False, **given)
            return _near(wanted, hidden_of(output)[:, _PADDING + _BEFORE :])
        return False

    repeats = continued(_ROWS, _AFTER)
    return Memory(steps=continued(1, 1), repeats=repeats, pads=repeats and padded())


def _near(wanted: Tensor, found: Tensor) -> bool:
    """Whether they are the same but for rounding, which adds up over blocks; a lost state differs by its own size."""
    if found.shape != wanted.shape:
        return False
    bound = 0.01 if wanted.dtype in (torch.float32, torch.float64) else 0.1
    wanted, found = wanted.float(), found.float()
    return bool((wanted - found).norm() <= bound * wanted.norm())
