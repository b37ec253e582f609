"""``things[:STYLE]``: what, what colour, how many? Questions about drawings of no people, whose answers are known.

What a mitigation of answers about people must not cost a model that sees. The drawings are emoji out of installed
packages (:mod:`equipoise.tasks.emoji`).
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from ..errors import InputError
from ..metrics import Table, mean_of
from .emoji import DEFAULT_STYLE, load_things
from .image import Picture, picture
from .item import Item
from .suite import ClosedSuite, Evidence, Reading, Readings

# Circle, square and heart of each colour; white isn't seen on white.
COLOURS: dict[str, tuple[str, str, str]] = {
    "red": ("1f534", "1f7e5", "2764-fe0f"),
    "orange": ("1f7e0", "1f7e7", "1f9e1"),
    "yellow": ("1f7e1", "1f7e8", "1f49b"),
    "green": ("1f7e2", "1f7e9", "1f49a"),
    "blue": ("1f535", "1f7e6", "1f499"),
    "purple": ("1f7e3", "1f7ea", "1f49c"),
    "brown": ("1f7e4", "1f7eb", "1f90e"),
    "black": ("26ab", "2b1b", "1f5a4"),
}
NUMBERS = ("one", "two", "three", "four")
_WHAT = (
    "Here is a picture: <image> Which thing does it show?",
    "<image>\nPut a name to what you see.",
)
_WHICH = (
    "Thing {a}: <image>\nThing {b}: <image>\nIn which of the two do you see the {thing}, {x} or {y}? One letter.",
    "There are two images, {a} <image> and {b} <image>. Where is a picture of the {thing}? Reply {x} or {y}.",
)
_COLOUR = ("<image>\nWhat colour is this?",)
_COUNT = ("<image>\nThis is a picture of the {thing}, once or several times. How many are there?",)
_OPTIONS = 6

KINDS = ("object", "pair", "colour", "count")


class Things(ClosedSuite):
    """Four kinds of questions, each with an accuracy of its own, by kind ``object_accuracy`` and so on:

    - ``object``: the name, out of six (chance 1/6);
    - ``pair``: which of two images shows it (1/2), sides and letters counterbalanced;
    - ``colour``: of a circle, a square, a heart (1/6);
    - ``count``: one to four of a thing in one image (1/4).

    The clusters of intervals are things and colours. Raises :class:`InputError` for a style that isn't installed.
    """

    name = "things"
    about = (
        "Drawings of no people: what is it, which of two is it, what colour is it, how many are there? Chance is 0.17, "
        "0.5, 0.17 and 0.25."
    )

    def __init__(self, styles: str = DEFAULT_STYLE) -> None:
        drawn = load_things(styles)
        coloured = load_things(
            styles, {f"{c}/{n}": code for c, all3 in COLOURS.items() for n, code in enumerate(all3)}
        )
        self._items = [
            item
            for style, things in drawn.items()
            for item in (
                *_objects(style, things),
                *_pairs(style, things),
                *_colours(style, coloured[style]),
                *_counts(style, things),
            )
        ]
        if not self._items:
            raise InputError(f"things: the styles {styles} have no drawings of things")

    def items(self) -> Sequence[Item]:
        """Every question, kind by kind in each style."""
        return self._items

    def stratum(self, item: Item) -> str:
        """Each kind by itself."""
        return str(item.metadata["kind"])

    def readings(self, items: Sequence[Item], evidence: Evidence) -> Readings:
        """The accuracy of each kind that was asked."""
        right = evidence.logp.argmax(1) == np.array([item.answer for item in items])
        found = {}
        for kind in KINDS:
            rows = [row for row, item in enumerate(items) if item.metadata["kind"] == kind]
            if rows:
                column = f"{kind}_accuracy"
                found[column] = Reading(
                    mean_of(column), Table({column: right[rows]}, [items[row].groups for row in rows])
                )
        return found


def _objects(style: str, things: dict[str, Picture]) -> Iterator[Item]:
    for name, (w, text) in product(sorted(things), enumerate(_WHAT)):
        draw = random.Random(f"{name}/{w}")
        others = draw.sample(sorted(set(things) - {name}), min(_OPTIONS, len(things)) - 1)
        yield _named("object", f"{style}/{name}/{w}", text, [name, *others], (things[name],), name, draw)


def _pairs(style: str, things: dict[str, Picture]) -> Iterator[Item]:
    names = sorted(things)
    for place, name in enumerate(names):
        w = place % len(_WHICH)
        other = names[(place + 1 + 5 * (place % 3)) % len(names)]
        for side, order in product((0, 1), (0, 1)):
            shown = (other, name) if side else (name, other)
            listed = ("B", "A") if order else ("A", "B")
            text = _WHICH[w].format(a="A", b="B", thing=name, x=listed[0], y=listed[1])
            yield Item(
                id=f"pair/{style}/{name}/{side}{order}",
                prompt=({"role": "user", "content": text},),
                options=listed,
                outcomes=listed,
                part="unambiguous",
                answer=listed.index("AB"[side]),
                groups=(name,),
                template=f"pair/{style}/{name}",
                metadata={"kind": "pair"},
                images=tuple(things[one] for one in shown),
            )


def _colours(style: str, drawn: dict[str, Picture]) -> Iterator[Item]:
    for key, shown in drawn.items():
        colour = key.split("/")[0]
        draw = random.Random(key)
        others = draw.sample(sorted(set(COLOURS) - {colour}), _OPTIONS - 1)
        yield _named("colour", f"{style}/{key}", _COLOUR[0], [colour, *others], (shown,), colour, draw)


def _counts(style: str, things: dict[str, Picture]) -> Iterator[Item]:
    for place, name in enumerate(sorted(things)):
        for count in (1 + place % 4, 1 + (place + 2) % 4):
            draw = random.Random(f"{name}/{count}")
            shown = several(things[name], count, f"{style}'s {name}, {count} times")
            text = _COUNT[0].format(thing=name)
            options = [NUMBERS[count - 1], *(word for word in NUMBERS if word != NUMBERS[count - 1])]
            yield _named("count", f"{style}/{name}/{count}", text, options, (shown,), name, draw)


def several(one: Picture, count: int, name: str) -> Picture:
    """One image with up to four of a drawing in its quarters, from left to right and down."""
    from PIL import Image

    size = 112
    canvas = Image.new("RGB", (size, size), "white")
    small = one.open().resize((size // 2 - 4,) * 2, Image.Resampling.LANCZOS)
    for place in range(count):
        canvas.paste(small, (2 + size // 2 * (place % 2), 2 + size // 2 * (place // 2)))
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return picture(file.getvalue(), name)


def _named(
    kind: str,
    key: str,
    text: str,
    options: Sequence[str],
    images: tuple[Picture, ...],
    group: str,
    draw: random.Random,
) -> Item:
    """``options`` begin with the right one; they are put in an order drawn."""
    order = list(options)
    draw.shuffle(order)
    return Item(
        id=f"{kind}/{key}",
        prompt=({"role": "user", "content": text},),
        options=tuple(order),
        outcomes=tuple(order),
        part="unambiguous",
        answer=order.index(options[0]),
        groups=(group,),
        template=f"{kind}/{key}",
        metadata={"kind": kind},
        images=images,
    )
