"""Seeded generation in batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from ..errors import InputError
from ..models import LoadedModel
from ..tasks import Prompt
from .encoding import prompt_ids


@dataclass(frozen=True, eq=False)
class Step:
    """What the model is about to compute while it writes: the last thing known before the next token.

    Attributes:
        index: [B] which prompt of the caller's each row continues.
        number: 0 for the prompts, then how many tokens have been written.
        ids: [B, T] the tokens about to be computed: the prompts, padded on the left, then one token a row. A row that
            has ended goes on with padding.
        mask: [B, columns so far] 1 where a column is no padding.
        inputs: everything that the model is called with.
    """

    index: tuple[int, ...]
    number: int
    ids: Tensor
    mask: Tensor
    inputs: Mapping[str, Any]


BeforeStep = Callable[[Step], None]
"""Called before every forward pass of a generation; it may turn the strength of what is attached."""


def generate(
    loaded: LoadedModel,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int = 40,
    temperature: float = 0.0,
    seed: int = 0,
    batch_rows: int = 32,
) -> list[str]:
    """Continue every prompt with whatever steers now; returns the new text alone.

    Args:
        prompts: texts or chats.
        max_new_tokens: most tokens of an answer.
        temperature: 0 (the default) is greedy; otherwise sampled from the whole vocabulary at this temperature.
        seed: decides the samples; the global generators are left as they were.
        batch_rows: prompts at a time, sorted by length and padded on the left.

    Raises InputError for a prompt without a token.
    """
    ids = [prompt_ids(loaded.tokenizer, prompt) for prompt in prompts]
    if not all(ids):
        raise InputError(
            f"prompt {[bool(row) for row in ids].index(False)} tokenises to nothing: give it a word"
        )
    found = generate_ids(
        loaded, ids, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed, batch_rows=batch_rows
    )
    return [str(loaded.tokenizer.decode(new, skip_special_tokens=True)) for new in found]


def generate_ids(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    batch_rows: int = 32,
    before_step: BeforeStep | None = None,
) -> list[list[int]]:
    """As :func:`generate`, from tokens to tokens: up to and with the end token, without padding after it.

    A text's log-probability under the tokens that it would be encoded to is not that of the tokens it was drawn as, so
    whoever needs it keeps these.

    ``before_step`` is called before each forward pass. The keys and values of earlier tokens stay in the cache as they
    were computed: a strength that it sets acts on the tokens of that pass and later ones.
    """
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: list[list[int]] = [[] for _ in prompts]
    ends = _end_tokens(loaded)
    devices = [loaded.device] if loaded.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for start in range(0, len(order), batch_rows):
            index = order[start : start + batch_rows]
            rows = [prompts[i] for i in index]
            with _before_each_pass(loaded, index, [len(row) for row in rows], before_step):
                found = _continue(loaded, rows, max_new_tokens, temperature)
            for i, new in zip(index, found, strict=True):
                stop = next((place for place, token in enumerate(new) if token in ends), len(new) - 1)
                answers[i] = new[: stop + 1]
    return answers


@contextmanager
def _before_each_pass(
    loaded: LoadedModel, index: Sequence[int], lengths: Sequence[int], call: BeforeStep | None
) -> Iterator[None]:
    """Call ``call`` before every forward pass of the whole model (passes of its backbone alone are its own affair)."""
    if call is None:
        yield
        return
    number, mask = 0, torch.empty(len(lengths), 0, dtype=torch.long)

    def hook(module: Any, args: tuple[Any, ...], inputs: dict[str, Any]) -> None:
        nonlocal number, mask
        ids = inputs["input_ids"]
        # Made here: transformers leaves the mask out where nothing is padded.
        new = torch.ones_like(ids)
        if number == 0:
            columns = torch.arange(ids.shape[1], device=ids.device)
            new = (columns >= ids.shape[1] - torch.tensor(lengths, device=ids.device)[:, None]).long()
        mask = torch.cat([mask.to(ids.device), new], 1)
        call(Step(tuple(index), number, ids, mask, inputs))
        number += 1

    handle = loaded.model.register_forward_pre_hook(hook, prepend=True, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _end_tokens(loaded: LoadedModel) -> set[int]:
    config = getattr(loaded.model, "generation_config", None)
    ends = getattr(config, "eos_token_id", None)
    if ends is None:
        ends = loaded.tokenizer.eos_token_id
    return set() if ends is None else {int(end) for end in (ends if isinstance(ends, list) else [ends])}


def _continue(
    loaded: LoadedModel, rows: Sequence[Sequence[int]], max_new_tokens: int, temperature: float
) -> list[list[int]]:
    width = max(len(row) for row in rows)
    pad = loaded.tokenizer.pad_token_id
    pad = 0 if pad is None else pad
    inputs = torch.tensor([[*[pad] * (width - len(row)), *row] for row in rows], device=loaded.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=loaded.device)
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {}
    with torch.inference_mode(), _own_defaults(loaded.model):
        out = loaded.model.generate(  # type: ignore[operator]
            inputs, attention_mask=mask, max_new_tokens=max_new_tokens, pad_token_id=pad, **sampling
        )
    return [row[width:].tolist() for row in out]


@contextmanager
def _own_defaults(model: Any) -> Iterator[None]:
    """Only the special tokens of the checkpoint's generation settings.

    Its sampling defaults (top-p, penalties, forbidden words, …) would make seeds and greedy answers mean something
    else, and what isn't given to ``generate`` is taken from there.
    """
    theirs = model.generation_config
    tokens = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    kept: dict[str, Any] = {name: getattr(theirs, name, None) for name in tokens}
    model.generation_config = GenerationConfig(**kept)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        model.generation_config = theirs
