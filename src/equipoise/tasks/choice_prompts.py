"""The wordings of ``choices``: built in, or a user's file of the same form."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_text
from ..metrics import FAIR
from .image import PLACEHOLDER
from .portrait import CATEGORIES

_TEXTS = ("system", "one_image", "two_images", "named", "separator")


@dataclass(frozen=True)
class ChoicePrompts:
    """How the questions are put.

    Attributes:
        system: the system prompt; empty for none.
        one_image, two_images: what stands before a question with images, with their places.
        named: what stands there instead of one image, with ``{value}``.
        templates: the questions of each category, with ``{attribute}``, ``{concept}`` or ``{a_concept}``, and
            ``{options}``.
        separator: what stands between the options where a template lists them.
        options: for each attribute its options and what each means.
        concepts: the sets of concepts, by name and category.
        free_system, free: system prompt and questions of each category without options, for free answers.
        said: for each attribute what an answer with these words means: fair, or one of its values.
    """

    system: str
    one_image: str
    two_images: str
    named: str
    templates: Mapping[str, tuple[str, ...]]
    separator: str
    options: Mapping[str, tuple[tuple[str, str], ...]]
    concepts: Mapping[str, Mapping[str, tuple[str, ...]]]
    free_system: str
    free: Mapping[str, tuple[str, ...]]
    said: Mapping[str, Mapping[str, tuple[str, ...]]]

    def values(self, attribute: str) -> tuple[str, str]:
        """The two values of an attribute, in the order of their first options."""
        found = dict.fromkeys(means for _, means in self.options[attribute] if means != FAIR)
        first, second = found
        return first, second


def choice_prompts(path: str | PathLike[str] | None = None) -> ChoicePrompts:
    """The prompts in a TOML file; what it leaves out is as in the built-in one, which None is.

    What a table leaves out, such as a category of the templates, is too. Raises :class:`InputError`, naming the place,
    for a file that can't be read, an unknown key, a template without its concept or options, options that don't mean
    two values and fair, an attribute that is not named, or concepts of no category.
    """
    own = tomllib.loads(
        resources.files(__package__).joinpath("data/choices.toml").read_text(encoding="utf-8")
    )
    if path is None:
        return _checked(own, "the built-in prompts")
    text = read_text(Path(path), "choices", "give a TOML file of prompts")
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no TOML file: {error}") from error
    unknown = sorted(set(given) - set(own))
    if unknown:
        raise InputError(f"{path}: there is no key {unknown[0]!r}: use {', '.join(own)}")
    tables = {
        key: {**own[key], **value}
        for key, value in given.items()
        if isinstance(value, dict) and isinstance(own[key], dict)
    }
    return _checked({**own, **given, **tables}, str(path))


def _checked(given: Mapping[str, Any], where: str) -> ChoicePrompts:
    for name, text in given.items():
        if name in _TEXTS and not isinstance(text, str):
            raise InputError(f"{where}: {name} is {text!r}, and must be a text")
    try:
        lists = {f"templates.{kind}": texts for kind, texts in given["templates"].items()}
        lists |= {f"free.{kind}": texts for kind, texts in given["free"].items() if kind != "system"}
        for attribute, meanings in given["said"].items():
            lists |= {f"said.{attribute}.{means}": words for means, words in meanings.items()}
        for name, one in given["concepts"].items():
            lists |= {f"concepts.{name}.{kind}": texts for kind, texts in one.items()}
        for name, texts in lists.items():
            if (
                not isinstance(texts, list)
                or not texts
                or not all(isinstance(t, str) and t.strip() for t in texts)
            ):
                raise InputError(f"{name} must be a list of at least one text, none of them empty")
        found = ChoicePrompts(
            system=str(given["system"]),
            one_image=str(given["one_image"]),
            two_images=str(given["two_images"]),
            named=str(given["named"]),
            templates={kind: tuple(map(str, texts)) for kind, texts in given["templates"].items()},
            separator=str(given["separator"]),
            options={
                attribute: tuple((str(text), str(means)) for text, means in pairs)
                for attribute, pairs in given["options"].items()
            },
            concepts={
                name: {kind: tuple(map(str, texts)) for kind, texts in one.items()}
                for name, one in given["concepts"].items()
            },
            free_system=str(given["free"].get("system", "")),
            free={kind: tuple(map(str, texts)) for kind, texts in given["free"].items() if kind != "system"},
            said={
                attribute: {means: tuple(map(str, words)) for means, words in one.items()}
                for attribute, one in given["said"].items()
            },
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: {error}: write it as the built-in prompts are") from error
    for images, text in ((1, found.one_image), (2, found.two_images)):
        if text.count(PLACEHOLDER) != images:
            raise InputError(f"{where}: {text!r} must have {images} times {PLACEHOLDER}")
    for attribute, pairs in found.options.items():
        meanings = {means for _, means in pairs}
        if len({text for text, _ in pairs}) < len(pairs) or "" in dict(pairs):
            raise InputError(
                f"{where}: the options of {attribute} must be different texts, none of them empty"
            )
        if FAIR not in meanings or len(meanings) != 3:
            raise InputError(
                f"{where}: the options of {attribute} mean {', '.join(sorted(meanings))}: they must mean fair and two"
                " values"
            )
    try:
        named = found.named.format(value="©")
    except (KeyError, IndexError, ValueError, AttributeError):
        named = ""
    if "©" not in named:
        raise InputError(
            f"{where}: {found.named!r} must have {{value}}, and no other field: it names the attribute"
        )
    for name, one in found.concepts.items():
        for kind in one:
            if kind not in CATEGORIES:
                raise InputError(
                    f"{where}: {kind!r} is no category of concepts.{name}: use {', '.join(CATEGORIES)}"
                )
    for templates, listing in ((found.templates, True), (found.free, False)):
        for kind, texts in templates.items():
            if kind not in CATEGORIES:
                raise InputError(
                    f"{where}: {kind!r} is no category of templates: use {', '.join(CATEGORIES)}"
                )
            for text in texts:
                _check_template(text, f"{where}: the template {text!r}", options=listing)
    return found


def _check_template(text: str, where: str, *, options: bool) -> None:
    fields = {"attribute": "gender", "concept": "©", "a_concept": "©", "options": "®"}
    try:
        filled = text.format(**fields)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise InputError(f"{where} has a field that isn't one of {', '.join(fields)} ({error})") from error
    if "©" not in filled or (options and "®" not in filled):
        more = ", and {options}" if options else ""
        raise InputError(f"{where} must have {{concept}} or {{a_concept}}{more}")
