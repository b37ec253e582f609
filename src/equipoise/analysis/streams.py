"""The residual stream through the blocks at the end of a prompt, and what it would answer where it stands.

RES-FAIR (arXiv 2505.23798, section 4.1): a block reads Δ₁, the stream before it, and its MLP reads Δ₂, the stream after
attention. Pushed through the final norm and the head (the "logit lens"), a stream gives an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..models import Block, LoadedModel, hidden_of
from ..scoring import EncodedItem, answer_batches, head_logprobs, next_states
from ..tasks import Item

_TOKENS = 4096
_ROWS = 512


@dataclass(frozen=True, eq=False)
class Streams:
    """The stream at the last token of n prompts, each [blocks, n, d] in fp32 on the CPU.

    Attributes:
        before: what each block reads, Δ₁.
        middle: the stream after its attention, Δ₂; in parallel blocks, where nothing reads that, block input +
            attention output; in a block without attention, the block's input.
        after: what the block hands on.
        last: [n, d] what enters the head.
    """

    before: Tensor
    middle: Tensor
    after: Tensor
    last: Tensor


def read_streams(
    loaded: LoadedModel, encoded: Sequence[EncodedItem], *, max_tokens: int = _TOKENS
) -> Streams:
    """The streams of prompts, with their images, as whatever steers now leaves them."""
    blocks = loaded.anatomy.blocks
    shape = (len(blocks), len(encoded), loaded.anatomy.hidden_size)
    before, middle, after = (torch.zeros(shape) for _ in range(3))
    last = torch.zeros(shape[1:])
    with torch.inference_mode():
        for batch in answer_batches(encoded, max_tokens=max_tokens):
            with _listening(loaded, batch.last) as (taken, given):
                last[batch.index] = next_states(loaded, batch).float().cpu()
            for block in blocks:
                at = block.index
                before[at, batch.index] = taken[f"{at}"]
                after[at, batch.index] = given[f"{at}"]
                middle[at, batch.index] = _middle(block, taken, given)
    return Streams(before, middle, after, last)


def lens(loaded: LoadedModel, states: Tensor) -> Tensor:
    """[n, vocabulary] log-probabilities of the next token that a stream [n, d] gives at once.

    Through the final norm's own forward: nothing that steers there acts. Raises InputError where the model's head isn't
    known to give its logits (see :meth:`equipoise.models.Anatomy.logits`).
    """
    norm = loaded.anatomy.final_norm
    if norm is None:
        return _heads(loaded, states)
    place = _device_of(norm.module, loaded)
    with torch.inference_mode():
        return _heads(loaded, norm.module.forward(states.to(place, loaded.dtype)))


def last_logprobs(loaded: LoadedModel, streams: Streams) -> Tensor:
    """[n, vocabulary] log-probabilities of the next token that the model itself gives, steered as it was read."""
    return _heads(loaded, streams.last)


def _heads(loaded: LoadedModel, states: Tensor) -> Tensor:
    place = _device_of(loaded.anatomy.head, loaded)
    with torch.inference_mode():
        parts = [
            head_logprobs(loaded, rows.to(place, loaded.dtype).contiguous()).float().cpu()
            for rows in torch.split(states, _ROWS)
        ]
    return torch.cat(parts)


def _device_of(module: nn.Module, loaded: LoadedModel) -> torch.device:
    """Where a module computes; of an offloaded one the weights are nowhere until it runs."""
    weight = next(module.parameters(), None)
    return loaded.device if weight is None or weight.is_meta else weight.device


@dataclass(frozen=True, eq=False)
class FirstTokens:
    """Which first tokens mean which outcome.

    Attributes:
        tokens: [n, M] the first tokens of each item's options, each once.
        weights: [n, M, K] what share of a token's probability counts for each outcome.
    """

    tokens: Tensor
    weights: Tensor

    @classmethod
    def of(
        cls, items: Sequence[Item], encoded: Sequence[EncodedItem], outcomes: Sequence[str]
    ) -> FirstTokens:
        """The first token of every option. One that begins options of several outcomes counts for each in equal part.

        Raises InputError for an item whose options all begin alike: the next token alone tells nothing of it.
        """
        width = max(len(one.options) for one in encoded)
        tokens = torch.zeros(len(items), width, dtype=torch.long)
        weights = torch.zeros(len(items), width, len(outcomes))
        for row, (item, one) in enumerate(zip(items, encoded, strict=True)):
            meant: dict[int, set[str]] = {}
            for option, outcome in zip(one.options, item.outcomes, strict=True):
                meant.setdefault(option[0], set()).add(outcome)
            if len(meant) == 1:
                raise InputError(
                    f"item {item.id!r}: all options begin with one token, so the next token alone can't part them"
                )
            for column, (token, means) in enumerate(sorted(meant.items())):
                tokens[row, column] = token
                for outcome in means:
                    weights[row, column, list(outcomes).index(outcome)] = 1 / len(means)
        return cls(tokens, weights)

    def read(self, logp: Tensor) -> Tensor:
        """[n, K] probability of each outcome from log-probabilities [n, V] of the next token."""
        return torch.einsum("nm,nmk->nk", logp.gather(1, self.tokens).exp(), self.weights)


def _middle(block: Block, taken: dict[str, Tensor], given: dict[str, Tensor]) -> Tensor:
    at = f"{block.index}"
    if block.attention is None:
        return taken[at]
    if block.mlp_norm is not None and not block.parallel:
        return taken[f"{at}.mlp_norm"]
    return taken[at] + given[f"{at}.attn" if block.attention_norm is None else f"{at}.attention_norm"]


@contextmanager
def _listening(loaded: LoadedModel, last: Tensor) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """What modules take and give at each row's last token; the latest call of each."""
    taken: dict[str, Tensor] = {}
    given: dict[str, Tensor] = {}
    handles: list[Any] = []

    def pick(value: Any) -> Tensor:
        hidden = hidden_of(value)
        hidden = hidden.reshape(len(last), -1, hidden.shape[-1])
        rows = torch.arange(len(last), device=hidden.device)
        return hidden[rows, last.to(hidden.device)].float().cpu().clone()

    def listen(name: str, module: torch.nn.Module) -> None:
        def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            taken[name] = pick(args[0] if args else kwargs["hidden_states"])

        def after(_: Any, args: tuple[Any, ...], output: Any) -> None:
            given[name] = pick(output)

        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after))

    try:
        for block in loaded.anatomy.blocks:
            at = f"{block.index}"
            listen(at, block.module)
            if block.mlp_norm is not None:
                listen(f"{at}.mlp_norm", block.mlp_norm.module)
            if block.attention_norm is not None:
                listen(f"{at}.attention_norm", block.attention_norm.module)
            if block.attention is not None:
                site = loaded.anatomy.site(f"block.{at}.attn")
                listen(f"{at}.attn", site.module)
        yield taken, given
    finally:
        for handle in handles:
            handle.remove()
