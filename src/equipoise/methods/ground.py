"""What every steering method begins with: a split, pairs, passages, and validation against the unsteered model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..interventions import AffineEdit, Intervention, Provenance, Scope, refuse_steered
from ..models import LoadedModel
from ..scoring import encode_passages
from ..tasks import Item, Task, fingerprint, plain_text
from ..versions import versions
from .batches import balanced
from .evaluation import in_evaluation
from .orientation import oriented
from .progress import Progress, Report
from .selection import Budget, Candidate, Chosen, Dial, select
from .validation import Validation

# What a search looks at, and what decides in the end how strong the result may be.
_SEARCH = {"ambiguous": 86, "unambiguous": 32}
_FINAL = {"ambiguous": 172, "unambiguous": 64}
_SEARCH_TOKENS = 384
_FINAL_TOKENS = 768
_LENGTHS = (64, 32, 16, 8, 4)


@dataclass(frozen=True, eq=False)
class Ground:
    """What a method may look at.

    Attributes:
        train, held: ambiguous items of the training, and of the validation set, their outcomes pro and anti
            (:mod:`equipoise.methods.orientation`).
        asked: ``train`` with the task's own outcomes.
        background: [m, T] passages of plain text that no validation looks at.
        search: makes a small validation, for comparing many candidates.
        final: makes a larger one, for what is kept.
        data: the fingerprint of the items.
    """

    method: str
    loaded: LoadedModel
    task: Task
    seed: int
    train: tuple[Item, ...]
    held: tuple[Item, ...]
    asked: tuple[Item, ...]
    background: Tensor
    search: Callable[[], Validation]
    final: Callable[[], Validation]
    data: str
    report: Report

    def pairs(self, number: int) -> list[Item]:
        """About ``number`` ambiguous training items, every group as often as the others.

        What is counterbalanced (order, pronoun) comes whole, and see :func:`even`.
        """
        return even([self.train[i] for i in balanced(self.train, number, self.seed, 0, whole=True)])

    def held_pairs(self, number: int) -> list[Item]:
        """Likewise of the validation set."""
        return even([self.held[i] for i in balanced(self.held, number, self.seed, 0, whole=True)])

    def tell(self, share: float, message: str) -> None:
        """Report progress."""
        self.report(Progress(round(100 * share), 100, message))

    def choose(self, lines: Sequence[Sequence[Candidate]], budget: Budget, dial: Dial) -> Chosen:
        """The best candidate within the budget; see :func:`equipoise.methods.selection.select`."""
        return select(
            self.search,
            self.final,
            lines,
            budget=budget,
            dial=dial,
            say=self.tell,
        )

    def intervention(self, edits: Mapping[str, AffineEdit], scope: Scope) -> Intervention:
        """An intervention on its way, without the figures that only the end knows."""
        return Intervention(edits, scope, Provenance(self.method, model=self.loaded.fingerprint))

    def finished(self, chosen: Chosen, settings: Any, **more: Any) -> Intervention:
        """The choice, with its settings, its figures, whatever else is worth recording, and its origin."""
        return Intervention(
            chosen.intervention.edits,
            chosen.intervention.scope,
            Provenance(
                method=self.method,
                config={"settings": asdict(settings), **more, "task": self.task.name, **chosen.record()},
                model=self.loaded.fingerprint,
                data=self.data,
                versions=versions(),
                seed=self.seed,
            ),
        )


@contextmanager
def ground(
    method: str,
    loaded: LoadedModel,
    task: Task,
    *,
    seed: int,
    text: Sequence[str] | None,
    progress: Report | None,
) -> Iterator[Ground]:
    """Everything a method looks at, while the model is in evaluation mode.

    Training and validation items come from ``task.split(seed)``; the held-out part is not touched.

    Raises InputError, naming the task, if the model is steered, or a set lacks ambiguous items.
    """
    refuse_steered(loaded)
    split = task.split(seed)
    sets = {"training": split.train, "validation": split.validation}
    ambiguous = {}
    for name, items in sets.items():
        ambiguous[name] = tuple(item for item in items if item.part == "ambiguous")
        if not ambiguous[name]:
            raise InputError(
                f"task {task.name!r}: there is no ambiguous {name} item, and only these show a bias"
            )
    passages = _passages(loaded, plain_text("fit") if text is None else text, seed)
    held = max(1, min(len(passages) // 2, _FINAL_TOKENS // passages.shape[1]))

    def validation(sizes: Mapping[str, int], tokens: int) -> Validation:
        shown = some_of_each(split.validation, sizes, seed)
        count = max(1, min(held, tokens // passages.shape[1]))
        return Validation(loaded, shown, task.outcomes, passages[:count], task.target)

    with in_evaluation(loaded.model):
        report = progress or (lambda _: None)
        report(Progress(0, 100, "reading activations"))
        train, others = (
            tuple(oriented(loaded, task, ambiguous[name], seed)) for name in ("training", "validation")
        )
        yield Ground(
            method=method,
            loaded=loaded,
            task=task,
            seed=seed,
            train=train,
            held=others,
            asked=ambiguous["training"],
            background=passages[held:] if len(passages) > held else passages,
            search=lambda: validation(_SEARCH, _SEARCH_TOKENS),
            final=lambda: validation(_FINAL, _FINAL_TOKENS),
            data=fingerprint([*split.train, *split.validation]),
            report=report,
        )


def some_of_each(items: Sequence[Item], sizes: Mapping[str, int], seed: int) -> list[Item]:
    """About so many items of each part, every group as often as the others, what is counterbalanced whole."""
    parts = {name: [item for item in items if item.part == name] for name in sizes}
    return [
        parts[name][i]
        for name, number in sizes.items()
        if parts[name]
        for i in balanced(parts[name], number, seed, 0, whole=name == "ambiguous")
    ]


def even(items: Sequence[Item]) -> list[Item]:
    """The items, without the last of those whose favoured option the others outnumber.

    Only where all share their options, of which one is favoured. One more " he" than " she" among the answers against
    the stereotype, and the difference of means points from one word to the other: words differ more than what they say
    about a stereotype.
    """
    if len({frozenset(item.options) for item in items}) > 1 or any(
        i.outcomes.count("pro") != 1 for i in items
    ):
        return list(items)
    favoured: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        favoured.setdefault(item.options[item.outcomes.index("pro")], []).append(index)
    least = min(map(len, favoured.values()))
    kept = sorted(index for of_one in favoured.values() for index in of_one[:least])
    return [items[index] for index in kept]


def _passages(loaded: LoadedModel, text: Sequence[str], seed: int) -> Tensor:
    """Passages in an order that the seed decides, as long as the text allows."""
    for length in _LENGTHS:
        try:
            found = encode_passages(loaded, text, length=length, all_windows=True)
        except InputError:
            if length == _LENGTHS[-1]:
                raise
            continue
        if len(found) > 1 or length == _LENGTHS[-1]:
            break
    return found[torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))]
