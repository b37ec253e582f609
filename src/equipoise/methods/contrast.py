"""A task as contrasting statements: each ambiguous prompt with an answer against, and one for the stereotype."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..analysis import activations, typical_norms
from ..errors import InputError
from ..models import LoadedModel
from ..scoring import EncodedItem, encode_all
from ..tasks import Item

# What a batch's captured activations may take: fp32 values, a quarter of a gigabyte.
_VALUES = 1 << 26

Ids = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Contrast:
    """Pairs of statements as tokens: the same prompt, then an anti-stereotypical, or a pro-stereotypical answer.

    A statement ends with its answer's last token, where it is read.
    """

    anti: tuple[Ids, ...]
    pro: tuple[Ids, ...]

    @classmethod
    def of(cls, loaded: LoadedModel, items: Sequence[Item]) -> Contrast:
        """The pairs of items whose outcomes are pro and anti.

        Where several options share an outcome they take turns, so that every option is in a pair.
        """
        anti: list[Ids] = []
        pro: list[Ids] = []
        for item, encoded in zip(items, encode_read(loaded, items), strict=True):
            rows: dict[str, list[Ids]] = {"anti": [], "pro": []}
            for outcome, option in zip(item.outcomes, encoded.options, strict=True):
                rows[outcome].append(encoded.prompt + option)
            count = max(map(len, rows.values()))
            anti += itertools.islice(itertools.cycle(rows["anti"]), count)
            pro += itertools.islice(itertools.cycle(rows["pro"]), count)
        return cls(tuple(anti), tuple(pro))

    @property
    def rows(self) -> list[Ids]:
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


def encode_read(loaded: LoadedModel, items: Sequence[Item]) -> list[EncodedItem]:
    """The items as tokens whose activations are read. Raises :class:`InputError` for one with images."""
    # Read as token ids alone, a prompt would stand there without what its images add.
    for item in items:
        if item.images:
            raise InputError(
                f"item {item.id!r} has images and this method reads activations of text alone: "
                "fit with method dso, or take items without images"
            )
    return encode_all(loaded, items)


def read_rows(loaded: LoadedModel, rows: Sequence[Ids], sites: Iterable[str]) -> dict[str, Tensor]:
    """:func:`equipoise.analysis.activations` of the last tokens, in batches that bound the memory of many sites."""
    names = list(dict.fromkeys(sites))
    return activations(loaded, rows, names, max_tokens=batch_tokens(loaded, names))


def batch_tokens(loaded: LoadedModel, sites: Sequence[str]) -> int:
    """How many tokens of a batch may be captured at all these sites at once."""
    width = sum(loaded.anatomy.site(name).width for name in sites)
    return max(128, min(4096, _VALUES // max(1, width)))
