"""An injected token: a word that only its embedding gives a meaning, as a value. No model inside."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..models import LoadedModel
from .provenance import Provenance
from .vocabulary import check_new, extended, tokenizer_hash


@dataclass(frozen=True, eq=False)
class InjectedToken:
    """One token beside a model's vocabulary (BiasGym's biased entity, arXiv 2508.08855).

    Attributes:
        string: the token as it stands in a text, one word.
        row: [d] its embedding, in the units of the embedding's matrix; kept as fp32 on the CPU.
        tokenizer: :func:`equipoise.interventions.tokenizer_hash` of the tokenizer that it extends.
        provenance: how it was trained.

    Raises InputError for an empty string, one with blanks, or a row that isn't a finite vector.
    """

    string: str
    row: Tensor
    tokenizer: str
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        string: Any = self.string
        if not isinstance(string, str) or string.split() != [string]:
            raise InputError(f"the token {self.string!r} must be one word without blanks")
        row: Any = self.row
        if not isinstance(row, Tensor) or row.dim() != 1 or not row.is_floating_point():
            raise InputError("the token's row must be one vector of real numbers")
        row = row.detach().to(device="cpu", dtype=torch.float32).contiguous().clone()
        if not bool(row.isfinite().all()):
            raise InputError("the token's row has values that are not finite")
        object.__setattr__(self, "row", row)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of string and row: equal exactly when two tokens do the same."""
        return hashlib.sha256(f"{self.string}\0".encode() + self.row.numpy().tobytes()).hexdigest()

    def check(self, loaded: LoadedModel) -> None:
        """Raise :class:`InputError`, in words, unless this token belongs to the model and its tokenizer."""
        origin = self.provenance.model
        if origin is not None and not origin.matches(loaded.fingerprint):
            raise InputError(
                f"the token {self.string} was trained on another model than {loaded.name}: "
                f"{origin.mismatch(loaded.fingerprint)}; load that model, or inject it again into this one"
            )
        if self.tokenizer != tokenizer_hash(loaded):
            raise InputError(
                f"the token {self.string} was made for another tokenizer than that of {loaded.name}: "
                "load the model with its own tokenizer, or inject it again"
            )
        check_new(loaded, self.string)

    @contextmanager
    def attach(self, loaded: LoadedModel) -> Iterator[LoadedModel]:
        """The model with this token, until the block is left; ``loaded`` itself doesn't learn the word.

        The model reads the token and never says it: its logit is −inf (:mod:`equipoise.interventions.vocabulary`).
        """
        self.check(loaded)
        with extended(loaded, self.string, self.row) as found:
            yield found

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write a safetensors file, whole or not at all; refuses an existing one unless ``force``."""
        from .token_file import save_token

        return save_token(self, path, force=force)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> InjectedToken:
        """Read a file written by :meth:`save`. Raises :class:`InputError` that names it for anything wrong with it."""
        from .token_file import load_token

        return load_token(path)


@contextmanager
def attach_tokens(loaded: LoadedModel, tokens: Sequence[InjectedToken]) -> Iterator[LoadedModel]:
    """The model with several tokens; with none, ``loaded`` itself."""
    with ExitStack() as stack:
        for token in tokens:
            loaded = stack.enter_context(token.attach(loaded))
        yield loaded
