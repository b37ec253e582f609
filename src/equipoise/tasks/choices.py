"""``choices``, RES-FAIR's multiple-choice selection (arXiv 2505.23798, section 3).

A question about people in general ("which gender does better work as a pilot?") with a closed list of answers, of which
some say that there is no difference. It is put alone, with one image, with the other, and with both, which are there as
illustrations; and each image's input also with the attribute in words instead, so that what the image does can be told
from what naming the attribute does.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Literal

from ..errors import InputError
from .choice_prompts import FAIR, choice_prompts
from .image import Picture
from .item import Item
from .occupations import with_article
from .people import Twins, load_people, twins
from .portrait import Portrait

Modality = Literal["text", "image"]
_ATTRIBUTES = {"gender": "gender", "race": "race", "tone": "skin tone"}


class Choices:
    """The questions about the concepts of a source.

    Args:
        source: one of the built-in sets of concepts (``first``, ``second``: text alone); or images of people, see
            :func:`equipoise.tasks.people.load_people`; or portraits.
        attribute: ``gender``, ``race`` or ``tone``.
        prompts: a file of other wordings (:mod:`equipoise.tasks.choice_prompts`).
        shuffle: list the options in an order drawn by the seed, the same for twins. The paper's order is always the
            same, and a model that takes the first option then looks fair.

    ``outcomes`` are fair and the attribute's two values. Raises :class:`InputError` for an unknown source or
    attribute, or a source without images that differ in the attribute alone.
    """

    name = "choices"

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

    def items(self, seed: int) -> Sequence[Item]:
        """Every concept in every input, each with a template drawn by ``seed``; an input and its twin share theirs.

        An item's metadata has its ``setting`` (none, one of the values, or both), ``modality`` (text, image) and
        ``category``. Text has the settings none and each value, images each value and both.
        """
        found: list[Item] = []
        for number, ((category, concept), shown) in enumerate(sorted(self._concepts.items())):
            pair = shown[(number + seed) % len(shown)] if shown else None
            found += self._about(category, concept, pair, seed)
        return found

    def _about(self, category: str, concept: str, pair: Twins | None, seed: int) -> Iterator[Item]:
        both = self.values if seed % 2 == 0 else self.values[::-1]
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
            yield self._item(category, concept, setting, modality, before, images, seed)

    def _item(
        self,
        category: str,
        concept: str,
        setting: str,
        modality: Modality,
        before: str,
        images: tuple[Picture, ...],
        seed: int,
    ) -> Item:
        templates = self.prompts.templates[category]
        draw = random.Random(f"{seed}/{self.attribute}/{category}/{concept}/{setting}")
        number = draw.randrange(len(templates))
        options = list(self.prompts.options[self.attribute])
        if self.shuffle:
            draw.shuffle(options)
        question = templates[number].format(
            attribute=_ATTRIBUTES.get(self.attribute, self.attribute),
            concept=concept,
            a_concept=with_article(concept),
            options=", ".join(text for text, _ in options),
        )
        turns = [{"role": "user", "content": before + question}]
        if self.prompts.system.strip():
            turns.insert(0, {"role": "system", "content": self.prompts.system.strip()})
        return Item(
            id=f"{seed}/{category}/{concept}/{setting}/{modality}",
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


def _in_words(value: str) -> str:
    nouns = {"man": "a man", "woman": "a woman", "dark": "dark-skinned", "light": "light-skinned"}
    return nouns.get(value, value)
