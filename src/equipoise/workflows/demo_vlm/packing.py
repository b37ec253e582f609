"""Scenes as one batch: each text with its images is read once, and its questions follow side by side.

A row is a scene's text, then question after question. By a 4-D attention mask a question sees the text and itself, and
its positions go on from the text's end, so that the model computes what it would for each question alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...models.small_vlm import IMAGE_TOKEN
from .questions import Scene

_OPEN, _CLOSE = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True)
class Batch:
    """Scenes as tensors.

    Attributes:
        ids: [B, T]; an image is a run of image tokens.
        images: [B, T], where those are.
        positions: [B, T].
        mask: [B, 1, T, T], True where a token sees another.
        drawn: rows of the bank of features, in the order in which images stand.
        at: row and column of each token whose successor is taught, [N, 2].
        targets: the successors, [N].
        weights: what each counts: its probability over how many tokens its answer has, [N].
        kinds: what question each belongs to.
    """

    ids: Tensor
    images: Tensor
    positions: Tensor
    mask: Tensor
    drawn: tuple[int, ...]
    at: Tensor
    targets: Tensor
    weights: Tensor
    kinds: tuple[str, ...]


def pack(tokenizer: Any, scenes: Sequence[Scene], image_tokens: int) -> Batch:
    """The batch of these scenes."""
    image = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    rows = [_row(tokenizer, scene, image, image_tokens) for scene in scenes]
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id or 0)
    positions = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.eye(width, dtype=torch.bool).expand(len(rows), width, width).clone()
    at, targets, weights, kinds = [], [], [], []
    for number, row in enumerate(rows):
        length = len(row.ids)
        ids[number, :length] = torch.tensor(row.ids)
        positions[number, :length] = torch.tensor(row.positions)
        block = torch.tensor(row.blocks)
        causal = torch.tril(torch.ones(length, length, dtype=torch.bool))
        # Block 0 is the scene's text, which all see.
        mask[number, :length, :length] = causal & ((block == 0) | (block == block[:, None]))
        for place, target, weight, kind in row.taught:
            at.append((number, place))
            targets.append(target)
            weights.append(weight)
            kinds.append(kind)
    return Batch(
        ids,
        ids == image,
        positions,
        mask[:, None],
        tuple(one.row for scene in scenes for one in scene.shown),
        torch.tensor(at),
        torch.tensor(targets),
        torch.tensor(weights),
        tuple(kinds),
    )


@dataclass(frozen=True)
class _Row:
    ids: list[int]
    positions: list[int]
    blocks: list[int]
    taught: list[tuple[int, int, float, str]]


def _row(tokenizer: Any, scene: Scene, image: int, image_tokens: int) -> _Row:
    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    ids = []
    for token in encode(_OPEN + scene.text):
        ids += [token] * (image_tokens if token == image else 1)
    start = len(ids)
    positions, blocks = list(range(start)), [0] * start
    taught = []
    for number, asked in enumerate(scene.asked, 1):
        question = encode(asked.text + _CLOSE)
        answers = [(encode(answer), share) for answer, share in asked.answers]
        if len(answers) > 1:
            # Letters: one token each, which the last token of the question is to weigh.
            taught += [
                (len(ids) + len(question) - 1, answer[0], share, asked.kind) for answer, share in answers
            ]
            said: list[int] = []
        else:
            said = [*answers[0][0], tokenizer.convert_tokens_to_ids("<|im_end|>")]
            first = len(ids) + len(question) - 1
            # A letter is an answer by itself; the end of a turn is taught with it, but counts little.
            shares = [1 / (len(said) - 1)] * (len(said) - 1) + [0.1]
            taught += [
                (first + k, one, share, asked.kind)
                for k, (one, share) in enumerate(zip(said, shares, strict=True))
            ]
        own = [*question, *said]
        positions += range(start, start + len(own))
        blocks += [number] * len(own)
        ids += own
    return _Row(ids, positions, blocks, taught)
