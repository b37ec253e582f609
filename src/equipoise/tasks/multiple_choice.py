"""Capability suites of multiple-choice questions: ``mmlu:PATH``, ``arc:PATH`` and ``piqa:PATH``.

Questions are put and answers scored as ``lm_eval`` does it, so that figures can be compared: MMLU with its five worked
examples and the letters as answers (Hendrycks et al., 2021), ARC (Clark et al., 2018) and PIQA (Bisk et al., 2020)
without examples, each answer's text scored after the question.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import InputError
from ..files import read_rows, read_text, text_lines
from ..metrics import Table, mean_of
from .item import Item
from .suite import ClosedSuite, Evidence, Reading, Readings

LETTERS = "ABCD"
_REMEDY = "give the set's own files"

T = TypeVar("T")


class MultipleChoice(ClosedSuite):
    """Questions with one right option. ``accuracy`` goes by log-likelihood, ``accuracy_normalised`` (not where options
    are letters) by log-likelihood over the option's length in characters, ``lm_eval``'s ``acc`` and ``acc_norm``."""

    letters = False

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = list(items)

    def items(self) -> Sequence[Item]:
        """Every question whose options all differ."""
        return self._items

    def readings(self, items: Sequence[Item], evidence: Evidence) -> Readings:
        """Both accuracies, what always giving the most frequent place would score, and the unparseable rate."""
        right = np.array([item.answer for item in items])
        lengths = np.ones_like(evidence.logp)
        for row, item in enumerate(items):
            lengths[row, : len(item.options)] = [len(option.strip()) for option in item.options]
        most = Counter(right.tolist()).most_common(1)[0][0]
        table = Table(
            {
                "accuracy": evidence.logp.argmax(1) == right,
                "accuracy_normalised": (evidence.logp / lengths).argmax(1) == right,
                "trivial_accuracy": right == most,
                "unparseable_rate": ~evidence.begins,
            },
            [item.groups for item in items],
        )
        names = ["accuracy", "accuracy_normalised", "trivial_accuracy", "unparseable_rate"]
        # Of whole texts the next token says nothing, and letters have no length.
        names.remove("accuracy_normalised" if self.letters else "unparseable_rate")
        return {name: Reading(mean_of(name), table) for name in names}


class MMLU(MultipleChoice):
    """PATH is the folder with ``dev`` and ``test`` or ``val`` of the set's own CSV files (``test`` is taken where it is
    there). ``shots`` of a subject's five worked examples stand before each question."""

    name = "mmlu"
    about = "MMLU: questions of 57 subjects, four answers each; chance is 0.25."
    letters = True

    def __init__(self, path: str | PathLike[str], shots: int = 5) -> None:
        folder = Path(path)
        part = "test" if (folder / "test").is_dir() else "val"
        files = sorted((folder / part).glob("*.csv"))
        if not files:
            raise InputError(f"mmlu: {folder} has neither test/*.csv nor val/*.csv: give MMLU's own folder")
        items = []
        for file in files:
            subject = file.stem.removesuffix(f"_{part}")
            said = subject.replace("_", " ")
            lead = f"The following are multiple choice questions (with answers) about {said}.\n\n"
            worked = _csv("mmlu", folder / "dev" / f"{subject}_dev.csv")[:shots] if shots else []
            lead += "".join(f"{_lettered(row)} {row[5].strip()}\n\n" for row in worked)
            for number, row in enumerate(_csv("mmlu", file)):
                items.append(
                    _question(
                        f"{subject}/{number}",
                        lead + _lettered(row),
                        [f" {letter}" for letter in LETTERS],
                        LETTERS.index(row[5].strip()),
                        subject,
                    )
                )
        super().__init__(items)


class ARC(MultipleChoice):
    """PATH is a CSV file of questions, four answers and the right letter, or the set's own ``.jsonl``."""

    name = "arc"
    about = "ARC: science questions, mostly with four answers; chance is about 0.25."

    def __init__(self, path: str | PathLike[str]) -> None:
        file = Path(path)
        if file.suffix == ".jsonl":
            questions = _json_lines("arc", file, _arc)
        else:
            rows = _csv("arc", file, answers=True)
            questions = [(row[0], row[1:5], LETTERS.index(row[5].strip())) for row in rows]
        super().__init__(
            _question(
                f"{number}",
                f"Question: {stem.strip()}\nAnswer:",
                [f" {text.strip()}" for text in texts],
                right,
                f"{number}",
            )
            for number, (stem, texts, right) in enumerate(questions)
            if len({text.strip() for text in texts}) == len(texts)
        )


class PIQA(MultipleChoice):
    """PATH is the folder with the set's own ``valid.jsonl`` and ``valid-labels.lst``."""

    name = "piqa"
    about = "PIQA: which of two ways reaches a practical goal; chance is 0.5."

    def __init__(self, path: str | PathLike[str]) -> None:
        folder = Path(path)
        rows = _json_lines("piqa", folder / "valid.jsonl", _piqa)
        labels = _labels(folder / "valid-labels.lst")
        if len(rows) != len(labels):
            raise InputError(
                f"piqa: {folder}: {len(rows)} questions need as many labels, 0 or 1, not {len(labels)}"
            )
        super().__init__(
            _question(
                f"{number}",
                f"Question: {goal}\nAnswer:",
                [f" {first}", f" {second}"],
                int(label),
                f"{number}",
            )
            for number, ((goal, first, second), label) in enumerate(zip(rows, labels, strict=True))
            if first != second
        )


def _lettered(row: Sequence[str]) -> str:
    choices = "".join(f"{letter}. {text}\n" for letter, text in zip(LETTERS, row[1:5], strict=True))
    return f"{row[0].strip()}\n{choices}Answer:"


def _question(id: str, prompt: str, options: Sequence[str], right: int, cluster: str) -> Item:
    return Item(
        id=id,
        prompt=prompt,
        options=tuple(options),
        outcomes=tuple("right" if place == right else "wrong" for place in range(len(options))),
        part="unambiguous",
        answer=right,
        groups=(cluster,),
        template=id,
    )


def _labels(file: Path) -> list[str]:
    """PIQA's labels, one a line. Raises :class:`InputError`, naming the line, for one that isn't 0 or 1."""
    lines = text_lines(read_text(file, "piqa", "give PIQA's own folder"))
    found = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    for number, label in found:
        if label not in ("0", "1"):
            raise InputError(f"piqa: {file}, line {number}: {label!r} is no label: each line says 0 or 1")
    return [label for _, label in found]


def _csv(name: str, file: Path, *, answers: bool = False) -> list[list[str]]:
    """Rows of a question, four answers and a letter; with ``answers`` none of these may be empty."""
    rows = read_rows(file, name, _REMEDY)
    for line, row in rows:
        if len(row) != 6 or row[5].strip() not in tuple(LETTERS):
            raise InputError(
                f"{name}: {file}, line {line}: needs a question, four answers and the right letter, A to D"
            )
        texts = row[:5] if answers else row[:1]
        if not all(text.strip() for text in texts):
            what = "question" if not row[0].strip() else "answer"
            raise InputError(f"{name}: {file}, line {line}: the {what} is empty: {_REMEDY}")
    return [row for _, row in rows]


def _json_lines(name: str, file: Path, read: Callable[[Any], T]) -> list[T]:
    """What ``read`` makes of each line. Raises :class:`InputError`, naming the line, for one that isn't the set's."""
    found = []
    for number, line in enumerate(text_lines(read_text(file, name, _REMEDY)), start=1):
        if line.strip():
            try:
                found.append(read(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"{name}: {file}, line {number}: no question of the set ({_said(error)}): {_REMEDY}"
                ) from None
    return found


def _said(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return str(error) if isinstance(error, ValueError) else repr(error)


def _arc(row: Any) -> tuple[str, list[str], int]:
    stem, choices = row["question"]["stem"].strip(), row["question"]["choices"]
    labels = [str(choice["label"]).strip() for choice in choices]
    texts = [choice["text"].strip() for choice in choices]
    key = str(row["answerKey"]).strip()
    if labels.count(key) != 1 or len(labels) < 2:
        raise ValueError(f"the answer {key} must be one of two or more choices, and these are {labels}")
    _refuse_empty(
        question=stem, **{f"choice {label}": text for label, text in zip(labels, texts, strict=True)}
    )
    return stem, texts, labels.index(key)


def _piqa(row: Any) -> tuple[str, str, str]:
    goal, first, second = (row[key].strip() for key in ("goal", "sol1", "sol2"))
    _refuse_empty(sol1=first, sol2=second)
    return goal, first, second


def _refuse_empty(**texts: str) -> None:
    for name, text in texts.items():
        if not text:
            raise ValueError(f"{name} is empty")
