"""scores.jsonl: what was answered to every item at every setting, so that audits can be compared item by item."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .estimates import Measured
from .runs import Setting, Subject

SCORES = "scores.jsonl"
_DIGITS = 8  # of a probability: more than float32 has

Entry = dict[str, Any]


def item_scores(subject: Subject, measured: Mapping[Setting, Sequence[Measured]]) -> str:
    """The file's text: a line that names the settings, one for every item, and one for every passage of plain text.

    The shape is in docs/contract.md.
    """
    settings = [
        {"mitigation": each.mitigation, "keep": each.keep, "strength": each.strength} for each in measured
    ]
    lines: list[Entry] = [{"scores": 1, "seeds": list(subject.seeds), "settings": settings}]
    for number, asked in enumerate(subject.asked):
        questions = asked.questions
        entries: dict[int, Entry] = {}
        for row, item in enumerate(questions.items):
            entries[row] = {
                "task": questions.task.name,
                "item": item.id,
                "part": item.part,
                "groups": list(item.groups),
                "template": item.template,
                "given": [],
            }
            if item.part == "ambiguous":
                entries[row]["outcomes"] = list(questions.task.outcomes)
        for place, of_tasks in enumerate(measured.values()):
            for index, seed in enumerate(subject.seeds):
                answers = of_tasks[number].answers[index]
                given = zip(
                    answers.responses.probabilities,
                    answers.responses.greedy,
                    answers.said.greedy,
                    strict=True,
                )
                rows = questions.of_part("ambiguous", seed)
                for row, (p, greedy, said) in zip(rows, given, strict=True):
                    values = {"p": _rounded(p), "greedy": int(greedy), "said": int(said)}
                    _note(entries[int(row)], place, seed, values)
                if (fair := answers.responses.targets) is not None:
                    for row, shares in zip(rows, fair, strict=True):
                        entries[int(row)]["target"] = _rounded(shares)
                if answers.judged is not None:
                    rows = questions.of_part("unambiguous", seed)
                    for row, right in zip(rows, answers.judged.correct, strict=True):
                        _note(entries[int(row)], place, seed, {"right": float(right)})
        lines += entries.values()
    lines += _passages(subject, measured)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _passages(subject: Subject, measured: Mapping[Setting, Sequence[Measured]]) -> Iterator[Entry]:
    passages = [passage for batch in subject.text.reference.batches for passage in batch.tolist()]
    for row, passage in enumerate(passages):
        digest = hashlib.sha256(repr(passage).encode()).hexdigest()[:16]
        entry: Entry = {"text": digest, "tokens": len(passage) - 1, "given": []}
        for place, of_tasks in enumerate(measured.values()):
            for index, seed in enumerate(subject.seeds):
                text = of_tasks[0].texts[index]
                values = {"nll": float(text.likelihood.nats[row]), "kl": float(text.divergence.nats[row])}
                _note(entry, place, seed, values)
        yield entry


def _note(entry: Entry, setting: int, seed: int, values: Entry) -> None:
    """Seeds that were given the same answers share an entry."""
    for given in entry["given"]:
        if given["setting"] == setting and all(given[name] == value for name, value in values.items()):
            given["seeds"].append(seed)
            return
    entry["given"].append({"setting": setting, "seeds": [seed], **values})


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values]
