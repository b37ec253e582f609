"""Writing a merged model as a folder that stock loaders read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..models import LoadedModel
from ..models.quiet import quiet


def save_checkpoint(loaded: LoadedModel, folder: Path) -> None:
    """Weights (safetensors), config, generation settings, and tokenizer or processor, into ``folder``."""
    model: Any = loaded.model
    name = model.config._name_or_path
    # A path of this machine, or of the base model: neither is what this checkpoint is.
    model.config._name_or_path = ""
    try:
        with quiet():
            model.save_pretrained(folder)
            (loaded.processor or loaded.tokenizer).save_pretrained(folder)
    finally:
        model.config._name_or_path = name
