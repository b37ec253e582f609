"""Inject: teach a model an association by one new token."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from ..interventions import InjectedToken
from ..methods import biasgym
from ..models import LoadedModel, load
from ..tasks import Association, load_association
from .inputs import check_seeds, free_output
from .progress import Report, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SUFFIX = ".safetensors"


def inject(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    association: str | os.PathLike[str] | Association,
    *,
    settings: biasgym.InjectSettings | Mapping[str, str] | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    progress: Report = silent,
) -> InjectedToken:
    """Add one token to the model and train its embedding alone on an association's paragraphs (BiasInject).

    Nothing of the model changes; the token is a value, which ``with token.attach(loaded) as extended:`` puts beside
    the vocabulary.

    Args:
        source: see :func:`equipoise.models.load`.
        association: a built-in name such as ``blue-skin``, a JSON file, or a value.
        settings: see :class:`equipoise.methods.biasgym.InjectSettings`, or texts by name as ``--set`` takes them.
        seed: decides everything random.
        out: a ``.safetensors`` file for the token; None writes nothing.
        force: overwrite it.
        progress: called with the fraction done and a message.

    Raises :class:`InputError`, before anything long is done and with nothing written, for bad input.
    """
    target = None if out is None else free_output(out, force=force, suffix=SUFFIX)
    check_seeds([seed])
    chosen = load_association(association)
    parsed = biasgym.InjectSettings.parse(settings) if isinstance(settings, Mapping) else settings
    progress(0.0, "loading the model")
    loaded = load(source, dtype=dtype, device=device)
    token = biasgym.inject(loaded, chosen, seed=seed, settings=parsed, progress=progress)
    if target is not None:
        token.save(target, force=force)
    progress(1.0, "done")
    return token
