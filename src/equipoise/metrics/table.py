"""Columns of numbers, one row an item, with the clusters that the items belong to: what suites are computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .clusters import Draws, Floats, Names, Statistic, unit, weighted_mean
from .responses import freeze


@dataclass(frozen=True, eq=False, init=False)
class Table:
    """n items: ``columns`` [n] by name (NaN: does not count), ``groups`` and ``templates`` as in :class:`Responses`.

    Raises ``ValueError`` for lengths that do not fit.
    """

    columns: Mapping[str, Floats]
    groups: tuple[Names, ...]
    templates: Names

    def __init__(
        self,
        columns: Mapping[str, ArrayLike],
        groups: Sequence[Sequence[str]],
        templates: Sequence[str] = (),
    ) -> None:
        arrays = {name: np.array(values, dtype=float) for name, values in columns.items()}
        for name, values in arrays.items():
            if values.shape != (len(groups),):
                raise ValueError(f"column {name!r} has shape {values.shape}, expected [{len(groups)}]")
            values.setflags(write=False)
        if any(isinstance(names, str) for names in groups) or len(templates) not in (0, len(groups)):
            raise ValueError(
                "groups must hold a tuple of names for each item, and templates a name or nothing"
            )
        freeze(self, columns=arrays, groups=tuple(map(tuple, groups)), templates=tuple(templates))

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, column: str) -> Floats:
        return self.columns[column]

    def take(self, rows: ArrayLike) -> Table:
        """The items at ``rows`` (indices or a mask [n])."""
        index = np.arange(len(self))[np.asarray(rows)]
        return Table(
            {name: values[index] for name, values in self.columns.items()},
            [self.groups[i] for i in index],
            [self.templates[i] for i in index] if self.templates else (),
        )


def mean_of(column: str, *, name: str | None = None, share: bool = True) -> Statistic[Table]:
    """The mean of a column of numbers in [0, 1] over its items; ``share`` as in :class:`Statistic`."""

    def draws(table: Table, counts: Draws) -> Floats:
        return weighted_mean(table[column], counts.of_items(table))

    return Statistic(name or column, draws, unit, share=share)
