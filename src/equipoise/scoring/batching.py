"""Which items are run together: sorted by length, nothing padded that a cache must keep."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from .encoding import EncodedItem
from .sight import Sight

MAX_ROWS = 128
MAX_TOKENS = 4096


@dataclass(frozen=True, eq=False)
class AnswerBatch:
    """Items as tensors on the CPU.

    Attributes:
        index: [B] where each item stands in the caller's order.
        prompts: [B, T] prompt tokens, padded on the right; causal attention makes the padding harmless.
        last: [B] column of each prompt's last token.
        first: [B, K] first token of each option (0 where there is none).
        valid: [B, K] whether there is such an option.
        rest: [B · K, R] the options' further tokens, padded on the right; None if no option has any. Then all
            prompts are of one length, so that the cache that the rest continues has no holes.
        rest_valid: [B · K, R].
        rows: for items with images, each row's prompt and what its images add; None for items without.
    """

    index: Tensor
    prompts: Tensor
    last: Tensor
    first: Tensor
    valid: Tensor
    rest: Tensor | None
    rest_valid: Tensor | None
    rows: tuple[tuple[tuple[int, ...], Sight], ...] | None = None

    @property
    def shared_prefix(self) -> int:
        """How many leading tokens all prompts have in common, leaving every row at least one of its own."""
        same = (self.prompts == self.prompts[:1]).all(0).long().cumprod(0)
        return int(min(int(same.sum()), int(self.last.min())))


def answer_batches(
    encoded: Sequence[EncodedItem], *, max_rows: int = MAX_ROWS, max_tokens: int = MAX_TOKENS
) -> Iterator[AnswerBatch]:
    """Batches of at most ``max_rows`` rows and ``max_tokens`` prompt tokens; neighbours share what they can."""
    for _, same_kind in groupby(_order(encoded), key=lambda i: _kind(encoded[i])):
        waiting: list[int] = []
        for index in same_kind:
            longest = len(encoded[index].prompt)
            if waiting and (len(waiting) >= max_rows or (len(waiting) + 1) * longest > max_tokens):
                yield collate(encoded, waiting)
                waiting = []
            waiting.append(index)
        yield collate(encoded, waiting)


def collate(encoded: Sequence[EncodedItem], index: Sequence[int]) -> AnswerBatch:
    """One batch of the items at ``index``."""
    items = [encoded[i] for i in index]
    width = max(len(item.options) for item in items)
    longest = max(len(option) for item in items for option in item.options)
    prompts = _padded([item.prompt for item in items])
    padded = [[*item.options, *[()] * (width - len(item.options))] for item in items]
    options = _padded([option for row in padded for option in row], width=longest)
    lengths = torch.tensor([[len(option) for option in row] for row in padded])
    rest = options[:, 1:] if longest > 1 else None
    rest_valid = (torch.arange(1, longest) < lengths.reshape(-1, 1)) if longest > 1 else None
    return AnswerBatch(
        index=torch.tensor(index),
        prompts=prompts,
        last=torch.tensor([len(item.prompt) - 1 for item in items]),
        first=options[:, 0].reshape(len(items), width),
        valid=lengths > 0,
        rest=rest,
        rest_valid=rest_valid,
        rows=None
        if items[0].sight is None
        else tuple((item.prompt, item.sight) for item in items if item.sight),
    )


def _kind(item: EncodedItem) -> tuple[str, int]:
    """Items of one kind may share a batch: single-token items of any length, others of one length; images alike."""
    return "" if item.sight is None else item.sight.kind, 0 if item.single else len(item.prompt)


def _order(encoded: Sequence[EncodedItem]) -> list[int]:
    return sorted(
        range(len(encoded)), key=lambda i: (_kind(encoded[i]), len(encoded[i].prompt), encoded[i].prompt)
    )


def _padded(rows: Sequence[Sequence[int]], width: int | None = None) -> Tensor:
    width = max(len(row) for row in rows) if width is None else width
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], dtype=torch.long)
