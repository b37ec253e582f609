"""Annotation files: ours are right, what is wrong is told with its place, and nothing is merged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tasks.test_people import draw

from equipoise.errors import InputError
from equipoise.metrics import jaccard, krippendorff_alpha
from equipoise.tasks import DIMENSIONS, load_annotations
from equipoise.tasks.culture import EXAMPLES

MATERIAL = "material culture"


def record(annotator: str, community: str, labels: list[str]) -> dict[str, Any]:
    common = {"subject": "lamp", "dimension": MATERIAL, "evidence": "the flame", "confidence": 0.5}
    return {**common, "annotator": annotator, "community": community, "labels": labels}


def small() -> dict[str, Any]:
    both = ["light", "dress"]
    return {
        "schema": 1,
        "note": "for a test",
        "subjects": {"lamp": {"description": "a lamp"}},
        "labels": {MATERIAL: both, **{d.name: ["x"] for d in DIMENSIONS if d.name != MATERIAL}},
        "records": [record("a", "here", ["light"]), record("b", "here", both), record("c", "there", [])],
    }


def written(folder: Path, change: Callable[[dict[str, Any]], Any] = lambda _: None) -> str:
    given = small()
    change(given)
    path = folder / "own.json"
    path.write_text(json.dumps(given))
    return str(path)


def test_records_are_kept_apart(tmp_path: Path) -> None:
    found = load_annotations(written(tmp_path))
    assert found.communities == ("here", "there") and len(found.records) == 3
    assert found.share("lamp", MATERIAL, "light", "here") == 1
    assert found.share("lamp", MATERIAL, "dress", "here") == 0.5
    assert found.share("lamp", MATERIAL, "light", "there") == 0
    assert found.share("lamp", "temporality", "x", "here") is None
    assert found.values(MATERIAL) == [[frozenset({"light"}), frozenset({"light", "dress"}), frozenset()]]
    items = found.items(images=False)
    assert [item.metadata["label"] for item in items] == ["light", "dress"]
    assert items[0].prompt[0]["content"].startswith("Imagine this: a lamp\n")  # type: ignore[index]


def test_an_image_is_shown_to_who_sees(tmp_path: Path) -> None:
    draw(tmp_path / "lamp.png", 0)
    found = load_annotations(written(tmp_path, lambda g: g["subjects"]["lamp"].update(image="lamp.png")))
    first = found.items(images=True)[0]
    assert len(first.images) == 1 and "<image>" in first.prompt[0]["content"]  # type: ignore[index]
    assert not found.items(images=False)[0].images


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda g: g.update(schema=2), "schema is 2"),
        (lambda g: g.pop("note"), "'note' is missing"),
        (lambda g: g.update(extra=1), "there is no key 'extra'"),
        (lambda g: g["labels"].pop("temporality"), "'temporality' is missing"),
        (lambda g: g["labels"].update({MATERIAL: ["a", "a"]}), "list of one or more different texts"),
        (lambda g: g["subjects"]["lamp"].update(description=" "), "description must be a text"),
        (lambda g: g["subjects"]["lamp"].update(image="none.png"), r"none\.png"),
        (lambda g: g["records"][1].update(subject="shoe"), r"records\[1\]: there is no subject 'shoe'"),
        (lambda g: g["records"][1].update(dimension="shape"), "there is no dimension 'shape'"),
        (lambda g: g["records"][1].update(labels=["heat"]), "'heat' is no label of material culture"),
        (lambda g: g["records"][1].update(evidence=""), "labels need evidence"),
        (lambda g: g["records"][1].update(confidence=1.5), "confidence must be a number from 0 to 1"),
        (lambda g: g["records"][1].update(confidence=True), "confidence must be a number from 0 to 1"),
        (lambda g: g["records"][1].update(annotator="c"), "annotator 'c' is in two communities"),
        (lambda g: g["records"][1].update(annotator="a"), "'a' annotated this dimension of 'lamp' before"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, change: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as error:
        load_annotations(written(tmp_path, change))
    assert "\n" not in str(error.value)
    load_annotations(written(tmp_path))


def test_our_examples_have_all_dimensions_and_say_what_they_are() -> None:
    for name in EXAMPLES:
        found = load_annotations(name)
        assert {one.dimension for one in found.records} == {one.name for one in DIMENSIONS}
        assert len(found.subjects) == 5 and len(found.communities) == 2 and "nobody annotated" in found.note
    with pytest.raises(InputError, match="example-objects"):
        load_annotations("nowhere.json")


def test_an_examples_alpha_by_hand() -> None:
    """Symbolic encoding of the tea and the envelope alone, worked out on paper.

    tea: {w}, {w}, {}, {}. envelope: {g} four times. Of the tea's 12 ordered pairs 8 differ, fully; of the envelope's
    none: D_o = (8 / 3 + 0) / 8 = 1/3. Of the 56 ordered pairs of all 8 values (2 w, 2 empty, 4 g) all but 2 + 2 + 12
    differ, fully: D_e = 40 / 56 = 5/7. α = 1 − (1/3) / (5/7) = 8/15.
    """
    tea, envelope = (load_annotations(name) for name in EXAMPLES)
    units = [
        tea.values("symbolic encoding")[list(tea.subjects).index("tea")],
        envelope.values("symbolic encoding")[list(envelope.subjects).index("envelope")],
    ]
    assert krippendorff_alpha(units, jaccard) == pytest.approx(8 / 15)
