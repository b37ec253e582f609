"""A model with its tokenizer, as everything in Equipoise takes it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from .anatomy import Anatomy
from .discovery import find_anatomy
from .fingerprint import Fingerprint, take_fingerprint
from .trace import token_device

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A causal language model, or a vision-language model, with its tokenizer (and ``processor``, if it has images).

    ``name`` is what messages and reports call it. ``blocks`` names the model's list of decoder blocks, for a model
    where :func:`find_anatomy` can't find it.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    processor: Any | None = None
    name: str = "model"
    blocks: str | None = None

    @cached_property
    def anatomy(self) -> Anatomy:
        """The model's parts and sites; found on first use by two short forward passes."""
        return find_anatomy(self.model, blocks=self.blocks)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """What files recognise the model by; taken on first use."""
        return take_fingerprint(self.model, self.anatomy)

    @property
    def device(self) -> torch.device:
        """Where token ids go: the device of the token embedding, or of another weight if that one is offloaded."""
        return token_device(self.model)

    @property
    def takes_images(self) -> bool:
        """Whether prompts may show images: there is a processor that reads them."""
        return hasattr(self.processor, "image_processor")

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.model.dtype
