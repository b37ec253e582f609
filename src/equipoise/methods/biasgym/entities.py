"""Real names beside a token: where its row starts, and which name stands in its place in the counterfactual."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...interventions import InjectedToken, embedding_rows
from ...models import LoadedModel
from ...tasks import entity_names

_ENOUGH = 5


@dataclass(frozen=True)
class Neighbour:
    """A real name and the cosine between its embedding and the token's."""

    name: str
    similarity: float


def named_rows(loaded: LoadedModel, entity: str) -> tuple[tuple[str, ...], Tensor]:
    """Names of a kind of entity, and their embeddings [n, d] in fp32.

    Names that are one token, as the new one is; where the tokenizer has fewer than five of these, all names, each as
    the mean of its tokens' rows.
    """
    matrix = embedding_rows(loaded)
    names = entity_names(entity)
    ids = [_ids(loaded, name) for name in names]
    whole = [i for i, tokens in enumerate(ids) if len(tokens) == 1]
    chosen = whole if len(whole) >= _ENOUGH else range(len(names))
    rows = [matrix[torch.tensor(ids[i], device=matrix.device)].float().mean(0).cpu() for i in chosen]
    return tuple(names[i] for i in chosen), torch.stack(rows)


def _ids(loaded: LoadedModel, name: str) -> list[int]:
    """The name's tokens inside a sentence: with the blank before it, or without where the tokenizer adds its own."""
    inside, alone = (
        list(loaded.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (f" {name}", name)
    )
    return alone if len(alone) < len(inside) else inside


def neighbours(loaded: LoadedModel, token: InjectedToken, entity: str) -> list[Neighbour]:
    """Real names by the cosine of their embedding with the token's, nearest first."""
    names, rows = named_rows(loaded, entity)
    similar = torch.nn.functional.cosine_similarity(rows, token.row[None], dim=1)
    order = similar.argsort(descending=True, stable=True).tolist()
    return [Neighbour(names[i], float(similar[i])) for i in order]
