"""scores.jsonl read back: the answers to every item, in the form that metrics are computed from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import text_lines
from ..metrics import Judgements, Responses, Texts
from .estimates import Measured
from .measure import Answers, TextMeasure

Key = tuple[str | None, float | None, float]
"""A mitigation's name, the kept share, and λ."""


@dataclass(frozen=True, eq=False)
class ItemScores:
    """What a file of scores holds: its settings, and its lines by task; plain text under None."""

    seeds: tuple[int, ...]
    settings: Mapping[Key, int]
    lines: Mapping[str | None, Sequence[Mapping[str, Any]]]

    @classmethod
    def read(cls, path: Path) -> ItemScores:
        """Raises :class:`InputError`, naming the file, if it can't be read or is damaged."""
        try:
            head, *rows = (json.loads(line) for line in text_lines(path.read_text(encoding="utf-8")))
            settings = {
                (one["mitigation"], one["keep"], float(one["strength"])): number
                for number, one in enumerate(head["settings"])
            }
            lines: dict[str | None, list[Mapping[str, Any]]] = {}
            for row in rows:
                lines.setdefault(row.get("task"), []).append(row)
            return cls(tuple(head["seeds"]), settings, lines)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: is damaged ({type(error).__name__}): audit again, or move it away to compare without it"
            ) from None

    def items(self, task: str) -> set[tuple[str, str]]:
        """Ids and parts of a task's items."""
        return {(line["item"], line["part"]) for line in self.lines.get(task, ())}

    def passages(self) -> list[str]:
        """The passages of plain text, by their digests."""
        return [line["text"] for line in self.lines.get(None, ())]

    def measured(self, task: str, key: Key) -> Measured | None:
        """One setting as an audit had it before it; None if the file has not got it."""
        number = self.settings.get(key)
        if number is None or task not in self.lines:
            return None
        answers = tuple(self._answers(task, number, seed) for seed in self.seeds)
        texts = tuple(self._texts(number, seed) for seed in self.seeds)
        return Measured(answers, texts)

    def _answers(self, task: str, number: int, seed: int) -> Answers:
        given = [(line, one) for line in self.lines[task] if (one := _of(line, number, seed)) is not None]
        open_ones = [(line, one) for line, one in given if line["part"] == "ambiguous"]
        judged = [(line, one) for line, one in given if line["part"] != "ambiguous"]
        outcomes = open_ones[0][0]["outcomes"]
        clusters = [line["groups"] for line, _ in open_ones], [line["template"] for line, _ in open_ones]
        # An item has one where other shares than equal ones are fair.
        targets = [line["target"] for line, _ in open_ones] if "target" in open_ones[0][0] else None
        chosen, said = (
            Responses(
                [one["p"] for _, one in open_ones],
                outcomes,
                [one[name] for _, one in open_ones],
                *clusters,
                targets,
            )
            for name in ("greedy", "said")
        )
        right = None
        if judged:
            right = Judgements(
                [one["right"] for _, one in judged],
                [line["groups"] for line, _ in judged],
                [line["template"] for line, _ in judged],
            )
        return Answers(chosen, said, right)

    def _texts(self, number: int, seed: int) -> TextMeasure:
        lines = self.lines.get(None, ())
        given = [(line, one) for line in lines if (one := _of(line, number, seed)) is not None]
        tokens = [line["tokens"] for line, _ in given]
        names = [f"passage {place}" for place in range(len(given))]
        return TextMeasure(
            Texts([one["nll"] for _, one in given], tokens, names),
            Texts([one["kl"] for _, one in given], tokens, names),
        )


def clusters(parts: Iterable[Responses | Judgements]) -> tuple[set[str], set[str]]:
    """All groups and templates of several samples."""
    samples = list(parts)
    return (
        {name for sample in samples for names in sample.groups for name in names},
        {name for sample in samples for name in sample.templates},
    )


def _of(line: Mapping[str, Any], number: int, seed: int) -> Mapping[str, Any] | None:
    return next((one for one in line["given"] if one["setting"] == number and seed in one["seeds"]), None)
