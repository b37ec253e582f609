"""Items for tiny models, and a scorer that shares nothing with the package's: one full forward pass an option."""

import functools
import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from tiny import tiny
from torch import Tensor

from equipoise.models import LoadedModel
from equipoise.scoring import EncodedItem
from equipoise.tasks import Item

SINGLE = (" he", " she", " they")
PREFIX = (
    "Once upon a time there was a developer who argued with the designer; they did not like the idea of her plan. "
    "The doctor told the cleaner that he was late because she left. My aunt is the mechanic. My uncle is the nurse. "
)
PROMPTS = (
    "The mechanic said that",
    "The nurse said that",
    "The teacher told the doctor that",
    "My aunt is the mechanic. The mechanic said that",
    "Once upon a time there was a designer because",
    "The cleaner argued that",
)


@functools.cache
def model(name: str, double: bool = False) -> LoadedModel:
    """One tiny model of each architecture for the whole session: nothing may change it."""
    loaded = tiny(name)
    if double:
        loaded.model.double()
    return loaded


def item(prompt: Any, options: Sequence[str], number: int = 0, **more: Any) -> Item:
    values: dict[str, Any] = {
        "outcomes": tuple(f"outcome{k}" for k in range(len(options))),
        "part": "ambiguous",
        "answer": None,
        "groups": ("somebody",),
        "template": "wording",
    }
    return Item(id=f"item {number}", prompt=prompt, options=tuple(options), **{**values, **more})


def single_token_items(prefix: str = "", repeats: int = 1) -> list[Item]:
    """Two or three options of one token each, after prompts of different lengths."""
    options = itertools.cycle((SINGLE, SINGLE[:2]))
    prompts = [prefix + prompt for prompt in PROMPTS] * repeats
    return [item(p, o, n) for n, (p, o) in enumerate(zip(prompts, options, strict=False))]


def many_token_items(prefix: str = "") -> list[Item]:
    """Options of one to many tokens, in one item too; some prompts have the same length."""
    sets = (
        (" the mechanic", " the nurse and the doctor"),
        (" she", " the teacher", " nobody else"),
        (" he was busy", " they"),
    )
    pairs = itertools.product(PROMPTS, sets)
    return [item(prefix + prompt, options, n) for n, (prompt, options) in enumerate(pairs)]


@torch.no_grad()
def naive(
    loaded: LoadedModel, items: Sequence[EncodedItem], steering: AbstractContextManager[Any] | None = None
) -> list[list[float]]:
    """log P(option | prompt) for each option by itself: no batch, no padding, no cache."""
    with steering or nullcontext():
        return [[float(one(loaded, i.prompt, option)) for option in i.options] for i in items]


def one(loaded: LoadedModel, prompt: Sequence[int], option: Sequence[int]) -> Tensor:
    """log P(option | prompt), with gradients if they are on."""
    logits = loaded.model(input_ids=torch.tensor([[*prompt, *option]]), use_cache=False).logits[0]
    logp = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    where = torch.arange(len(prompt) - 1, len(prompt) + len(option) - 1)
    return logp[where, torch.tensor(option)].sum()


def assert_scores(found: np.ndarray, expected: Sequence[Sequence[float]], atol: float = 2e-4) -> None:
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(row[: len(wanted)], wanted, rtol=1e-5, atol=atol)
        assert np.all(row[len(wanted) :] == -np.inf)
