"""A task as contrasting statements: each ambiguous prompt with an answer against, and one for the stereotype."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..analysis import activations, prompt_activations, typical_norms
from ..models import LoadedModel
from ..scoring import EncodedItem, encode_all
from ..tasks import Item

# What a batch's captured activations may take: fp32 values, a quarter of a gigabyte.
_VALUES = 1 << 26

Ids = tuple[int, ...]
Row = Ids | EncodedItem
"""A text's tokens, or with images what stands for the model's inputs."""


@dataclass(frozen=True, eq=False)
class Contrast:
    """Pairs of statements as tokens: the same prompt, then an anti-stereotypical, or a pro-stereotypical answer.

    A statement ends with its answer's last token, where it is read.
    """

    anti: tuple[Row, ...]
    pro: tuple[Row, ...]

    @classmethod
    def of(cls, loaded: LoadedModel, items: Sequence[Item]) -> Contrast:
        """The pairs of items whose outcomes are pro and anti.

        Where several options share an outcome they take turns, so that every option is in a pair.
        """
        anti: list[Row] = []
        pro: list[Row] = []
        for item, encoded in zip(items, encode_all(loaded, items), strict=True):
            rows: dict[str, list[Row]] = {"anti": [], "pro": []}
            for number, outcome in enumerate(item.outcomes):
                rows[outcome].append(as_row(encoded.said(number)))
            count = max(map(len, rows.values()))
            anti += itertools.islice(itertools.cycle(rows["anti"]), count)
            pro += itertools.islice(itertools.cycle(rows["pro"]), count)
        return cls(tuple(anti), tuple(pro))

    @property
    def rows(self) -> list[Row]:
        """All statements: those against the stereotype, then those for it."""
        return [*self.anti, *self.pro]

    def norms(self, loaded: LoadedModel, sites: Iterable[str]) -> dict[str, float]:
        """The median norm of each site's activation over all but the first tokens of every fourth statement."""
        names = list(dict.fromkeys(sites))
        return typical_norms(loaded, self.rows[::4], names, max_tokens=batch_tokens(loaded, names))

    def read(self, loaded: LoadedModel, sites: Iterable[str]) -> dict[str, tuple[Tensor, Tensor]]:
        """At each site the activations at the answers' last tokens, [n, d], of the anti and of the pro statements."""
        found = read_rows(loaded, self.rows, sites)
        return {site: (both[: len(self.anti)], both[len(self.anti) :]) for site, both in found.items()}


def as_row(encoded: EncodedItem) -> Row:
    """A prompt as a row: its tokens alone where it has no images."""
    return encoded.prompt if encoded.sight is None else encoded


def read_rows(loaded: LoadedModel, rows: Sequence[Row], sites: Iterable[str]) -> dict[str, Tensor]:
    """Activations at the last tokens, in batches that bound the memory of many sites, [n, d] in order for each site."""
    names = list(dict.fromkeys(sites))
    most = batch_tokens(loaded, names)
    texts = [place for place, row in enumerate(rows) if not isinstance(row, EncodedItem)]
    shown = [place for place, row in enumerate(rows) if isinstance(row, EncodedItem)]
    if not shown:
        return activations(
            loaded, [ids for ids in rows if not isinstance(ids, EncodedItem)], names, max_tokens=most
        )
    found = {name: torch.zeros(len(rows), loaded.anatomy.site(name).width) for name in names}
    parts = [
        (
            shown,
            prompt_activations(
                loaded, [r for r in rows if isinstance(r, EncodedItem)], names, max_tokens=most
            ),
        )
    ]
    if texts:
        ids = [row for row in rows if not isinstance(row, EncodedItem)]
        parts.append((texts, activations(loaded, ids, names, max_tokens=most)))
    for places, states in parts:
        for name in names:
            found[name][places] = states[name]
    return found


def batch_tokens(loaded: LoadedModel, sites: Sequence[str]) -> int:
    """How many tokens of a batch may be captured at all these sites at once."""
    width = sum(loaded.anatomy.site(name).width for name in sites)
    return max(128, min(4096, _VALUES // max(1, width)))
