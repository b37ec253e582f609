"""Rows that are computed together: one forward pass a token for all of them, each with its own strengths."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from ..interventions import Attached
from ..models import LoadedModel
from ..scoring import Sight, memory

_LOG = logging.getLogger(__name__)
# Colder than this, logits that differ by as little as 1e-4 leave the second token nothing, and dividing may overflow.
_COLDEST = 1e-6


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen: ``temperature`` below 1e-6 is greedy; ``seed`` None takes one from the system."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


@dataclass(frozen=True)
class Event:
    """Something for the one who asked: new ``text``; at the end ``finish`` (why) and perhaps an ``error``."""

    text: str = ""
    finish: str | None = None
    error: str | None = None
    tokens: int = 0


@dataclass(eq=False)
class Row:
    """One answer that is being written."""

    prompt: list[int]
    strengths: tuple[float, ...]
    sampling: Sampling
    most: int
    text: Any
    emit: Callable[[Event], None]
    deadline: float
    sight: Sight | None = None
    new: list[int] = field(default_factory=list)
    generator: torch.Generator | None = None
    cancelled: bool = False
    failure: str | None = None

    @property
    def late(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() > self.deadline

    def go_on(self, logits: Tensor) -> None:
        """Add the next token; where none can be chosen, ``failure`` says so, for this row alone."""
        token = 0
        if self.failure is None:
            try:
                token = self.choose(logits)
            except Exception as error:
                _LOG.exception("a token can't be chosen")
                self.failure = type(error).__name__
        self.new.append(token)

    def choose(self, logits: Tensor) -> int:
        """The next token from logits [vocabulary], fp32 on the CPU."""
        if self.sampling.temperature < _COLDEST:
            return int(logits.argmax())
        if self.generator is None:
            self.generator = torch.Generator()
            if self.sampling.seed is None:
                self.generator.seed()
            else:
                self.generator.manual_seed(self.sampling.seed)
        probabilities, order = (logits / self.sampling.temperature).softmax(-1).sort(descending=True)
        # The most probable tokens whose mass reaches top_p, the one that reaches it included.
        inside = probabilities.cumsum(-1) - probabilities < self.sampling.top_p
        inside[0] = True
        chosen = torch.multinomial(probabilities * inside, 1, generator=self.generator)
        return int(order[chosen])


class Dial:
    """The strengths of what is attached, turned before every pass to those of its rows."""

    def __init__(self, attached: Attached | None) -> None:
        self._attached = attached
        self._strengths: list[tuple[float, ...]] | None = None

    def turn(self, rows: Sequence[Row], starts: Tensor | None) -> None:
        """For ``rows``; their answers start at the columns ``starts``, or where a prompt ends if None."""
        if self._attached is None:
            return
        wanted = [row.strengths for row in rows]
        if len(set(wanted)) == 1:
            wanted = wanted[:1]
        if wanted != self._strengths:
            self._attached.strength = torch.tensor(wanted, dtype=torch.float64)
            self._strengths = wanted
        if any(one.scope == "answer" for one in self._attached.interventions):
            self._attached.answer_from(starts)


class Batch:
    """Rows with one cache, padded on the left. Rows join and leave between passes."""

    def __init__(self, loaded: LoadedModel, dial: Dial) -> None:
        self._loaded, self._dial = loaded, dial
        self.rows: list[Row] = []
        self._cache: Any = None
        self._mask = torch.empty(0, 0, dtype=torch.long)

    @property
    def open(self) -> bool:
        """Whether rows can join: it is empty, or its cache is keys and values alone that may begin with padding."""
        return not self.rows or (_plain(self._cache) and memory(self._loaded).pads)

    @torch.inference_mode()
    def join(self, rows: Sequence[Row]) -> None:
        """Read the prompts of ``rows``, give each its first token, and let them join."""
        width = max(len(row.prompt) for row in rows)
        pad = self._loaded.tokenizer.pad_token_id or 0
        ids = torch.tensor([[*[pad] * (width - len(r.prompt)), *r.prompt] for r in rows])
        mask = torch.tensor([[0] * (width - len(r.prompt)) + [1] * len(r.prompt) for r in rows])
        # Where keys and values aren't all, only the model knows what its cache is.
        empty = DynamicCache() if memory(self._loaded).repeats else None
        logits, cache = self._pass(rows, ids, mask, empty)
        for row, scores in zip(rows, logits, strict=True):
            row.go_on(scores)
        if self.rows:
            longest = max(width, self._mask.shape[1])
            for layer, other in zip(self._cache.layers, cache.layers, strict=True):
                layer.keys = torch.cat([_widened(layer.keys, longest), _widened(other.keys, longest)])
                layer.values = torch.cat([_widened(layer.values, longest), _widened(other.values, longest)])
            both = (F.pad(m, (longest - m.shape[1], 0)) for m in (self._mask, mask))
            self._mask = torch.cat(list(both))
        else:
            self._cache, self._mask = cache, mask
        self.rows += rows

    @torch.inference_mode()
    def step(self) -> None:
        """One more token for every row."""
        ids = torch.tensor([[row.new[-1]] for row in self.rows])
        self._mask = F.pad(self._mask, (0, 1), value=1)
        logits, self._cache = self._pass(self.rows, ids, self._mask, self._cache)
        for row, scores in zip(self.rows, logits, strict=True):
            row.go_on(scores)

    def keep(self, rows: Sequence[Row]) -> None:
        """Let all other rows leave."""
        if len(rows) == len(self.rows):
            return
        left = [index for index, row in enumerate(self.rows) if row in rows]
        if not left:
            self.rows, self._cache = [], None
            return
        if not _plain(self._cache):
            return  # they are computed on until the last is done; the engine no longer listens to them
        self.rows = [self.rows[index] for index in left]
        self._mask = self._mask[left]
        empty = int((self._mask.sum(0) > 0).int().argmax())
        self._mask = self._mask[:, empty:]
        for layer in self._cache.layers:
            layer.keys, layer.values = layer.keys[left][:, :, empty:], layer.values[left][:, :, empty:]

    def _pass(self, rows: Sequence[Row], ids: Tensor, mask: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Logits [rows, vocabulary] of the last column, fp32 on the CPU, and the cache."""
        prompts = torch.tensor([len(row.prompt) for row in rows])
        self._dial.turn(rows, mask.shape[1] - mask.sum(1) + prompts - 1)  # the last token of each prompt
        anatomy, device = self._loaded.anatomy, self._loaded.device
        positions = (mask.cumsum(1) - 1).clamp_min(0)[:, -ids.shape[1] :]
        given: dict[str, Any] = {
            "input_ids": ids.to(device),
            "attention_mask": mask.to(device),
            "past_key_values": cache,
            "use_cache": True,
        }
        module: Any = self._loaded.model if anatomy.logit_map is None else anatomy.backbone
        if _takes(module, "position_ids"):
            given["position_ids"] = positions.to(device)
        out = module(**given)
        if anatomy.logit_map is None:
            logits = out.logits[:, -1]
        else:
            logits = anatomy.logits(out.last_hidden_state[:, -1].contiguous())
        return logits.float().cpu(), out.past_key_values


def _takes(module: Any, name: str) -> bool:
    import inspect

    return name in inspect.signature(module.forward).parameters


def _plain(cache: Any) -> bool:
    """Whether the cache is keys and values [rows, heads, tokens, d] for every layer and nothing else."""
    layers: Sequence[Any] = getattr(cache, "layers", None) or ()
    return bool(layers) and all(
        type(layer).__name__ == "DynamicLayer" and layer.keys.dim() == 4 for layer in layers
    )


def _widened(values: Tensor, length: int) -> Tensor:
    return F.pad(values, (0, 0, length - values.shape[2], 0))
