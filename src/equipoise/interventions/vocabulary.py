"""One more token for a model whose weights stay as they are: its id, its row, and the model's ignorance of saying it.

The new id lies beyond the embedding matrix. A hook on the embedding module puts another id in its place and the row
into what comes out. The head is not touched, so it has no column for the token: its probability is exactly 0 (a logit
of −inf), and all logits of a text without it are the base model's, bit for bit. Nothing is resized, copied or retied.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..models import LoadedModel
from .guard import refuse_compiled

# Ids between the tokenizer's last one and the matrix's last row (padding of the matrix) get names that no text holds.
_FILLER = "<|equipoise unused {}|>"
_FILLER_START = _FILLER.split("{}")[0]

_TAKEN: WeakKeyDictionary[nn.Module, set[int]] = WeakKeyDictionary()


def tokenizer_hash(loaded: LoadedModel) -> str:
    """SHA-256 of the tokens that the model's embedding has rows for, with their ids; added tokens don't change it."""
    rows = _matrix(loaded).shape[0]
    known = sorted(
        (index, token)
        for token, index in loaded.tokenizer.get_vocab().items()
        if index < rows and not token.startswith(_FILLER_START)
    )
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def injected_ids(loaded: LoadedModel) -> frozenset[int]:
    """The ids of the tokens that the model has at present beyond its matrix."""
    return frozenset(_TAKEN.get(loaded.model.get_input_embeddings(), ()))


def embedding_rows(loaded: LoadedModel) -> Tensor:
    """The token embedding's matrix, [rows, d], without gradients. Raises :class:`InputError` if it is offloaded."""
    return _matrix(loaded).detach()


def check_new(loaded: LoadedModel, string: str) -> None:
    """Raise :class:`InputError` unless ``string`` can become a token: one word that the tokenizer has not."""
    if not string or any(character.isspace() for character in string):
        raise InputError(f"the token {string!r} must be one word without blanks, for example <Zorvia>")
    tokenizer = loaded.tokenizer
    known = string in tokenizer.get_vocab()
    # " France" is one token, so a token "France" would take the real one's place in every text.
    known = known or any(
        len(tokenizer(text, add_special_tokens=False)["input_ids"]) == 1 for text in (string, f" {string}")
    )
    if known:
        raise InputError(
            f"the tokenizer of {loaded.name} has the token {string!r} already: choose another, for example <Zorvia>"
        )


@contextmanager
def extended(loaded: LoadedModel, string: str, row: Tensor) -> Iterator[LoadedModel]:
    """The same model with one more token, until the block is left; the given ``loaded`` and its tokenizer don't change.

    The tokenizer that comes with it is a copy that knows ``string``, with the blank before it as a part, as words have
    it in byte-level vocabularies. Several tokens are several blocks, one inside the other.

    Args:
        loaded: the model; the new one shares its modules, its anatomy and its fingerprint.
        string: the token, one word.
        row: [d] as a row of the embedding's matrix; gradients reach it if it requires them.

    Raises InputError, before anything is touched, for a string that the tokenizer has, a row of another width, a
    compiled model, or an embedding that does more than look up and scale.
    """
    refuse_compiled(loaded)
    check_new(loaded, string)
    matrix = _matrix(loaded)
    if row.shape != (matrix.shape[1],):
        raise InputError(
            f"the token's row is {list(row.shape)} and the embedding of {loaded.name} is {matrix.shape[1]} wide: "
            "the token belongs to another model"
        )
    embedding = loaded.model.get_input_embeddings()
    taken = _TAKEN.setdefault(embedding, set())
    tokenizer, index = _with_token(loaded, string, max([matrix.shape[0], *(one + 1 for one in taken)]))
    substitute = _Substitute(index, row, _scale(loaded, embedding, matrix))
    taken.add(index)
    try:
        substitute.hang(embedding)
        yield _sharing(loaded, tokenizer)
    finally:
        substitute.remove()
        taken.discard(index)


class _Substitute:
    """The two hooks on an embedding that give one id beyond its matrix a row."""

    def __init__(self, index: int, row: Tensor, scale: float) -> None:
        self._index, self._row, self._scale = index, row, scale
        self._here: Tensor | None = None
        self._handles: list[Any] = []

    def hang(self, embedding: nn.Module) -> None:
        self._handles.append(embedding.register_forward_pre_hook(self._before, with_kwargs=True))
        # First of all hooks, so that whatever captures or edits embeddings sees the row.
        self._handles.append(embedding.register_forward_hook(self._after, prepend=True))

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = None if args else "input"
        ids = args[0] if args else kwargs["input"]
        self._here = ids == self._index
        known = ids.masked_fill(self._here, 0)
        return ((known, *args[1:]), kwargs) if name is None else (args, {**kwargs, name: known})

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        assert self._here is not None
        row = (self._row * self._scale).to(device=output.device, dtype=output.dtype)
        # No branch on whether the token is there: that would wait for the device in every pass.
        found = torch.where(self._here.to(output.device)[..., None], row, output)
        self._here = None
        return found


def _matrix(loaded: LoadedModel) -> Tensor:
    embedding: Any = loaded.model.get_input_embeddings()
    weight = getattr(embedding, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2:
        raise InputError(
            f"the token embedding of {loaded.name} has no matrix [tokens, width]: use another model"
        )
    if weight.is_meta:
        raise InputError(
            f"the token embedding of {loaded.name} is offloaded: load the model with it on a device"
        )
    return weight


@torch.no_grad()
def _scale(loaded: LoadedModel, embedding: nn.Module, matrix: Tensor) -> float:
    """By what the module multiplies a row (Gemma 3: √d); 1 for an ordinary embedding."""
    index = int(matrix[:1024].float().norm(dim=1).argmax())
    row = matrix[index].float()
    out = embedding(torch.tensor([[index]], device=matrix.device))
    if out.shape[-1] != row.shape[0]:
        raise InputError(f"the token embedding of {loaded.name} projects its rows: use another model")
    given = out[0, 0].float().to(row.device)
    scale = float(given @ row / (row @ row))
    if (given - scale * row).norm() > 1e-2 * given.norm():
        raise InputError(
            f"the token embedding of {loaded.name} does more than scale its rows: use another model"
        )
    return 1.0 if abs(scale - 1) < 1e-6 else scale


def _with_token(loaded: LoadedModel, string: str, least: int) -> tuple[Any, int]:
    """A copy of the tokenizer that has ``string`` at an id of at least ``least``."""
    from tokenizers import AddedToken

    tokenizer = copy.deepcopy(loaded.tokenizer)
    tokenizer.add_tokens([_FILLER.format(number) for number in range(len(tokenizer), least)])
    # single_word: a name that happens to begin another word is no mention of the token.
    tokenizer.add_tokens([AddedToken(string, single_word=True, lstrip=True, normalized=False, special=False)])
    index = tokenizer.convert_tokens_to_ids(string)
    if not isinstance(index, int) or index < least:
        raise InputError(f"the tokenizer of {loaded.name} can't take the token {string!r}: use another model")
    return tokenizer, index


def _sharing(loaded: LoadedModel, tokenizer: Any) -> LoadedModel:
    processor = loaded.processor
    if processor is not None and hasattr(processor, "tokenizer"):
        processor = copy.copy(processor)
        processor.tokenizer = tokenizer
    other = replace(loaded, tokenizer=tokenizer, processor=processor)
    # Found already, and the same for the same modules.
    other.__dict__.update({name: getattr(loaded, name) for name in ("anatomy", "fingerprint")})
    return other
