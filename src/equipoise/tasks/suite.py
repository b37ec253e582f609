"""Public suites: benchmarks that are measured whole, never fitted on, and have metrics of their own.

A :class:`~equipoise.tasks.Task` has occupations and templates that are held out and one figure, per-occupation bias. A
suite has neither: it says what is asked (closed answers, running text or free text) and turns what the model gave into
:class:`Reading` values, each a statistic and the sample that it is computed on.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..metrics import Sample, Statistic
from .item import Item
from .prompts import FreeTextItem

AXES = {
    "gender_identity": "gender",
    "race_color": "race",
    "race_ethnicity": "race",
    "disability_status": "disability",
    "ses": "socioeconomic",
    "religious_ideology": "religion",
}
"""Sets' names for the axes of bias -> ours; other names stay."""


ALL = "all"
"""Stands for several axes together."""


def axis_of(name: str) -> str:
    """Our name of an axis: ``race-color`` and ``Race_ethnicity`` are both ``race``."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    return AXES.get(plain, plain)


def axes_in(name: str) -> tuple[str, ...]:
    """The axes that one crosses: of ``Race_x_gender`` and of ``gender and race``, both; of another, itself."""
    plain = axis_of(name).replace("_x_", "_and_")
    return tuple(axis_of(part) for part in plain.split("_and_"))


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a model gave for n items with up to K options.

    ``logp`` [n, K]: nats of each option given the prompt, −inf where there is none. ``tokens`` [n, K]: how many tokens
    each option has. ``begins`` [n]: whether the single most probable next token begins one of the options.
    """

    logp: NDArray[np.float64]
    tokens: NDArray[np.int64]
    begins: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Reading:
    """One number of a suite: ``statistic`` of ``sample``.

    ``axis`` is the axis of bias that it is about (:data:`ALL`: several; None: capability).
    ``ideal`` is the value of an unbiased model; None where more, or less, is simply better.
    """

    statistic: Statistic[Any]
    sample: Sample
    axis: str | None = None
    ideal: float | None = None


Readings = Mapping[str, Reading]


class Suite(ABC):
    """What all suites have: a ``name``, and ``about``, which tells a reader in a sentence what is asked."""

    name: str
    about: str = ""


class ClosedSuite(Suite):
    """Subclass with :meth:`items` and :meth:`readings`."""

    @abstractmethod
    def items(self) -> Sequence[Item]:
        """Every item, always the same in the same order. Items of the same groups, in whatever order, and one template
        are counterbalanced: they are drawn together. Groups are the clusters that intervals resample."""

    @abstractmethod
    def readings(self, items: Sequence[Item], evidence: Evidence) -> Readings:
        """Metrics by name, from what the model gave for ``items``."""

    def stratum(self, item: Item) -> str:
        """What a limit counts separately; by default there is one stratum."""
        return ""

    def draw(self, limit: int | None, seed: int) -> list[Item]:
        """At most ``limit`` items of each stratum, of as many clusters as possible, in their order; None takes all."""
        items = self.items()
        if limit is None:
            return list(items)
        strata: dict[str, list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            strata[self.stratum(item)].append(index)
        kept: list[int] = []
        for name, rows in strata.items():
            keys = [(" + ".join(sorted(set(items[i].groups))), items[i].template) for i in rows]
            chosen = take_turns(keys, limit, f"{seed}/{name}")
            if not chosen:
                raise InputError(
                    f"task {self.name!r}: a limit of {limit} leaves nothing of {name or 'it'}: raise --limit"
                )
            kept += [rows[place] for place in chosen]
        return [items[index] for index in sorted(kept)]


@dataclass(frozen=True)
class Document:
    """Running text and the number of words that its log-likelihood is divided by."""

    id: str
    text: str
    words: int


class TextSuite(Suite):
    """Subclass with :meth:`documents` and :meth:`text_readings`; the model reads them whole."""

    @abstractmethod
    def documents(self) -> Sequence[Document]:
        """Every document, the clusters of intervals."""

    @abstractmethod
    def text_readings(self, documents: Sequence[Document], nll: NDArray[np.float64]) -> Readings:
        """Metrics from the negative log-likelihood [n] of each document, nats."""

    def draw(self, limit: int | None, seed: int) -> list[Document]:
        """At most ``limit`` documents, in their order."""
        return _some(self.documents(), limit, seed)


class FreeSuite(Suite):
    """Subclass with :meth:`prompts` and :meth:`completion_readings`; the model writes on, greedily."""

    new_tokens: int = 24

    @abstractmethod
    def prompts(self) -> Sequence[FreeTextItem]:
        """Every prompt; its group is the cluster of intervals."""

    @abstractmethod
    def completion_readings(self, prompts: Sequence[FreeTextItem], completions: Sequence[str]) -> Readings:
        """Metrics of what was written."""

    def stratum(self, prompt: FreeTextItem) -> str:
        """As for :class:`ClosedSuite`."""
        return ""

    def draw(self, limit: int | None, seed: int) -> list[FreeTextItem]:
        """At most ``limit`` prompts of each stratum."""
        prompts = self.prompts()
        if limit is None:
            return list(prompts)
        strata: dict[str, list[int]] = defaultdict(list)
        for index, prompt in enumerate(prompts):
            strata[self.stratum(prompt)].append(index)
        kept = [
            rows[place]
            for name, rows in strata.items()
            for place in take_turns(
                [(prompts[i].group, prompts[i].id) for i in rows], limit, f"{seed}/{name}"
            )
        ]
        return [prompts[index] for index in sorted(kept)]


def take_turns(keys: Sequence[tuple[str, str]], limit: int, seed: str) -> list[int]:
    """Indices of at most ``limit`` of the entries (cluster, block): clusters give a whole block each in turn."""
    blocks: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, (cluster, block) in enumerate(keys):
        blocks[cluster][block].append(index)
    generator = random.Random(seed)
    order = sorted(blocks)
    generator.shuffle(order)
    waiting = {}
    for cluster in order:
        names = sorted(blocks[cluster])
        generator.shuffle(names)
        waiting[cluster] = [blocks[cluster][name] for name in names]
    taken: list[int] = []
    while any(waiting.values()):
        for cluster in order:
            if waiting[cluster]:
                rows = waiting[cluster].pop()
                if len(taken) + len(rows) > limit:
                    return sorted(taken)
                taken += rows
    return sorted(taken)


T = TypeVar("T")


def _some(given: Sequence[T], limit: int | None, seed: int) -> list[T]:
    if limit is None or limit >= len(given):
        return list(given)
    return [given[i] for i in sorted(random.Random(seed).sample(range(len(given)), limit))]


def by_axis(axes: Iterable[str]) -> list[tuple[str, str]]:
    """Suffixes of metrics and the axes that they stand for: each axis, and :data:`ALL` of them if there are several."""
    found = [str(axis) for axis in dict.fromkeys(axes)]
    each = [(f".{axis}", axis) for axis in found]
    return each if len(found) == 1 else [("", ALL), *each]
