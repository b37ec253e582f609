"""Prompts with images as the model's inputs, by its own processor."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..models import LoadedModel
from ..tasks import Picture
from .layout import places_images_itself

# Larger inputs than this that aren't a value a token are pixels: they are made again when they are needed.
_PIXELS = 4096


@dataclass(frozen=True, eq=False)
class Sight:
    """What a prompt's images add to its tokens.

    Attributes:
        images: the pictures in their order.
        text: the prompt as the processor takes it.
        opened: whether the text opens itself, so that the tokenizer adds nothing before it.
        tokenwise: inputs beside the token ids with a value a token, [1, T, ...], by name.
        others: other inputs, but for pixels, by name.
        pixels: shapes and types of the inputs that are made again when they are needed.
    """

    images: tuple[Picture, ...]
    text: str
    opened: bool
    tokenwise: Mapping[str, Tensor] = field(default_factory=dict)
    others: Mapping[str, Tensor] = field(default_factory=dict)
    pixels: Mapping[str, tuple[tuple[int, ...], torch.dtype]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Rows of one kind can be one batch: as many images, and inputs that differ in the first size at most."""
        shapes = {name: tuple(value.shape[1:]) for name, value in self.others.items()}
        shapes |= {name: shape[1:] for name, (shape, _) in self.pixels.items()}
        deep = {name: tuple(value.shape[2:]) for name, value in self.tokenwise.items()}
        return repr((len(self.images), sorted(shapes.items()), sorted(deep.items())))

    def cut(self, length: int) -> Sight:
        """The same for the first ``length`` tokens."""
        return replace(self, tokenwise={name: value[:, :length] for name, value in self.tokenwise.items()})

    def continued(self, count: int) -> Sight:
        """The same for a prompt that goes on for ``count`` tokens of text, which are like its last one."""
        if not count:
            return self
        longer = {
            name: torch.cat([value, value[:, -1:].expand(-1, count, *value.shape[2:])], 1)
            for name, value in self.tokenwise.items()
        }
        return replace(self, tokenwise=longer)


def look(loaded: LoadedModel, text: str, images: Sequence[Picture]) -> tuple[list[int], Sight]:
    """Token ids of ``text``, marked for the processor, with its images, and what the images add.

    Raises InputError for a picture that can't be read, or that the processor doesn't take, and for several images where
    it puts them before the text by itself: such models (BLIP-2) read the first, and rows of a batch each other's.
    """
    if len(images) > 1 and places_images_itself(loaded):
        raise InputError(
            f"{loaded.name} takes one image a prompt, and this one has {len(images)}: use another model, or a task with"
            " one image an item"
        )
    opened = opens_itself(loaded.tokenizer, text)
    found = process(loaded, text, images, opened=opened)
    ids = [int(token) for token in found.pop("input_ids")[0]]
    tokenwise, others, pixels = {}, {}, {}
    for name, value in found.items():
        if value.shape[:2] == (1, len(ids)):
            tokenwise[name] = value
        elif value.numel() > _PIXELS or value.is_floating_point():
            pixels[name] = (tuple(value.shape), value.dtype)
        else:
            others[name] = value
    return ids, Sight(tuple(images), text, opened, tokenwise, others, pixels)


def pixels(loaded: LoadedModel, sight: Sight) -> dict[str, Tensor]:
    """The inputs of ``sight`` that it doesn't keep."""
    found = process(loaded, sight.text, sight.images, opened=sight.opened)
    return {name: found[name] for name in sight.pixels}


def process(loaded: LoadedModel, text: str, images: Sequence[Picture], *, opened: bool) -> dict[str, Tensor]:
    """What the processor makes of one prompt, as far as the model's forward takes it."""
    shown = [image.open() for image in images]
    names = ", ".join(image.name for image in images)
    options = {"add_special_tokens": False} if opened else {}
    try:
        made = loaded.processor(text=[text], images=[shown], return_tensors="pt", **options)  # type: ignore[misc]
    except Exception as error:  # each processor has its own
        brief = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"the processor of {loaded.name} doesn't take {names}: {brief}") from error
    takes = inspect.signature(loaded.model.forward).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    kept = {name: value for name, value in made.items() if isinstance(value, Tensor) and name != "labels"}
    return {name: value for name, value in kept.items() if name in takes or anything}


def opens_itself(tokenizer: Any, text: str) -> bool:
    """Whether the text begins with the tokenizer's opening token, as many chat templates write it."""
    opening = getattr(tokenizer, "bos_token", None)
    return bool(opening) and text.startswith(str(opening))


def assemble(
    ids: Sequence[Sequence[int]],
    sights: Sequence[Sight],
    given: Sequence[Mapping[str, Tensor]] | None,
    *,
    device: torch.device,
    dtype: torch.dtype,
    left: bool = False,
    padding: int = 0,
) -> dict[str, Tensor]:
    """The inputs of a batch of rows of one kind: padded to one length, images one after the other.

    Args:
        ids: token ids of each row.
        sights: what their images add.
        given: each row's pixels; None for stand-ins of the right shape, where image features are known already.
        left: pad on the left, as generation wants it.
    """
    width = max(len(row) for row in ids)

    def padded(value: Tensor, fill: int = 0) -> Tensor:
        shape = (value.shape[0], width - value.shape[1], *value.shape[2:])
        parts = [value, value.new_full(shape, fill)]
        return torch.cat(parts[::-1] if left else parts, 1)

    inputs = {"input_ids": torch.cat([padded(torch.tensor([list(row)]), padding) for row in ids])}
    mask = [torch.ones(1, len(row), dtype=torch.long) for row in ids]
    inputs["attention_mask"] = torch.cat([padded(one) for one in mask])
    for name in sights[0].tokenwise:
        if name != "attention_mask":
            inputs[name] = torch.cat([padded(sight.tokenwise[name]) for sight in sights])
    for name in sights[0].others:
        inputs[name] = torch.cat([sight.others[name] for sight in sights])
    for name, (shape, kind) in sights[0].pixels.items():
        if given is None:
            rows = sum(sight.pixels[name][0][0] for sight in sights)
            kind = dtype if kind.is_floating_point else kind
            inputs[name] = torch.zeros((), dtype=kind, device=device).expand(rows, *shape[1:])
        else:
            inputs[name] = torch.cat([one[name] for one in given])
    return {
        name: value.to(device, dtype if value.is_floating_point() else None) for name, value in inputs.items()
    }
