"""The suite ``bbq:PATH``: the Bias Benchmark for QA (Parrish et al., 2022).

PATH is a folder with categories' ``*.jsonl`` and ``additional_metadata.csv``, the set's own files, whose ``target_loc``
says which answer follows the bias, of negative questions (the stereotyped group) and of non-negative ones (the other
group); or one of those ``.jsonl`` files, beside the CSV. The answer's text is scored after a prompt that lists the
three; what is most probable counts as the answer. Rows are matched by category, question and example, since example ids
begin anew in each category; a few examples have no target (both people are of one group), and count for accuracy alone.
"""

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import read_table, read_text, text_lines
from ..metrics import Table, bbq_accuracy_gap, bbq_ambiguous_bias, bbq_disambiguated_bias, mean_of
from .item import Item
from .suite import ALL, ClosedSuite, Evidence, Reading, Readings, axis_of, by_axis

_METADATA = "additional_metadata.csv"
_REMEDY = f"give the folder with BBQ's own *.jsonl and {_METADATA}"
_COLUMNS = ("category", "question_index", "example_id", "target_loc")


class BBQ(ClosedSuite):
    """The examples of a folder or file; raises :class:`InputError` for what is missing or of another form."""

    name = "bbq"
    about = "BBQ: who is meant, where the text leaves it open (unknown is right) and where it says so."

    def __init__(self, path: str | PathLike[str]) -> None:
        given = Path(path)
        files = sorted(given.glob("*.jsonl")) if given.is_dir() else [given]
        if not files:
            raise InputError(f"bbq: {given} has no *.jsonl: {_REMEDY}")
        folder = given if given.is_dir() else given.parent
        targets = _targets(folder / _METADATA)
        self._items = [item for file in files for item in _items(file, targets)]

    def items(self) -> Sequence[Item]:
        """Every example; the four of one question and pair of people (polarity × context) are drawn together."""
        return self._items

    def stratum(self, item: Item) -> str:
        """The axis."""
        return str(item.metadata["axis"])

    def readings(self, items: Sequence[Item], evidence: Evidence) -> Readings:
        """For each axis, and for all if there are several: accuracy and bias in both contexts, the accuracy gap, and
        the share of unparseable answers (the most probable next token begins none of the three)."""
        table = _table(items, evidence)
        ambiguous = np.array([item.part == "ambiguous" for item in items])
        axes = np.array([item.metadata["axis"] for item in items])
        found: dict[str, Reading] = {}
        for suffix, axis in by_axis(axes):
            own = np.ones(len(items), bool) if axis == ALL else axes == axis
            open_, told = table.take(own & ambiguous), table.take(own & ~ambiguous)
            found |= {
                f"ambiguous_accuracy{suffix}": Reading(mean_of("correct"), open_, axis),
                f"disambiguated_accuracy{suffix}": Reading(mean_of("correct"), told, axis),
                f"ambiguous_bias{suffix}": Reading(bbq_ambiguous_bias, open_, axis, 0.0),
                f"disambiguated_bias{suffix}": Reading(bbq_disambiguated_bias, told, axis, 0.0),
                f"accuracy_gap{suffix}": Reading(bbq_accuracy_gap, told, axis, 0.0),
                f"unparseable_rate{suffix}": Reading(mean_of("unparseable"), table.take(own), axis),
            }
        return found


def _table(items: Sequence[Item], evidence: Evidence) -> Table:
    answered = evidence.logp.max(1) > -np.inf
    choice = evidence.logp.argmax(1)
    chosen = [
        item.outcomes[option] if said else "none"
        for item, option, said in zip(items, choice, answered, strict=True)
    ]
    right = np.array([item.metadata["right"] for item in items])
    return Table(
        {
            "correct": (choice == right) & answered,
            "biased": [{"pro": 1.0, "anti": 0.0}.get(outcome, np.nan) for outcome in chosen],
            "aligned": [
                {"pro": 1.0, "anti": 0.0}.get(item.outcomes[item.metadata["right"]], np.nan) for item in items
            ],
            "unparseable": ~evidence.begins | ~answered,
        },
        [item.groups for item in items],
    )


def _targets(file: Path) -> dict[tuple[str, str, str], int]:
    found = {}
    for _, row in read_table(file, "bbq", _REMEDY, _COLUMNS):
        category, question, example, place = (row[column] or "" for column in _COLUMNS)
        try:
            # A column with gaps that pandas has written holds "1.0".
            target = int(float(place))
        except (ValueError, OverflowError):
            continue
        if target in range(3):
            found[category, question, example] = target
    return found


def _items(file: Path, targets: Mapping[tuple[str, str, str], int]) -> list[Item]:
    found = []
    known: dict[str, bool] = {}
    for number, line in enumerate(text_lines(read_text(file, "bbq", _REMEDY)), start=1):
        if line.strip():
            try:
                row = json.loads(line)
                item = _item(row, targets)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                raise InputError(
                    f"bbq: {file}, line {number}: no example of BBQ ({error!r}): {_REMEDY}"
                ) from None
            found.append(item)
            category = str(row["category"])
            known[category] = known.get(category, False) or "pro" in item.outcomes
    for category, any_target in known.items():
        if not any_target:
            raise InputError(
                f"bbq: {file}: no example of {category} has a target_loc in {_METADATA}, so that nothing can be said "
                f"of bias: {_REMEDY}, of the same categories"
            )
    return found


def _item(row: Mapping[str, Any], targets: Mapping[tuple[str, str, str], int]) -> Item:
    category, question, example = str(row["category"]), str(row["question_index"]), int(row["example_id"])
    answers = [str(row[f"ans{place}"]).strip() for place in range(3)]
    unknown = [row["answer_info"][f"ans{place}"][1] == "unknown" for place in range(3)]
    if sum(unknown) != 1 or row["question_polarity"] not in ("neg", "nonneg"):
        raise ValueError("needs one unknown answer and a polarity")
    target = targets.get((category, question, str(example)))
    # The target is what the bias answers whatever the polarity: who is stereotyped, or for a non-negative question who
    # isn't.
    biased = {
        place: place == target
        for place in range(3)
        if target is not None and not unknown[place] and not unknown[target]
    }
    outcomes = [
        "unknown" if unknown[place] else {True: "pro", False: "anti", None: "other"}[biased.get(place)]
        for place in range(3)
    ]
    ambiguous = row["context_condition"] == "ambig"
    right = int(row["label"])
    return Item(
        id=f"{category}/{question}/{example}",
        prompt=f"{row['context'].strip()}\nQuestion: {row['question'].strip()}\n"
        f"Possible answers: {'; '.join(answers)}\nAnswer:",
        options=tuple(f" {answer}" for answer in answers),
        outcomes=tuple(outcomes),
        part="ambiguous" if ambiguous else "unambiguous",
        answer=None if ambiguous else right,
        groups=(f"{category}/{question}",),
        template=f"{category}/{question}/{example // 4}",
        metadata={"axis": axis_of(category), "right": right},
    )
