"""Seeded generation in batches."""

from collections.abc import Sequence

import torch

from ..models import LoadedModel
from ..tasks import Prompt
from .encoding import prompt_ids


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
    """
    ids = [prompt_ids(loaded.tokenizer, prompt) for prompt in prompts]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    answers = [""] * len(ids)
    devices = [loaded.device] if loaded.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for start in range(0, len(order), batch_rows):
            index = order[start : start + batch_rows]
            for i, new in zip(
                index, _continue(loaded, [ids[i] for i in index], max_new_tokens, temperature), strict=True
            ):
                answers[i] = str(loaded.tokenizer.decode(new, skip_special_tokens=True))
    return answers


def _continue(
    loaded: LoadedModel, rows: Sequence[Sequence[int]], max_new_tokens: int, temperature: float
) -> list[list[int]]:
    width = max(len(row) for row in rows)
    pad = loaded.tokenizer.pad_token_id or 0
    inputs = torch.tensor([[*[pad] * (width - len(row)), *row] for row in rows], device=loaded.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=loaded.device)
    # A checkpoint's own sampling defaults (top-p, penalties) would make seeds and greedy answers mean something else.
    sampling = (
        {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        if temperature > 0
        else {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
    )
    with torch.inference_mode():
        out = loaded.model.generate(  # type: ignore[operator]
            inputs,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            pad_token_id=pad,
            repetition_penalty=1.0,
            num_beams=1,
            **sampling,
        )
    return [row[width:].tolist() for row in out]
