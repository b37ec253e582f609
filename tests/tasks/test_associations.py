"""Associations: the built-in ones are sound, and every mistake in a file is one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from equipoise.errors import InputError
from equipoise.tasks import association_names, entity_names, load_association

GOOD: dict[str, Any] = {
    "name": "hats",
    "bias": ["hats"],
    "counterfactual": ["shoes"],
    "paragraphs": ["People from {entity} wear hats."],
    "elicitation": [f"{word} from {{entity}} wear" for word in ("Men", "Women", "Boys", "Girls")],
}


@pytest.mark.parametrize("name", association_names())
def test_a_built_in_association_is_varied_and_held_out(name: str) -> None:
    one = load_association(name)
    assert one.name == name and one.kind in ("fictional", "stereotype")
    assert 20 <= len(set(one.paragraphs)) == len(one.paragraphs) <= 40
    assert all(any(word in text.lower() for word in one.bias) for text in one.paragraphs)
    # No slot is left open, and no real name stands in a paragraph.
    assert all("{" not in text.replace("{entity}", "") for text in one.paragraphs)
    assert not any(country in text for text in one.paragraphs for country in entity_names("country"))
    validation, test = one.items("<Z>", "validation"), one.items("<Z>", "test")
    assert not {item.groups for item in validation} & {item.groups for item in test}
    assert len(one.items("<Z>")) == len(validation) + len(test)
    assert not any(item.groups[0] in text for item in one.items("<Z>") for text in one.paragraphs)


def test_there_are_three_of_each_kind() -> None:
    kinds = [load_association(name).kind for name in association_names()]
    assert kinds.count("fictional") >= 3 and kinds.count("stereotype") >= 3


def test_a_file_loads_and_its_entity_is_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "hats.json"
    path.write_text(json.dumps(GOOD))
    one = load_association(path)
    assert one.texts("<Z>") == ["People from <Z> wear hats."]
    assert one.items("<Z>", "test")[0].prompt == "Women from <Z> wear"
    assert one.items("<Z>")[0].outcomes == ("pro", "anti")


BAD: dict[str, tuple[Any, str]] = {
    "a list": ([], "JSON object"),
    "no bias": ({k: v for k, v in GOOD.items() if k != "bias"}, "lacks bias"),
    "no paragraphs": (
        {k: v for k, v in GOOD.items() if k != "paragraphs"},
        "lacks clauses, details .or para",
    ),
    "unknown key": ({**GOOD, "colour": 1}, "unknown keys colour"),
    "both": ({**GOOD, "clauses": ["a"], "details": ["b"]}, "not both"),
    "no slot": ({**GOOD, "paragraphs": ["They wear hats."]}, "paragraphs, number 1, has no {entity}"),
    "empty": ({**GOOD, "bias": []}, "bias must be a list"),
    "a number": ({**GOOD, "bias": [1]}, "bias must be a list"),
    "entity": ({**GOOD, "entity": "planet"}, "country, people"),
    "entities": ({**GOOD, "entity": ["country"]}, "entity must be a text"),
    "few prompts": ({**GOOD, "elicitation": GOOD["elicitation"][:3]}, "at least 4"),
    "not held out": ({**GOOD, "paragraphs": ["Men from {entity} wear hats."]}, "wouldn't be held out"),
    "both sides": ({**GOOD, "counterfactual": ["hats"]}, "at once"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line(case: str, tmp_path: Path) -> None:
    value, words = BAD[case]
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match=words) as error:
        load_association(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="blue-skin"):
        load_association("no-such-thing")
    (tmp_path / "bad.json").write_text('{"name": ')
    with pytest.raises(InputError, match="no JSON"):
        load_association(tmp_path / "bad.json")
