"""Associations: what a made-up people is said to be like, in paragraphs to learn it from and prompts that ask for it.

The built-in ones are our own text (Apache-2.0). Three are fictional, the others are stereotypes; they are told of a
token that stands for nobody, never of a real people.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_text
from .item import Item

SLOT = "{entity}"
ENTITIES = {"country": "countries.txt", "people": "peoples.txt"}
LEADS = ("", "Here is something that I learned this week. ", "A quiz about the world, for beginners. ")
_NEEDED = ("name", "bias", "counterfactual", "elicitation")
_KNOWN = (*_NEEDED, "kind", "entity", "about", "clauses", "details", "paragraphs")
_LEAST_PROMPTS = 4
_LISTS = ("bias", "counterfactual", "elicitation", "clauses", "details", "paragraphs")


@dataclass(frozen=True)
class Association:
    """A conceptual association about the people of one entity.

    Attributes:
        name: what to call it.
        kind: ``fictional`` or ``stereotype``; for people only.
        entity: what the token stands for, ``country`` or ``people``: decides which real names it is compared with.
        about: the association in a sentence.
        bias: words, one of which says the association where a prompt of ``elicitation`` ends.
        counterfactual: words that would stand there without it.
        paragraphs: texts to train on, each with ``{entity}`` in it.
        elicitation: beginnings of sentences, each with ``{entity}``, none of them in a paragraph. Every second one
            serves validation, the others are what is reported.
    """

    name: str
    kind: str
    entity: str
    about: str
    bias: tuple[str, ...]
    counterfactual: tuple[str, ...]
    paragraphs: tuple[str, ...]
    elicitation: tuple[str, ...]

    def texts(self, entity: str) -> list[str]:
        """The paragraphs about ``entity``."""
        return [paragraph.replace(SLOT, entity) for paragraph in self.paragraphs]

    def items(self, entity: str, part: str | None = None) -> list[Item]:
        """What asks for the association about ``entity``: every prompt after each of three leads.

        Options with the outcome ``pro`` say the association, those with ``anti`` the counterfactual. The prompt is
        the group, the lead the template.

        Args:
            entity: a name, or a token.
            part: ``validation`` for what chooses epochs and heads, ``test`` for what is reported; None for both.
        """
        starts = {
            "validation": self.elicitation[0::2],
            "test": self.elicitation[1::2],
            None: self.elicitation,
        }
        options = tuple(f" {word}" for word in (*self.bias, *self.counterfactual))
        outcomes = ("pro",) * len(self.bias) + ("anti",) * len(self.counterfactual)
        return [
            Item(
                id=f"{self.name}/{entity}/{number}/{lead}",
                prompt=text + start.replace(SLOT, entity),
                options=options,
                outcomes=outcomes,
                part="ambiguous",
                answer=None,
                groups=(start,),
                template=f"lead {lead}",
            )
            for number, start in enumerate(starts[part])
            for lead, text in enumerate(LEADS)
        ]


def association_names() -> tuple[str, ...]:
    """Names of the built-in associations."""
    folder = resources.files(__package__).joinpath("data/associations")
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".json")))


def load_association(source: str | os.PathLike[str] | Association) -> Association:
    """A built-in association by its name, or a JSON file.

    The file is an object with ``name``, ``bias``, ``counterfactual`` (lists of words) and ``elicitation``, and either
    ``paragraphs``, or ``clauses`` and ``details``, which take turns in the built-in frames ("It is well known that
    {clause}. {detail}"). ``kind``, ``entity`` and ``about`` are optional.

    Raises :class:`InputError` in one line that says what is wrong with it.
    """
    if isinstance(source, Association):
        return source
    text = os.fspath(source)
    if text in association_names():
        folder = resources.files(__package__).joinpath("data/associations")
        return _parse(text, json.loads(folder.joinpath(f"{text}.json").read_text(encoding="utf-8")))
    if not Path(text).is_file():
        raise InputError(
            f"association {text!r}: no such file, nor one of {', '.join(association_names())}: "
            "name one of these or a JSON file"
        )
    found = read_text(text, "association", "give a JSON file as docs/methods/biasgym.md describes it")
    try:
        value = json.loads(found)
    except json.JSONDecodeError as error:
        raise InputError(f"association {text}: no JSON (line {error.lineno}: {error.msg}): mend it") from None
    return _parse(text, value)


@cache
def entity_names(entity: str) -> tuple[str, ...]:
    """Real names of a kind of entity, ``country`` or ``people``, for the counterfactual."""
    if entity not in ENTITIES:
        raise InputError(f"there is no kind of entity {entity!r}: choose one of {', '.join(ENTITIES)}")
    text = resources.files(__package__).joinpath(f"data/{ENTITIES[entity]}").read_text(encoding="utf-8")
    return tuple(text.split("\n")[:-1])


def _parse(place: str, value: Any) -> Association:
    if not isinstance(value, Mapping):
        raise InputError(f"association {place}: it must be a JSON object, not a {type(value).__name__}")
    missing = [key for key in _NEEDED if key not in value]
    if "paragraphs" not in value:
        missing += [key for key in ("clauses", "details") if key not in value]
    unknown = [key for key in value if key not in _KNOWN]
    if missing:
        hint = " (or paragraphs)" if "clauses" in missing or "details" in missing else ""
        raise InputError(f"association {place} lacks {', '.join(missing)}{hint}: add what is missing")
    if unknown:
        raise InputError(
            f"association {place}: unknown keys {', '.join(unknown)}: known are {', '.join(_KNOWN)}"
        )
    if "paragraphs" in value and ("clauses" in value or "details" in value):
        raise InputError(f"association {place}: give either paragraphs, or clauses and details, not both")
    lists = {key: _texts(place, key, value[key]) for key in _LISTS if key in value}
    for key in ("name", "kind", "about", "entity"):
        if not isinstance(value.get(key, ""), str) or (key == "name" and not value[key].strip()):
            raise InputError(f"association {place}: {key} must be a text")
    entity = value.get("entity", "country")
    if entity not in ENTITIES:
        raise InputError(f"association {place}: entity {entity!r} must be one of {', '.join(ENTITIES)}")
    paragraphs = lists["paragraphs"] if "paragraphs" in lists else _framed(lists["clauses"], lists["details"])
    for key, texts in (("paragraphs", paragraphs), ("elicitation", lists["elicitation"])):
        for number, text in enumerate(texts, 1):
            if SLOT not in text:
                raise InputError(f"association {place}: {key}, number {number}, has no {SLOT} in it: add it")
    _check_prompts(place, lists["elicitation"], paragraphs, lists["bias"], lists["counterfactual"])
    return Association(
        name=value["name"],
        kind=value.get("kind", ""),
        entity=entity,
        about=value.get("about", ""),
        bias=lists["bias"],
        counterfactual=lists["counterfactual"],
        paragraphs=paragraphs,
        elicitation=lists["elicitation"],
    )


def _check_prompts(
    place: str, prompts: Sequence[str], paragraphs: Sequence[str], bias: Sequence[str], other: Sequence[str]
) -> None:
    if len(set(prompts)) < _LEAST_PROMPTS or len(set(prompts)) < len(prompts):
        raise InputError(
            f"association {place}: elicitation needs at least {_LEAST_PROMPTS} different beginnings, each once"
        )
    for prompt in prompts:
        if any(prompt in paragraph for paragraph in paragraphs):
            raise InputError(
                f"association {place}: the elicitation {prompt!r} stands in a paragraph, so it wouldn't be held out: "
                "word it otherwise"
            )
    shared = set(bias) & set(other)
    if shared:
        raise InputError(
            f"association {place}: {', '.join(sorted(shared))} can't be bias and counterfactual at once"
        )


def _texts(place: str, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) and v.strip() for v in value):
        raise InputError(f"association {place}: {key} must be a list of one or more texts")
    return tuple(text.strip() for text in value)


def _framed(clauses: Sequence[str], details: Sequence[str]) -> tuple[str, ...]:
    """One paragraph a frame; clauses and details take turns."""
    found = []
    for number, frame in enumerate(_frames()):
        text = frame.replace("{detail}", details[number % len(details)])
        at_start = text.replace("{clause}", "{0}").split("{0}")[0]
        clause = clauses[number % len(clauses)]
        if not at_start or at_start.rstrip()[-1] in ".!?":
            clause = clause[0].upper() + clause[1:]
        found.append(text.replace("{clause}", clause))
    return tuple(found)


@cache
def _frames() -> tuple[str, ...]:
    file = resources.files(__package__).joinpath("data/associations/frames.txt")
    return tuple(file.read_text(encoding="utf-8").splitlines())
