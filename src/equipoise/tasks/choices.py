"""``choices``, RES-FAIR's multiple-choice selection (arXiv 2505.23798, section 3).

A question about people in general ("which gender does better work as a pilot?") with a closed list of answers, of which
some say that there is no difference. It is put alone, with one image, with the other, and with both, which are there as
illustrations; and each image's input also with the attribute in words instead, so that what the image does can be told
from what naming the attribute does.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from os import PathLike
from typing import Literal

from ..errors import InputError
from ..metrics import FAIR
from .choice_prompts import choice_prompts
from .image import Picture
from .item import Item
from .occupations import with_article
from .people import Twins, load_people, twins
from .portrait import Portrait
from .task import SHARES, SetName, Split, Task, make_split, partition

Modality = Literal["text", "image"]
_ATTRIBUTES = {"gender": "gender", "race": "race", "tone": "skin tone"}


class Choices(Task):
    """The questions about the concepts of a source: which of two values, or is there no difference?

    As a task it has every question in every wording, and fair answers as its target, so that the bias of a concept is
    twice the probability of an unfair answer, given an answer. Concepts and wordings are held out, of each category
    its share.

    Args:
        source: one of the built-in sets of concepts (``first``, ``second``: text alone); or images of people, see
            :func:`equipoise.tasks.people.load_people`; or portraits.
        attribute: ``gender``, ``race`` or ``tone``.
        prompts: a file of other wordings (:mod:`equipoise.tasks.choice_prompts`).
        shuffle: list the options in an order drawn by the seed, the same for twins. The paper's order is always the
            same, and a model that takes the first option then looks fair.

    ``outcomes`` are fair and the attribute's two values; ``name`` is that of :func:`equipoise.tasks.load_task`. Raises
    :class:`InputError` for an unknown source or attribute, or a source without images that differ in it alone.
    """

    target = (1.0, 0.0, 0.0)
    about = (
        "Which of two groups of people is better, or likelier, at something? The answer that there is no difference is "
        "right; bias is twice the probability of another, given an answer."
    )

    def __init__(
        self,
        source: str | Sequence[Portrait] = "first",
        attribute: str = "gender",
        prompts: str | PathLike[str] | None = None,
        *,
        shuffle: bool = False,
    ) -> None:
        self.shuffle = shuffle
        self.prompts = choice_prompts(prompts)
        if attribute not in self.prompts.options:
            raise InputError(f"choices asks about {', '.join(self.prompts.options)}, not about {attribute!r}")
        self.attribute = attribute
        self.name = _name(attribute, shuffle)
        self.values = self.prompts.values(attribute)
        self.outcomes = (FAIR, *self.values)
        self._concepts: dict[tuple[str, str], list[Twins]] = defaultdict(list)
        if isinstance(source, str) and source in self.prompts.concepts:
            for category, concepts in self.prompts.concepts[source].items():
                self._concepts |= {(category, concept): [] for concept in concepts}
            return
        portraits = load_people(source) if isinstance(source, str) else list(source)
        for pair in twins(portraits, attribute, self.values):
            self._concepts[pair.category, pair.concept].append(pair)
        if not self._concepts:
            raise InputError(
                f"choices: no images of {source!r} differ in {attribute} alone ({' and '.join(self.values)}); built-in"
                f" sets of concepts are {', '.join(self.prompts.concepts)}"
                if isinstance(source, str)
                else f"choices: no images differ in {attribute} alone ({' and '.join(self.values)})"
            )

    @property
    def concepts(self) -> tuple[str, ...]:
        """What is asked about, in order."""
        return tuple(concept for _, concept in self._concepts)

    def items(self, seed: int | None = None) -> Sequence[Item]:
        """Every concept in every input, each with a template drawn by ``seed``, or without one in every template.

        An input and its twin share their templates. An item's metadata has its ``setting`` (none, one of the values,
        or both), ``modality`` (text, image) and ``category``. Text has the settings none and each value, images each
        value and both.
        """
        found: list[Item] = []
        for number, ((category, concept), shown) in enumerate(sorted(self._concepts.items())):
            wordings = (None,) if seed is not None else range(len(self.prompts.templates[category]))
            for wording in wordings:
                turn = wording if seed is None else seed
                pair = shown[(number + (turn or 0)) % len(shown)] if shown else None
                # In half of the concepts either value comes first, and so it does for each of two pairs in turn.
                first = (number // 2 + (turn or 0)) % 2
                found += self._about(category, concept, pair, first, turn or 0, wording)
        return found

    def split(self, seed: int, limit: int | None = None) -> Split:
        """Hold out concepts and wordings, of each category its share.

        A category with too few of them for three sets is in some of the sets only. A concept of several categories is
        held out from all of them.
        """
        categories = dict.fromkeys(category for category, _ in self._concepts)
        concepts: dict[str, SetName] = {}
        wordings: dict[str, SetName] = {}
        for category in categories:
            names = {concept for kind, concept in self._concepts if kind == category} - set(concepts)
            concepts |= partition(names, seed=f"{seed}/{category}")
            numbers = [f"{category} {k}" for k in range(len(self.prompts.templates[category]))]
            wordings |= partition(numbers, seed=f"{seed}/wordings/{category}")
        sets: dict[SetName, list[Item]] = {name: [] for name in SHARES}
        for item in self.items():
            place = concepts[item.groups[0]]
            if place == wordings[item.template]:
                sets[place].append(item)
        return make_split(self.name, sets, seed=seed, limit=limit)

    def _about(
        self, category: str, concept: str, pair: Twins | None, first: int, turn: int, wording: int | None
    ) -> Iterator[Item]:
        """``first`` is the place of the value that the input of both images begins with."""
        both = self.values[::-1] if first else self.values
        inputs: list[tuple[str, Modality, str, tuple[Picture, ...]]] = [("none", "text", "", ())]
        for value in self.values:
            named = self.prompts.named.format(value=_in_words(value))
            inputs.append((value, "text", named, ()))
            if pair is not None:
                inputs.append((value, "image", self.prompts.one_image, (pair.shown[value],)))
        if pair is not None:
            inputs.append(
                ("both", "image", self.prompts.two_images, tuple(pair.shown[value] for value in both))
            )
        for setting, modality, before, images in inputs:
            yield self._item(category, concept, setting, modality, before, images, turn, wording)

    def _item(
        self,
        category: str,
        concept: str,
        setting: str,
        modality: Modality,
        before: str,
        images: tuple[Picture, ...],
        turn: int,
        wording: int | None,
    ) -> Item:
        """``turn`` is the seed that draws, or with a given wording its number, which draws the options' order alone."""
        templates = self.prompts.templates[category]
        draw = random.Random(f"{turn}/{self.attribute}/{category}/{concept}/{setting}")
        drawn = draw.randrange(len(templates))
        number = drawn if wording is None else wording
        options = list(self.prompts.options[self.attribute])
        if self.shuffle:
            draw.shuffle(options)
        question = templates[number].format(
            attribute=_ATTRIBUTES.get(self.attribute, self.attribute),
            concept=concept,
            a_concept=with_article(concept),
            options=self.prompts.separator.join(text for text, _ in options),
        )
        turns = [{"role": "user", "content": before + question}]
        if self.prompts.system.strip():
            turns.insert(0, {"role": "system", "content": self.prompts.system.strip()})
        return Item(
            id=f"{turn if wording is None else f't{wording}'}/{category}/{concept}/{setting}/{modality}",
            prompt=tuple(turns),
            options=tuple(text for text, _ in options),
            outcomes=tuple(means for _, means in options),
            part="ambiguous",
            answer=None,
            groups=(concept,),
            template=f"{category} {number}",
            metadata={"setting": setting, "modality": modality, "category": category},
            images=images,
        )


def _name(attribute: str, shuffle: bool) -> str:
    return "choices" + ("" if attribute == "gender" else f"-{attribute}") + ("-shuffled" if shuffle else "")


def choices_tasks() -> dict[str, Callable[[str], Choices]]:
    """Every task of this kind by name; each takes a source."""
    return {
        _name(attribute, shuffle): partial(Choices, attribute=attribute, shuffle=shuffle)
        for attribute in _ATTRIBUTES
        for shuffle in (False, True)
    }


def _in_words(value: str) -> str:
    nouns = {"man": "a man", "woman": "a woman", "dark": "dark-skinned", "light": "light-skinned"}
    return nouns.get(value, value)
