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
from ..tasks import Item, Prompt
from .detect import generate_detected, the_detector
from .inputs import Source, Token, check_strengths, the_mitigations, the_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def generate(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    prompts: str | Sequence[Prompt],
    *,
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
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}, but must be at least 1")
    if not 0 <= temperature < float("inf"):
        raise InputError(f"the temperature is {temperature:g}, but must be 0 (greedy) or more")
    (lam,) = check_strengths([strength])
    detector = None if detect is None else the_detector(detect)
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
        base = scoring.generate(loaded, wanted, **sampling)
        steered: Sequence[str | None] = [None] * len(wanted)
        if found is not None:
            asked = [found.rewrite(prompt, lam) for prompt in wanted]
            with found.attach(loaded, lam):
                steered = scoring.generate(loaded, asked, **sampling)
    return tuple(
        Generation(shown(prompt), before, after)
        for prompt, before, after in zip(wanted, base, steered, strict=True)
    )


def shown(prompt: Prompt) -> str:
    """The prompt for people: a chat as its turns' text, one a line."""
    return prompt if isinstance(prompt, str) else "\n".join(turn["content"] for turn in prompt)


def sample_prompts(items: Sequence[Item], *, count: int) -> list[Prompt]:
    """Up to ``count`` prompts of different groups and, as far as possible, different templates."""
    found: list[Prompt] = []
    groups: set[str] = set()
    templates: set[str] = set()
    for fresh in (True, False):
        for item in items:
            seen = groups & set(item.groups) or (fresh and item.template in templates)
            if len(found) < count and not seen:
                found.append(item.prompt)
                groups |= set(item.groups)
                templates.add(item.template)
    return found
