"""Tiny models that were trained to answer by stereotype at a known rate."""

import functools
from collections.abc import Sequence
from pathlib import Path

import torch
from methods.samples import TinyTask
from tiny import tiny

from equipoise.models import LoadedModel
from equipoise.scoring import answer_batches, batch_logprobs, encode_all
from equipoise.tasks import Choices, Item

RATE = 0.8
"""P(the stereotypical answer) that ambiguous prompts are trained to; the per-occupation bias is 2 · RATE − 1."""

STEPS = 160
ROWS = 88


def target(item: Item) -> list[float]:
    """The probability of each option that training asks for."""
    if item.answer is not None:
        return [float(index == item.answer) for index in range(len(item.options))]
    return [RATE if outcome == "pro" else 1 - RATE for outcome in item.outcomes]


@functools.cache
def planted_model(seed: int = 0) -> LoadedModel:
    """A tiny Llama after some seconds of training on every item of :class:`TinyTask`: nothing may change it."""
    items = list(TinyTask().items())
    return trained(items, [target(item) for item in items], seed)


LEANS = (
    {"fair": 0.25, "man": 0.65, "woman": 0.10},
    {"fair": 0.25, "man": 0.10, "woman": 0.65},
    {"fair": 0.80, "man": 0.10, "woman": 0.10},
)
"""The shares of the classes that a concept of ``choices`` is trained to, every third concept of a set the same."""


def planted_choices(source: str) -> Choices:
    """Multiple-choice questions about ten invented occupations: ``first`` and ``second`` share none."""
    return Choices(source, prompts=Path(__file__).with_name("planted_choices.toml"), shuffle=True)


@functools.cache
def chooser(seed: int = 0) -> LoadedModel:
    """A tiny Llama that was trained on both sets of :func:`planted_choices`: nothing may change it."""
    items, shares = [], []
    for task in (planted_choices("first"), planted_choices("second")):
        for item in task.items():
            lean = LEANS[task.concepts.index(item.groups[0]) % len(LEANS)]
            items.append(item)
            shares.append([lean[outcome] / item.outcomes.count(outcome) for outcome in item.outcomes])
    return trained(items, shares, seed, steps=110)


def trained(
    items: Sequence[Item], shares: Sequence[Sequence[float]], seed: int = 0, steps: int = STEPS
) -> LoadedModel:
    """A tiny Llama after some seconds of training to give each option of each item its share."""
    loaded = tiny("Llama", seed)
    encoded = encode_all(loaded.tokenizer, items)
    wanted = torch.tensor(shares)
    optimiser = torch.optim.Adam(loaded.model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    draw = torch.Generator().manual_seed(seed)
    order: Sequence[int] = []
    for _ in range(steps):
        if len(order) < ROWS:
            order = torch.randperm(len(items), generator=draw).tolist()
        rows, order = order[:ROWS], order[ROWS:]
        loss = torch.zeros(())
        for batch in answer_batches([encoded[row] for row in rows], max_rows=ROWS, max_tokens=100_000):
            logp, _ = batch_logprobs(loaded, batch)
            loss = loss - (wanted[[rows[i] for i in batch.index.tolist()]] * logp).sum() / len(rows)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    loaded.model.eval()
    for parameter in loaded.model.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None
    return loaded
