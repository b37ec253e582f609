"""The suite ``stereoset:PATH``: StereoSet (Nadeem et al., 2021), intra- and intersentence.

PATH is the set's ``dev.json`` (or a list of its examples). Each example has a stereotyping, an anti-stereotyping and an
unrelated sentence: within one sentence (*intra*, the context says BLANK) or following a context (*inter*). Sentences
are compared by log-likelihood a token, as the paper does for GPT-2 within sentences; between sentences the paper trains
a next-sentence head, here the likelihood given the context takes its place.
"""

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import read_text
from ..metrics import Table, preferred, stereoset_icat, stereoset_lms, stereoset_ss
from .item import Item
from .suite import ALL, ClosedSuite, Evidence, Reading, Readings, axis_of, by_axis

_REMEDY = "give StereoSet's own dev.json"
_OUTCOMES = {"stereotype": "pro", "anti-stereotype": "anti", "unrelated": "unrelated"}


class StereoSet(ClosedSuite):
    """The examples of a file; raises :class:`InputError` for a missing file or one of another form."""

    name = "stereoset"
    about = "StereoSet: is a stereotype, an anti-stereotype or something unrelated more probable?"

    def __init__(self, path: str | PathLike[str]) -> None:
        file = Path(path)
        try:
            content: Any = json.loads(read_text(file, "stereoset", _REMEDY))
            if isinstance(content, Mapping):
                data = content["data"]
                content = [row for kind in ("intrasentence", "intersentence") for row in data.get(kind, [])]
            if not content:
                raise ValueError("it has no examples")
            found = [_item(number, row) for number, row in enumerate(content)]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"stereoset: {file} has another form ({error!r}): {_REMEDY}") from None
        self._items = [item for item in found if item is not None]

    def items(self) -> Sequence[Item]:
        """One item an example whose sentences all differ; the clusters are target terms."""
        return self._items

    def stratum(self, item: Item) -> str:
        """Kind and axis."""
        return f"{item.metadata['kind']} {item.metadata['axis']}"

    def readings(self, items: Sequence[Item], evidence: Evidence) -> Readings:
        """``lms``, ``ss`` and ``icat``, each ``.intra`` and ``.inter``, of each axis and of all."""
        each = evidence.logp / np.maximum(evidence.tokens, 1)
        rows = np.arange(len(items))
        pro, anti, unrelated = (
            each[rows, [item.outcomes.index(outcome) for item in items]] for outcome in _OUTCOMES.values()
        )
        table = Table(
            {"lms": (preferred(pro, unrelated) + preferred(anti, unrelated)) / 2, "ss": preferred(pro, anti)},
            [item.groups for item in items],
        )
        kinds = np.array([item.metadata["kind"] for item in items])
        axes = np.array([item.metadata["axis"] for item in items])
        found: dict[str, Reading] = {}
        for kind in dict.fromkeys(kinds):
            for suffix, axis in by_axis(axes[kinds == kind]):
                own = table.take((kinds == kind) & (True if axis == ALL else axes == axis))
                found |= {
                    f"lms.{kind}{suffix}": Reading(stereoset_lms, own, axis),
                    f"ss.{kind}{suffix}": Reading(stereoset_ss, own, axis, 0.5),
                    f"icat.{kind}{suffix}": Reading(stereoset_icat, own, axis),
                }
        return found


def _item(number: int, row: Mapping[str, Any]) -> Item | None:
    by_label = {str(one["gold_label"]): str(one["sentence"]).strip() for one in row["sentences"]}
    if set(by_label) != set(_OUTCOMES):
        raise ValueError(f"example {number} needs the labels {list(_OUTCOMES)}, has {sorted(by_label)}")
    if len(set(by_label.values())) < len(by_label):
        return None
    context = str(row["context"]).strip()
    within = "BLANK" in context
    labels = list(_OUTCOMES)
    labels = labels[number % 3 :] + labels[: number % 3]
    sentences = [by_label[label] for label in labels]
    return Item(
        id=f"{number}",
        prompt="" if within else context,
        options=tuple(sentences if within else (f" {sentence}" for sentence in sentences)),
        outcomes=tuple(_OUTCOMES[label] for label in labels),
        part="ambiguous",
        answer=None,
        groups=(str(row["target"]).strip().lower(),),
        template=f"{number}",
        terminator="\n",
        metadata={"axis": axis_of(str(row["bias_type"])), "kind": "intra" if within else "inter"},
    )
