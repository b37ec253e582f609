"""What a model answered: the inputs of every bias and accuracy metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .clusters import Floats, Names

UNANSWERED = -1
# Probabilities come out of a float32 softmax, whose sum can pass 1 by rounding.
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False, init=False)
class Responses:
    """Answers to n items with K outcomes.

    ``probabilities`` [n, K] are absolute: a row sums to at most 1, and what is missing went to none of the options.
    ``greedy`` [n] is the index of the outcome that greedy decoding gives, or -1 if it gives none of them.
    ``outcomes`` are the K names, ``groups`` the tuple of groups (occupations) of each item, ``templates`` the template
    of each item. ``targets`` [n, K] are the shares that are fair for each item, None for equal ones. Raises
    ``ValueError`` for shapes that do not fit or numbers that are no probabilities.
    """

    probabilities: Floats
    outcomes: Names
    greedy: NDArray[np.intp]
    groups: tuple[Names, ...]
    templates: Names
    targets: Floats | None

    def __init__(
        self,
        probabilities: ArrayLike,
        outcomes: Sequence[str],
        greedy: ArrayLike,
        groups: Sequence[Sequence[str]],
        templates: Sequence[str],
        targets: ArrayLike | None = None,
    ) -> None:
        table = np.array(probabilities, dtype=float)
        if table.ndim != 2 or table.shape[1] != len(outcomes):
            raise ValueError(f"probabilities have shape {table.shape}, expected [n, {len(outcomes)}]")
        if not np.isfinite(table).all() or (table < 0).any() or (table.sum(axis=1) > 1 + _ROUNDING).any():
            raise ValueError("probabilities must be finite, at least 0, and sum to at most 1 in each row")
        decisions = np.array(greedy, dtype=np.intp)
        if (
            decisions.shape != (len(table),)
            or ((decisions < UNANSWERED) | (decisions >= len(outcomes))).any()
        ):
            raise ValueError(f"greedy must hold {len(table)} indices of outcomes (or -1)")
        fair = None if targets is None else np.array(targets, dtype=float)
        if fair is not None and (
            fair.shape != table.shape or (fair < 0).any() or not np.allclose(fair.sum(axis=1), 1)
        ):
            raise ValueError(f"targets must hold shares {list(table.shape)} of which each row sums to 1")
        freeze(
            self,
            targets=fair,
            probabilities=table,
            outcomes=tuple(outcomes),
            greedy=decisions,
            **_clusters(len(table), groups, templates),
        )

    def __len__(self) -> int:
        return len(self.probabilities)

    @property
    def mass(self) -> Floats:
        """Probability [n] that an item gets any of its answers, in [0, 1]."""
        return np.asarray(np.minimum(self.probabilities.sum(axis=1), 1.0))

    @property
    def given_answer(self) -> Floats:
        """Probabilities [n, K] given that there is an answer; NaN where there is no mass at all."""
        total = self.probabilities.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            return np.where(total > 0, self.probabilities / total, np.nan)

    @property
    def decisions(self) -> Floats:
        """The greedy decisions [n, K] as ones and zeros; NaN where none of the answers was given."""
        chosen = np.eye(len(self.outcomes))[self.greedy]
        return np.where(self.greedy[:, None] == UNANSWERED, np.nan, chosen)

    def take(self, rows: ArrayLike) -> Responses:
        """The items at ``rows`` (indices or a mask [n])."""
        index = np.arange(len(self))[np.asarray(rows)]
        return Responses(
            self.probabilities[index],
            self.outcomes,
            self.greedy[index],
            [self.groups[i] for i in index],
            [self.templates[i] for i in index],
            None if self.targets is None else self.targets[index],
        )


@dataclass(frozen=True, eq=False, init=False)
class Judgements:
    """Right and wrong on n items that have one right answer.

    ``correct`` [n] is 1 or 0 (or a probability of the right answer); silence is no right answer, so score it 0; NaN
    leaves an item out. ``templates`` is empty where items have none. ``baselines`` name what needs no understanding
    ("majority option", "always the later one") and say [n] where that is right.
    """

    correct: Floats
    groups: tuple[Names, ...]
    templates: Names
    baselines: Mapping[str, Floats] = field(default_factory=dict)

    def __init__(
        self,
        correct: ArrayLike,
        groups: Sequence[Sequence[str]],
        templates: Sequence[str],
        baselines: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        right = np.array(correct, dtype=float)
        rivals = {name: np.array(values, dtype=float) for name, values in (baselines or {}).items()}
        for name, values in {"correct": right, **rivals}.items():
            if values.shape != (right.size,) or (values < 0).any() or (values > 1).any():
                raise ValueError(f"{name!r} must hold {right.size} numbers between 0 and 1, one an item")
        freeze(self, correct=right, baselines=rivals, **_clusters(len(right), groups, templates))

    def __len__(self) -> int:
        return len(self.correct)

    def baseline(self, name: str) -> Judgements:
        """The same items as the trivial baseline ``name`` answers them."""
        return Judgements(self.baselines[name], self.groups, self.templates)


def _clusters(count: int, groups: Sequence[Sequence[str]], templates: Sequence[str]) -> dict[str, Any]:
    if any(isinstance(names, str) for names in groups):
        raise ValueError("groups must hold a tuple of names for each item, not a name")
    if len(groups) != count or len(templates) not in (0, count):
        raise ValueError(
            f"{count} items need as many groups ({len(groups)}) and templates ({len(templates)})"
        )
    return {"groups": tuple(tuple(names) for names in groups), "templates": tuple(templates)}


def freeze(instance: object, **values: Any) -> None:
    """Fill a frozen dataclass, its arrays made read-only."""
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
        object.__setattr__(instance, name, value)
