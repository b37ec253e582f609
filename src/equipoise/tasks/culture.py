"""Cultural dimensions of images: annotations, and the questions that ask a model about them.

Five dimensions after a position paper (arXiv 2505.22793, "cultural, semiotic and visual studies are needed to annotate
images"), of which only the abstract could be read: their names follow summaries by others, and the questions are ours.
Records are multi-label, with evidence, the annotator's community and confidence. They are never merged: communities may
read one image differently and both be right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_text
from .emoji import DEFAULT_STYLE, STYLES, drawing
from .image import PLACEHOLDER, Picture, picture
from .item import Item

EXAMPLES = ("example-objects", "example-feasts")
"""Annotation files of ours, which show the form; what they say, nobody annotated."""


@dataclass(frozen=True)
class Dimension:
    """One way of looking: what is recorded, and how a model is asked whether a label holds, with ``{label}``."""

    name: str
    records: str
    question: str


DIMENSIONS = (
    Dimension(
        "processual grounding",
        "culture as something that groups do and define: who made, appears in or would claim the image",
        "Think of the people who made this, appear in it or would call it theirs. Does this hold: {label}?",
    ),
    Dimension(
        "material culture",
        "objects, dress, food and buildings, and what they are for",
        "Think of the things to be seen and what they are used for. Does this hold: {label}?",
    ),
    Dimension(
        "symbolic encoding",
        "what signs, gestures, colours and writing stand for, and to whom",
        "Think of what is shown as a sign that stands for something. Does it stand for this: {label}?",
    ),
    Dimension(
        "contextual interpretation",
        "who made it for whom, and how readings differ",
        "Think of who made this, and for whom. Is this a fitting reading: {label}?",
    ),
    Dimension(
        "temporality",
        "period, change and persistence: is a practice current, revived or past",
        "Think of the time that this belongs to. Does this hold: {label}?",
    ),
)
_NAMES = tuple(one.name for one in DIMENSIONS)
_EMOJI = "emoji:"
_SHOWN = {"image": f"Look at this: {PLACEHOLDER}\n", "text": "Imagine this: {description}\n"}


@dataclass(frozen=True)
class Subject:
    """What is annotated: a description in words, and an image if there is one: a file, or ``emoji:CODE``."""

    name: str
    description: str
    image: str | None = None

    def picture(self) -> Picture | None:
        """The image. Raises :class:`InputError` if it can't be read, or the package that draws emoji is missing."""
        if self.image is None or not self.image.startswith(_EMOJI):
            return None if self.image is None else picture(self.image)
        code = self.image.removeprefix(_EMOJI)
        shown = drawing(STYLES[DEFAULT_STYLE], code, f"emoji {code}")
        if shown is None:
            raise InputError(f"there is no drawing of {code!r}: give code points such as 1fa94")
        return shown


@dataclass(frozen=True)
class Record:
    """One annotator's view of one dimension of one subject.

    ``labels`` may be empty: nothing of this dimension was seen. ``evidence`` says what in the image the labels rest on;
    ``confidence`` is the annotator's own, in [0, 1].
    """

    subject: str
    dimension: str
    annotator: str
    community: str
    labels: frozenset[str]
    evidence: str
    confidence: float


@dataclass(frozen=True)
class Annotations:
    """A checked file: subjects by name, the labels that may be given in each dimension, and all records."""

    name: str
    note: str
    subjects: Mapping[str, Subject]
    labels: Mapping[str, tuple[str, ...]]
    records: tuple[Record, ...]

    @property
    def communities(self) -> tuple[str, ...]:
        """In order of first appearance."""
        return tuple(dict.fromkeys(one.community for one in self.records))

    def values(self, dimension: str, community: str | None = None) -> list[list[frozenset[str]]]:
        """The sets of labels that each subject got in a dimension, from one community or all: the units of an α."""
        found: dict[str, list[frozenset[str]]] = {name: [] for name in self.subjects}
        for one in self.records:
            if one.dimension == dimension and community in (None, one.community):
                found[one.subject].append(one.labels)
        return list(found.values())

    def share(self, subject: str, dimension: str, label: str, community: str) -> float | None:
        """The share of a community's annotators of the subject and dimension who gave the label; None without any."""
        wanted = (subject, dimension, community)
        given = [label in r.labels for r in self.records if (r.subject, r.dimension, r.community) == wanted]
        return sum(given) / len(given) if given else None

    def items(self, *, images: bool) -> list[Item]:
        """A yes-or-no question for each subject, dimension and label that was annotated there.

        With ``images`` a subject is shown where it has one, otherwise described. Metadata: ``dimension``, ``label``,
        ``modality``.
        """
        seen = {(one.subject, one.dimension) for one in self.records}
        found = []
        for subject in self.subjects.values():
            drawn = subject.picture() if images else None
            shown = () if drawn is None else (drawn,)
            for dimension in DIMENSIONS:
                if (subject.name, dimension.name) not in seen:
                    continue
                modality = "image" if shown else "text"
                opening = _SHOWN[modality].format(description=subject.description)
                for label in self.labels[dimension.name]:
                    question = dimension.question.format(label=label)
                    found.append(
                        Item(
                            id=f"{self.name}/{subject.name}/{dimension.name}/{label}",
                            prompt=({"role": "user", "content": f"{opening}{question} Answer Yes or No."},),
                            options=("Yes", "No"),
                            outcomes=("yes", "no"),
                            part="ambiguous",
                            answer=None,
                            groups=(f"{self.name}/{subject.name}",),
                            template=dimension.name,
                            metadata={
                                "subject": subject.name,
                                "dimension": dimension.name,
                                "label": label,
                                "modality": modality,
                            },
                            images=shown,
                        )
                    )
        return found


def load_annotations(name: str) -> Annotations:
    """One of :data:`EXAMPLES`, or a JSON file of their form.

    Raises :class:`InputError` with the place of the first thing that is wrong: an unknown key, dimension, subject or
    label, labels without evidence, a confidence outside [0, 1], one annotator in two communities or twice on one thing.
    """
    if name in EXAMPLES:
        text = resources.files(__package__).joinpath(f"data/culture/{name}.json").read_text(encoding="utf-8")
        return _checked(name, json.loads(text), None)
    path = Path(name)
    remedy = f"give a JSON file of annotations, or {' or '.join(EXAMPLES)}"
    text = read_text(path, "culture", remedy)
    try:
        given = json.loads(text)
    except ValueError as error:
        raise InputError(f"{name} is no JSON ({error}): {remedy}") from None
    return _checked(name, given, path.parent)


def _checked(name: str, given: Any, folder: Path | None) -> Annotations:
    top = _entry(given, name, ("schema", "note", "subjects", "labels", "records"))
    if top["schema"] != 1:
        raise InputError(f"{name}: schema is {top['schema']!r}, and this version reads 1")
    labels = {}
    for dimension in _entry(top["labels"], f"{name}: labels", _NAMES):
        known = top["labels"][dimension]
        if not _texts(known) or not known or len(set(known)) < len(known):
            raise InputError(f"{name}: labels.{dimension} must be a list of one or more different texts")
        labels[dimension] = tuple(known)
    if not isinstance(top["subjects"], dict) or not top["subjects"]:
        raise InputError(f"{name}: subjects must be an object with at least one entry")
    subjects = {key: _subject(name, key, one, folder) for key, one in top["subjects"].items()}
    if not isinstance(top["records"], list) or not top["records"]:
        raise InputError(f"{name}: records must be a list with at least one entry")
    records: list[Record] = []
    home: dict[str, str] = {}
    before: set[tuple[str, str, str]] = set()
    for number, one in enumerate(top["records"]):
        place = f"{name}: records[{number}]"
        record = _record(place, one, subjects, labels)
        if home.setdefault(record.annotator, record.community) != record.community:
            raise InputError(f"{place}: annotator {record.annotator!r} is in two communities: give one")
        key = (record.subject, record.dimension, record.annotator)
        if key in before:
            raise InputError(
                f"{place}: {record.annotator!r} annotated this dimension of {record.subject!r} before"
            )
        before.add(key)
        records.append(record)
    return Annotations(Path(name).stem, str(top["note"]), subjects, labels, tuple(records))


def _subject(name: str, key: str, given: Any, folder: Path | None) -> Subject:
    place = f"{name}: subjects.{key}"
    one = _entry(given, place, ("description", "image"), optional=("image",))
    if not isinstance(one["description"], str) or not one["description"].strip():
        raise InputError(f"{place}: description must be a text: models without images are asked about it")
    source = one.get("image")
    if source is None:
        return Subject(key, one["description"])
    if not isinstance(source, str):
        raise InputError(f"{place}: image must be a file's path or emoji:CODE")
    if source.startswith(_EMOJI):
        return Subject(key, one["description"], source)
    path = (folder or Path()) / source
    picture(path)  # at once, so that a file that is none is told before a model is loaded
    return Subject(key, one["description"], str(path))


def _record(
    place: str, given: Any, subjects: Mapping[str, Subject], labels: Mapping[str, Sequence[str]]
) -> Record:
    keys = ("subject", "dimension", "annotator", "community", "labels", "evidence", "confidence")
    one = _entry(given, place, keys)
    for key in ("subject", "dimension", "annotator", "community", "evidence"):
        if not isinstance(one[key], str) or (key != "evidence" and not one[key].strip()):
            raise InputError(f"{place}: {key} must be a text")
    if one["subject"] not in subjects:
        raise InputError(f"{place}: there is no subject {one['subject']!r}: use {', '.join(subjects)}")
    if one["dimension"] not in labels:
        raise InputError(f"{place}: there is no dimension {one['dimension']!r}: use {', '.join(labels)}")
    known = labels[one["dimension"]]
    if not _texts(one["labels"]) or len(set(one["labels"])) < len(one["labels"]):
        raise InputError(f"{place}: labels must be a list of different texts; it may be empty")
    for label in one["labels"]:
        if label not in known:
            raise InputError(f"{place}: {label!r} is no label of {one['dimension']}: use {', '.join(known)}")
    if one["labels"] and not one["evidence"].strip():
        raise InputError(f"{place}: labels need evidence: say what in the image they rest on")
    confidence = one["confidence"]
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        raise InputError(f"{place}: confidence must be a number from 0 to 1")
    return Record(
        one["subject"],
        one["dimension"],
        one["annotator"],
        one["community"],
        frozenset(one["labels"]),
        one["evidence"],
        float(confidence),
    )


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one.strip() for one in value)


def _entry(given: Any, place: str, keys: Sequence[str], *, optional: Sequence[str] = ()) -> Mapping[str, Any]:
    """An object with exactly these keys."""
    if not isinstance(given, dict):
        raise InputError(f"{place} must be an object with {', '.join(keys)}")
    for key in given:
        if key not in keys:
            raise InputError(f"{place}: there is no key {key!r}: use {', '.join(keys)}")
    for key in keys:
        if key not in given and key not in optional:
            raise InputError(f"{place}: {key!r} is missing")
    return given
