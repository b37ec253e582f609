"""Continue prompts with the base model and with an intervention, side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from .. import scoring
from ..analysis import Detector
from ..errors import InputError
from ..interventions import attach_tokens
from ..methods.mitigation import Steering
from ..models import LoadedModel, load
from ..reports import Generation
from ..tasks import PLACEHOLDER, ImageSource, Item, Prompt, pictures, placeholders
from .detect import generate_detected, the_detector
from .inputs import Source, Token, check_count, check_seeds, check_strengths, the_mitigations, the_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def generate(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    prompts: str | Sequence[Prompt],
    *,
    images: Sequence[ImageSource] = (),
    images_of: Sequence[Sequence[ImageSource]] | None = None,
    intervention: Source | None = None,
    tokens: Token | Sequence[Token] = (),
    strength: float = 1.0,
    detect: Detector | str | os.PathLike[str] | None = None,
    max_new_tokens: int = 40,
    temperature: float = 0.0,
    seed: int = 0,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
) -> tuple[Generation, ...]:
    """What the model writes to each prompt, and what it writes when steered; ``steered`` is None without intervention.

    Args:
        source: see :func:`equipoise.models.load`.
        prompts: a text, or several prompts.
        images: what every prompt is asked about: paths, bytes or Pillow images, for vision-language models. They
            stand where the prompt says ``<image>``; one that doesn't say it gets them in front.
        images_of: instead, those of each prompt.
        intervention: a value (or any mitigation), a file, or a sum of files.
        tokens: injected tokens or their files, which the prompts may name.
        strength: λ ≥ 0.
        detect: a detector, or its file: the intervention acts only where it fires, token by token, and each result has
            a ``detection``, the detector's scores of the prompt and of both completions.
        max_new_tokens: most tokens of an answer.
        temperature: 0 is greedy; base and steered samples use the same ``seed``.

    Raises :class:`InputError` for bad input, before the model is loaded where possible.
    """
    wanted = [prompts] if isinstance(prompts, str) else list(prompts)
    if not wanted or any(len(prompt) == 0 for prompt in wanted):
        raise InputError("there is no prompt: give at least one with some text")
    check_count(max_new_tokens, "the number of new tokens")
    if not 0 <= temperature < float("inf"):
        raise InputError(f"the temperature is {temperature:g}, but must be 0 (greedy) or more")
    (lam,) = check_strengths([strength])
    check_seeds([seed])
    given = [tuple(images)] * len(wanted) if images_of is None else list(images_of)
    if len(given) != len(wanted) or (images and images_of is not None):
        raise InputError(
            "give images for all prompts together, or as many lists of them as there are prompts"
        )
    seen = [pictures(one) for one in given]
    wanted = [
        _with_places(prompt, len(own)) if own else prompt for prompt, own in zip(wanted, seen, strict=True)
    ]
    detector = None if detect is None else the_detector(detect)
    if detector is not None and any(seen):
        raise InputError("a detector reads text alone: leave out the images or the detector")
    found = None if intervention is None else the_mitigations(intervention, [0])[0][0]
    words = the_tokens(tokens)
    if detector is not None and found is not None and not isinstance(found, Steering):
        raise InputError(
            "a detector turns one intervention on and off: give a fitted file, or a sum of one scope"
        )
    sampling: Any = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
    with attach_tokens(load(source, dtype=dtype, device=device), words) as loaded:
        if found is not None:
            found.check(loaded)
        if detector is not None:
            edit = found.intervention if isinstance(found, Steering) else None
            names = [shown(prompt) for prompt in wanted]
            return generate_detected(loaded, wanted, names, detector, edit, lam, **sampling)
        base = scoring.generate(loaded, wanted, images=seen, **sampling)
        steered: Sequence[str | None] = [None] * len(wanted)
        if found is not None:
            asked = [found.rewrite(prompt, lam) for prompt in wanted]
            with found.attach(loaded, lam):
                steered = scoring.generate(loaded, asked, images=seen, **sampling)
    return tuple(
        Generation(shown(prompt), before, after)
        for prompt, before, after in zip(wanted, base, steered, strict=True)
    )


def _with_places(prompt: Prompt, images: int) -> Prompt:
    """The prompt with a place for each image; before everything else in its last turn if it has none."""
    if placeholders(prompt):
        return prompt
    places = PLACEHOLDER * images + "\n"
    if isinstance(prompt, str):
        return places + prompt
    *before, last = prompt
    return (*before, {**last, "content": places + last["content"]})


def shown(prompt: Prompt) -> str:
    """The prompt for people: a chat as its turns' text, one a line."""
    return prompt if isinstance(prompt, str) else "\n".join(turn["content"] for turn in prompt)


def sample_items(items: Sequence[Item], *, count: int) -> list[Item]:
    """Up to ``count`` items of different groups and, as far as possible, different templates."""
    found: list[Item] = []
    groups: set[str] = set()
    templates: set[str] = set()
    for fresh in (True, False):
        for item in items:
            seen = groups & set(item.groups) or (fresh and item.template in templates)
            if len(found) < count and not seen:
                found.append(item)
                groups |= set(item.groups)
                templates.add(item.template)
    return found
