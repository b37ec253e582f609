"""What the examples print: how held-out prompts are answered before and after. They import it from beside them."""

from collections.abc import Sequence
from pathlib import Path

from equipoise.dso import HookInterventions, get_layernorms
from equipoise.dso.data import BaseDatasetLoader
from equipoise.models import LoadedModel
from equipoise.scoring import score_options
from equipoise.tasks import Item


def held_out(loader: BaseDatasetLoader) -> list[Item]:
    """Prompts to which any answer is right, of what training never sees."""
    assert loader.task is not None
    return [item for item in loader.task.split(loader.seed).heldout if item.part == "ambiguous"]


def spread(items: Sequence[Item], count: int) -> Sequence[Item]:
    """So many from all over the set: neighbours differ in little."""
    return items[:: max(1, len(items) // count)][:count]


def said(item: Item) -> str:
    """The prompt, or a chat's last turn."""
    return item.prompt if isinstance(item.prompt, str) else item.prompt[-1]["content"]


def print_shares(loaded: LoadedModel, items: Sequence[Item], path: Path) -> None:
    """The share of each answer, given one of them, without and with the interventions in ``path``."""
    before = score_options(loaded, items).probabilities
    with HookInterventions(loaded, get_layernorms, path):
        after = score_options(loaded, items).probabilities
    for item, b, a in zip(
        items, before / before.sum(1, keepdims=True), after / after.sum(1, keepdims=True), strict=True
    ):
        print(f"\n{said(item)}")
        for option, outcome, old, new in zip(item.options, item.outcomes, b, a, strict=True):
            print(f"   {old:4.0%} -> {new:4.0%}  {option.strip()} ({outcome})")


def print_texts(items: Sequence[Item], before: Sequence[str], after: Sequence[str]) -> None:
    """What was written to each prompt, and how many texts differ."""
    for item, old, new in zip(items, before, after, strict=True):
        print(f"{said(item)}\n   before: {old.strip()}\n   after:  {new.strip()}\n")
    print(f"{sum(o != n for o, n in zip(before, after, strict=True))} of {len(items)} answers changed")
