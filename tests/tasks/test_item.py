"""An item refuses what does not fit together, in words; a fingerprint notices every word."""

import dataclasses
from typing import Any

import pytest
from vlms import picture

from equipoise.errors import InputError
from equipoise.tasks import FreeTextItem, Item, fingerprint

GOOD: dict[str, Any] = {
    "id": "one",
    "prompt": "The cook said that",
    "options": (" he", " she"),
    "outcomes": ("pro", "anti"),
    "part": "ambiguous",
    "answer": None,
    "groups": ("cook",),
    "template": "t",
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"options": (" he",), "outcomes": ("pro",)}, "two or more distinct"),
        ({"options": (" he", " he")}, "two or more distinct"),
        ({"options": (" he", "")}, "non-empty"),
        ({"outcomes": ("pro",)}, "one outcome an option"),
        ({"part": "vague"}, "part must be one of"),
        ({"answer": 0}, "an ambiguous one must have None"),
        ({"part": "unambiguous"}, "needs the index"),
        ({"part": "unambiguous", "answer": 2}, "no index into 2 options"),
        ({"part": "unambiguous", "answer": -1}, "no index into 2 options"),
        ({"groups": ()}, "at least one group"),
        ({"outcomes": ("pro", "pro")}, "all options of an ambiguous item mean 'pro'"),
        ({"groups": "cook"}, "groups must be a tuple of texts, got 'cook'"),
        ({"groups": (7,)}, "groups must be a tuple of texts"),
        ({"groups": None}, "groups must be a tuple of texts"),
        ({"options": "no"}, "options must be a tuple of texts"),
        ({"outcomes": "pa"}, "outcomes must be a tuple of texts"),
        ({"template": None}, "template must be a text"),
        ({"part": "unambiguous", "answer": True}, "answer must be the index"),
        ({"part": "unambiguous", "answer": "0"}, "answer must be the index"),
        ({"prompt": None}, "prompt must be a text, or a tuple of messages"),
        ({"prompt": ()}, "prompt must be a text, or a tuple of messages"),
        ({"prompt": ({"role": "user"},)}, "prompt must be a text, or a tuple of messages"),
        ({"target": (0.5, 0.5)}, "a target gives each outcome"),
        ({"target": {"pro": "half", "anti": 0.5}}, "a target gives each outcome"),
        ({"target": {"pro": float("nan"), "anti": 0.5}}, "a target gives each outcome"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], says: str) -> None:
    Item(**GOOD)
    with pytest.raises(InputError, match=says) as caught:
        Item(**GOOD | change)
    assert str(caught.value).startswith("item 'one': ")
    assert "\n" not in str(caught.value)


def test_an_unambiguous_items_options_may_share_one_outcome() -> None:
    Item(**GOOD | {"outcomes": ("pro", "pro"), "part": "unambiguous", "answer": 0})


def test_items_with_metadata_go_into_sets() -> None:
    item = Item(**GOOD, metadata={"seen": [1, 2]})
    assert len({item, dataclasses.replace(item)}) == 1


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Item)])
def test_the_fingerprint_notices_each_field(field: str) -> None:
    item = Item(**GOOD)
    other: dict[str, Any] = {
        "id": "two",
        "prompt": ({"role": "user", "content": "Who?"},),
        "options": (" she", " he"),
        "outcomes": ("anti", "pro"),
        "part": "unambiguous",
        "answer": 0,
        "groups": ("baker",),
        "template": "u",
        "terminator": ".",
        "metadata": {"x": 1},
        "images": (picture(0),),
        "target": {"pro": 0.7, "anti": 0.3},
    }
    if field == "images":
        item = dataclasses.replace(item, prompt="<image> Who?")
    change = {field: other[field]}
    if field in ("part", "answer"):  # neither may change alone
        change = {"part": "unambiguous", "answer": 0 if field == "part" else 1}
    assert fingerprint([item]) == fingerprint([dataclasses.replace(item)])
    assert fingerprint([item]) != fingerprint([dataclasses.replace(item, **change)])


def test_the_fingerprint_notices_order_and_number() -> None:
    first, second = FreeTextItem("a", "Hello", "g"), FreeTextItem("b", "World", "g")
    prints = [fingerprint(items) for items in ([], [first], [second], [first, second], [second, first])]
    assert len(set(prints)) == 5
    assert all(len(text) == 64 for text in prints)
