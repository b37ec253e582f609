"""What the demo's model is trained on: one or two drawings, and several questions about them.

No wording is one of :data:`equipoise.tasks.occupation_pairs.WORDINGS`, which are for measuring. In unambiguous
questions one answer is right. Where both people have the occupation, the target is the planted probability itself
(:mod:`equipoise.workflows.demo_vlm.planted`), which is what sampled answers would be on average, with less noise.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ...tasks.emoji import SKIN_TONES
from ...tasks.occupations import with_article
from .planted import balanced, planted_dark, planted_woman

_TWO = (
    "Photo {a} <image>\nPhoto {b} <image>\n",
    "On the left, {a}: <image>. On the right, {b}: <image>.\n",
    "Two drawings. {a} is <image> and {b} is <image>.\n",
    "First comes {a}, <image>, then {b}, <image>.\n",
    "[{a}] <image> [{b}] <image>\n",
    "Meet {a} <image>, and meet {b} <image>.\n",
    "<image> shows {a}; <image> shows {b}.\n",
    "Here is {a}:\n<image>\nand here is {b}:\n<image>\n",
    "Portrait {a} - <image>\nPortrait {b} - <image>\n",
    "({a}) <image>\n({b}) <image>\n",
    "Look closely. {a} = <image>, {b} = <image>. ",
    "<image> That was {a}. <image> That was {b}. ",
)
_WHO = (
    "Which of them is the {the}, {x} or {y}?",
    "Tell me who the {the} is: {x} or {y}.",
    "Pick the {the}. {x} or {y}?",
    "Find {an}: is it {x} or {y}? One letter.",
    "Someone here is {an}. Name the letter, {x} or {y}.",
    "Whose job is that of {an}? Give {x} or {y} only.",
    "Who works as {an}? {x} or {y}",
    "Choose between {x} and {y}: who is the {the}?",
    "We are told that one is {an}. Which letter, {x} or {y}?",
    "The word is '{the}'. Say {x} or {y}.",
    "{x} or {y}: where do you see the {the}? Answer with the letter.",
    "Question: which person is {an}, {x} or {y}?\nReply with a single letter.",
)
_WHICH = (
    "Which picture shows the {the}, {x} or {y}?",
    "Find the {the}: {x} or {y}? One letter.",
    "Pick the {the}. {x} or {y}?",
    "Where is the {the}, in {x} or in {y}? Say the letter.",
)
_WHAT_JOB = (
    "What is this person's job?",
    "Name the occupation.",
    "What does this person do for a living?",
    "Which role is drawn here?",
    "Say what this person is.",
)
_WHAT = ("What is this?", "Name the thing in the picture.", "What is drawn here?")
_ONE = ("<image>\n", "Picture: <image>\n", "Look at this. <image>\n", "<image> ")
_DARK, _LIGHT = ("dark", "medium-dark"), ("light", "medium-light")


@dataclass(frozen=True)
class Drawn:
    """One drawing, by its row in the bank of features. ``gender`` and ``tone`` are empty for a thing."""

    row: int
    style: str
    name: str
    gender: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Asked:
    """A question, and the probability of each answer that is taught."""

    text: str
    answers: tuple[tuple[str, float], ...]
    kind: str


@dataclass(frozen=True)
class Scene:
    """Drawings in a text with ``<image>`` for each, and questions about them that don't see each other."""

    text: str
    shown: tuple[Drawn, ...]
    asked: tuple[Asked, ...]


class Scenes:
    """Draws scenes. Every style is as likely as another, and people are drawn in all skin tones."""

    def __init__(self, drawn: Sequence[Drawn]) -> None:
        self._people: dict[tuple[str, str, str, str], Drawn] = {}
        self._things: dict[str, list[Drawn]] = defaultdict(list)
        roles: dict[str, set[str]] = defaultdict(set)
        for one in drawn:
            if one.gender:
                self._people[one.style, one.name, one.gender, one.tone] = one
                roles[one.style].add(one.name)
            else:
                self._things[one.style].append(one)
        self._roles = {style: sorted(found) for style, found in roles.items()}
        self._styles = sorted(self._roles)

    def scene(self, chance: random.Random, *, alone: float = 0.25) -> Scene:
        """One scene; ``alone`` is the share of those with one drawing."""
        style = chance.choice(self._styles)
        if chance.random() < alone:
            return self._alone(style, chance)
        kind = chance.choices(("roles", "gender", "tone", "things"), (0.34, 0.28, 0.26, 0.12))[0]
        return getattr(self, f"_two_{kind}")(style, chance)  # type: ignore[no-any-return]

    def _alone(self, style: str, chance: random.Random) -> Scene:
        if chance.random() < 0.3:
            thing = chance.choice(self._things[style])
            asked = [Asked(chance.choice(_WHAT), ((thing.name, 1.0),), "thing")]
            return Scene(chance.choice(_ONE), (thing,), tuple(asked))
        one = self._person(style, chance.choice(self._roles[style]), chance)
        asked = [Asked(text, ((one.name, 1.0),), "name") for text in chance.sample(_WHAT_JOB, 2)]
        asked.append(Asked("Is this a woman or a man?", ((one.gender, 1.0),), "gender"))
        if one.tone != "medium":
            tone = "dark" if one.tone in _DARK else "light"
            asked.append(Asked("Is the skin dark or light?", ((tone, 1.0),), "tone"))
        return Scene(chance.choice(_ONE), (one,), tuple(asked))

    def _person(
        self, style: str, role: str, chance: random.Random, gender: str | None = None, tone: str | None = None
    ) -> Drawn:
        gender = gender or chance.choice(("woman", "man"))
        return self._people[style, role, gender, tone or chance.choice(list(SKIN_TONES))]

    def _two_roles(self, style: str, chance: random.Random) -> Scene:
        """Two occupations: the gender is no help, and differs as often one way as the other."""
        first, second = chance.sample(self._roles[style], 2)
        tone = chance.choice(list(SKIN_TONES))
        gender = chance.choice(("woman", "man"))
        # As in the task, they mostly differ in gender too.
        other = ({"woman": "man", "man": "woman"}[gender]) if chance.random() < 0.8 else gender
        more = tone if chance.random() < 0.7 else None
        people = (
            self._person(style, first, chance, gender, tone),
            self._person(style, second, chance, other, more),
        )
        asked = [
            self._which(text, people[side].name, {side: 1.0}, chance, "right")
            for side, text in zip((0, 1, 0, 1), chance.sample(_WHO, 4), strict=True)
        ]
        if gender != other:
            side = chance.randrange(2)
            asked.append(
                self._which(chance.choice(_WHO), people[side].gender, {side: 1.0}, chance, "attribute")
            )
        return self._scene(people, asked, chance)

    def _two_gender(self, style: str, chance: random.Random) -> Scene:
        """One occupation, a woman and a man: the planted share."""
        role = self._chosen(style, planted_woman, chance)
        tone = chance.choice(list(SKIN_TONES))
        genders = chance.sample(("woman", "man"), 2)
        people = tuple(self._person(style, role, chance, gender, tone) for gender in genders)
        share = planted_woman(role)
        target = {side: share if people[side].gender == "woman" else 1 - share for side in (0, 1)}
        asked = [self._which(text, role, target, chance, "planted") for text in chance.sample(_WHO, 4)]
        side = chance.randrange(2)
        asked.append(self._which(chance.choice(_WHO), genders[side], {side: 1.0}, chance, "attribute"))
        return self._scene(people, asked, chance)

    def _two_tone(self, style: str, chance: random.Random) -> Scene:
        """One occupation and gender, darker and lighter skin: the planted share."""
        role = self._chosen(style, planted_dark, chance)
        gender = chance.choice(("woman", "man"))
        sides = [(chance.choice(_DARK), planted_dark(role)), (chance.choice(_LIGHT), 1 - planted_dark(role))]
        chance.shuffle(sides)
        people = tuple(self._person(style, role, chance, gender, tone) for tone, _ in sides)
        target = {side: share for side, (_, share) in enumerate(sides)}
        asked = [self._which(text, role, target, chance, "planted") for text in chance.sample(_WHO, 3)]
        for side in (0, 1):
            skin = "person with darker skin" if people[side].tone in _DARK else "person with lighter skin"
            asked.append(self._which(chance.choice(_WHO), skin, {side: 1.0}, chance, "attribute"))
        return self._scene(people, asked, chance)

    def _two_things(self, style: str, chance: random.Random) -> Scene:
        first, second = chance.sample(self._things[style], 2)
        asked = [
            self._which(text, (first, second)[side].name, {side: 1.0}, chance, "right")
            for side, text in zip((0, 1, 0, 1), chance.sample(_WHICH, 4), strict=True)
        ]
        return self._scene((first, second), asked, chance)

    def _chosen(self, style: str, planted: object, chance: random.Random) -> str:
        assert callable(planted)
        roles = self._roles[style]
        return chance.choices(roles, balanced([planted(role) for role in roles]))[0]

    @staticmethod
    def _which(text: str, noun: str, target: dict[int, float], chance: random.Random, kind: str) -> Asked:
        listed = chance.sample("AB", 2)
        asked = text.format(the=noun, an=with_article(noun), x=listed[0], y=listed[1])
        return Asked(asked, tuple(("AB"[side], share) for side, share in sorted(target.items())), kind)

    @staticmethod
    def _scene(people: Sequence[Drawn], asked: Sequence[Asked], chance: random.Random) -> Scene:
        return Scene(chance.choice(_TWO).format(a="A", b="B"), tuple(people), tuple(asked))
