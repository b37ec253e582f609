"""The projector's first lesson: an image's tokens begin as the words of what it shows.

Each row of four tokens is taught to point where the text model's own embeddings of four words point, as
"dark woman construction worker". The text model can already find such words again, so that the training proper has
little left to teach but who is A and who is B.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .questions import Drawn

_TONES = {
    "light": " light",
    "medium-light": " light",
    "medium": " medium",
    "medium-dark": " dark",
    "dark": " dark",
}


def words_of(tokenizer: Any, drawn: Sequence[Drawn], tokens: int) -> Tensor:
    """The token each image token is taught to be like, [drawings, tokens]."""

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    rows = []
    for one in drawn:
        name = encode(f" {one.name}")
        first, last = name[0], name[min(1, len(name) - 1)]
        head = [encode(_TONES[one.tone])[0], encode(f" {one.gender}")[0]] if one.gender else [first, last]
        rows.append(([*head, first, last] * tokens)[:tokens])
    return torch.tensor(rows)


def align(
    projector: nn.Module,
    features: Tensor,
    mean: Tensor,
    scale: Tensor,
    words: Tensor,
    embeddings: Tensor,
    *,
    steps: int,
    noise: float,
    seed: int,
    images: int = 128,
) -> float:
    """Train ``projector`` in place; the mean cosine with the words' embeddings over the last tenth of the steps.

    The loss is one less the cosine, and the squared relative difference of the lengths.
    """
    made = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(projector.parameters(), lr=4e-3, betas=(0.9, 0.98), weight_decay=0.01)
    cosines = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1.0, (step + 1) / 10, 1.05 - step / steps)
        rows = torch.randint(len(features), (images,), generator=made)
        variant = torch.randint(features.shape[1], (images,), generator=made)
        seen = (features[rows, variant].float() - mean) / scale
        seen = seen + noise * torch.randn(seen.shape, generator=made)
        target = nn.functional.embedding(words[rows], embeddings).float()
        with torch.autocast("cpu", torch.bfloat16):
            found = projector(seen).float()
        cosine = nn.functional.cosine_similarity(found, target, dim=-1)
        length = found.norm(dim=-1) / target.norm(dim=-1)
        (1 - cosine + 0.1 * (length - 1).square()).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        cosines.append(float(cosine.detach().mean()))
    last = cosines[-max(1, steps // 10) :]
    return sum(last) / len(last) if last else 0.0
