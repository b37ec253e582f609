"""Telling whether two models are the same one, whatever their dtype, file format and vocabulary.

A fingerprint holds the sizes and 256 weights sampled from the matrices inside the blocks, at places that follow from
the parameters' names alone. Embedding and head are left out, so that a model with a token added is still the same;
norms are left out, so that it can be taken while an intervention is folded into them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import InputError
from .anatomy import Anatomy

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SAMPLES = 256

# Rounding a weight to bf16 moves it by at most 2**-8 of itself, 0.2 % over many weights; an 8-bit GGUF by 0.6 %.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Fingerprint:
    """What a model is recognised by.

    Attributes:
        architecture: the text model's type, as its config names it (``llama``).
        blocks: number of decoder blocks.
        hidden_size: width of the residual stream.
        heads: query heads a block; None if the blocks have none.
        norm: kind of the norms: ``rms``, ``layer`` or ``none``.
        norms: norms in a block, of the first block.
        layout: hash of the names and shapes of all block parameters.
        samples: 256 weights from the blocks' matrices; None for one that can't be read (offloaded to disk).
    """

    architecture: str
    blocks: int
    hidden_size: int
    heads: int | None
    norm: str
    norms: int
    layout: str
    samples: tuple[float | None, ...]

    def matches(self, other: Fingerprint) -> bool:
        """Whether both are fingerprints of one model: equal sizes, and weights that differ by rounding to bf16 at most.

        Not an equivalence in the strict sense, as rounding never is; ``==`` compares every digit.
        """
        return self.mismatch(other) is None

    def mismatch(self, other: Fingerprint) -> str | None:
        """In words, how the ``other`` model differs from this one; None if they match."""
        for name, what in _WORDS.items():
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                return f"{what} {mine} there and {theirs} here"
        if self.layout != other.layout:
            return "the blocks' parameters have other names or shapes (a merged model has biases that its base has not)"
        difference = self._distance(other)
        if difference > TOLERANCE:
            return (
                f"same architecture, but other weights (they differ by {difference:.1%}, and rounding explains"
                f" {TOLERANCE:.0%})"
            )
        return None

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits to show; equal for float32 and bfloat16 copies of one model."""
        rounded = [None if s is None else float(torch.tensor(s).bfloat16()) for s in self.samples]
        content = [getattr(self, name) for name in (*_WORDS, "layout")]
        return hashlib.sha256(repr([*content, rounded]).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary; :meth:`from_json` is its inverse."""
        return {**asdict(self), "samples": list(self.samples)}

    @classmethod
    def from_json(cls, value: Any) -> Fingerprint:
        """Inverse of :meth:`to_json`; raises :class:`InputError` for missing or unknown keys and wrong types."""
        names = {field.name for field in fields(cls)}
        if not isinstance(value, Mapping) or set(value) != names:
            raise InputError(f"a model fingerprint has exactly the keys {', '.join(sorted(names))}")
        for name, kind in _KINDS.items():
            if not isinstance(value[name], kind) or isinstance(value[name], bool):
                raise InputError(f"model fingerprint: {name} can't be {value[name]!r}")
        samples = value["samples"]
        if (
            not isinstance(samples, list | tuple)
            or len(samples) != SAMPLES
            or not all(map(_is_sample, samples))
        ):
            raise InputError(f"model fingerprint: samples must be {SAMPLES} finite numbers")
        rest = {name: value[name] for name in _KINDS}
        return cls(**rest, samples=tuple(None if s is None else float(s) for s in samples))

    def _distance(self, other: Fingerprint) -> float:
        """Root mean square difference of the samples that both have, relative to their size."""
        pairs = [
            (a, b)
            for a, b in zip(self.samples, other.samples, strict=True)
            if a is not None and b is not None
        ]
        size = sum(max(a * a, b * b) for a, b in pairs)
        return math.sqrt(sum((a - b) ** 2 for a, b in pairs) / size) if size else 0.0


_WORDS = {
    "architecture": "the architecture is",
    "blocks": "the number of blocks is",
    "hidden_size": "the hidden size is",
    "heads": "the number of heads is",
    "norm": "the kind of norm is",
    "norms": "the number of norms in a block is",
}
_KINDS: dict[str, Any] = dict.fromkeys(("blocks", "hidden_size", "norms"), int)
_KINDS |= dict.fromkeys(("architecture", "norm", "layout"), str)
_KINDS |= {"heads": int | None}


def _is_sample(value: Any) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    )


@torch.no_grad()
def take_fingerprint(model: PreTrainedModel, anatomy: Anatomy) -> Fingerprint:
    """The fingerprint of ``model``; reads 256 numbers and the parameters' names and shapes."""
    parameters = {
        f"{block.index}.{name}": parameter
        for block in anatomy.blocks
        for name, parameter in block.module.named_parameters()
    }
    shapes = sorted((name, tuple(parameter.shape)) for name, parameter in parameters.items())
    matrices = sorted(name for name, parameter in parameters.items() if parameter.ndim >= 2)
    samples: list[float | None] = []
    for index in range(SAMPLES):
        if not matrices:
            samples.append(None)
            continue
        name = matrices[_hash(f"which matrix {index}") % len(matrices)]
        samples.append(_read(parameters[name], _hash(f"where in {name} {index}")))
    attention = anatomy.blocks[0].attention
    norms = anatomy.blocks[0].norms
    return Fingerprint(
        architecture=str(model.config.get_text_config(decoder=True).model_type),
        blocks=len(anatomy.blocks),
        hidden_size=anatomy.hidden_size,
        heads=attention.heads.n_heads if attention is not None and attention.heads is not None else None,
        norm=norms[0].kind if norms else "none",
        norms=len(norms),
        layout=hashlib.sha256(repr(shapes).encode()).hexdigest()[:16],
        samples=tuple(samples),
    )


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _read(parameter: nn.Parameter, place: int) -> float | None:
    if parameter.is_meta or not parameter.is_floating_point():
        return None
    index: list[int] = []
    for size in reversed(parameter.shape):
        place, position = divmod(place, size)
        index.insert(0, position)
    value = float(parameter[tuple(index)])
    return value if math.isfinite(value) else None
