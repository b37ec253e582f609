"""Generate under a detector's eye: steer where it fires, and say what it thinks of what was written."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..analysis import Detector, Watch
from ..errors import InputError
from ..interventions import Intervention, attach
from ..models import LoadedModel
from ..reports import Detection, Generation
from ..scoring import generate_ids, prompt_ids
from ..tasks import Prompt


def the_detector(given: Detector | str | os.PathLike[str]) -> Detector:
    """A detector, given as one or as its file."""
    return given if isinstance(given, Detector) else Detector.load(given)


def generate_detected(
    loaded: LoadedModel,
    prompts: Sequence[Prompt],
    shown: Sequence[str],
    detector: Detector,
    intervention: Intervention | None,
    strength: float,
    *,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> tuple[Generation, ...]:
    """What the model writes unsteered, and with ``intervention`` at λ = ``strength`` wherever ``detector`` fires.

    ``shown`` are the prompts as people read them. The scores of both are those of the unsteered model reading the
    finished text, so they are the same scores before and after.
    """
    detector.check(loaded)
    ids = [prompt_ids(loaded, prompt) for prompt in prompts]
    if not all(ids):
        raise InputError(
            f"prompt {[bool(row) for row in ids].index(False)} tokenises to nothing: give it a word"
        )
    base = generate_ids(loaded, ids, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
    steered: list[list[int]] | None = None
    fired: dict[int, list[bool]] = {}
    if intervention is not None:
        with attach(loaded, intervention, 0.0) as handle:
            watch = Watch(loaded, [detector], handle, strength)
            steered = generate_ids(
                loaded,
                ids,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                seed=seed,
                before_step=watch,
            )
            fired = watch.fired
    before = detector.scores(loaded, ids)
    after = detector.scores(loaded, [_text(loaded, *pair) for pair in zip(ids, base, strict=True)])
    now = (
        None
        if steered is None
        else detector.scores(loaded, [_text(loaded, *pair) for pair in zip(ids, steered, strict=True)])
    )
    found = []
    for number, prompt in enumerate(shown):
        flags = fired.get(number, [])[: 0 if steered is None else len(steered[number])]
        detection = Detection(
            detector.category,
            detector.site,
            before[number],
            after[number],
            None if now is None else now[number],
            sum(flags) / len(flags) if flags else None,
        )
        text = None if steered is None else _decoded(loaded, steered[number])
        found.append(Generation(prompt, _decoded(loaded, base[number]), text, detection))
    return tuple(found)


def _text(loaded: LoadedModel, prompt: Sequence[int], new: Sequence[int]) -> list[int]:
    """The finished text without the special tokens at its end, which say nothing."""
    special = set(loaded.tokenizer.all_special_ids)
    end = len(new)
    while end and new[end - 1] in special:
        end -= 1
    return [*prompt, *new[:end]]


def _decoded(loaded: LoadedModel, new: Sequence[int]) -> str:
    return str(loaded.tokenizer.decode(list(new), skip_special_tokens=True))
