"""Questions with known answers, from files in the published layouts; what is wrong with them is one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from tasks.test_people import draw

from equipoise.errors import InputError, InputWarning
from equipoise.tasks import Item, OpenQuestion, load_questions


def vqa(folder: Path, count: int = 6) -> str:
    """Questions about images 1 to ``count``; there is no image of the last."""
    (folder / "val2014").mkdir(parents=True)
    asked, answered = [], []
    for k in range(1, count + 1):
        if k < count:
            draw(folder / "val2014" / f"COCO_val2014_{k:012}.png", k)
        asked.append({"image_id": k, "question": f"What is {k}?", "question_id": 10 * k})
        answers = [
            {"answer": "red" if n < 6 else "blue", "answer_confidence": "yes", "answer_id": n}
            for n in range(10)
        ]
        answered.append({"image_id": k, "question_id": 10 * k, "answers": answers})
    (folder / "v2_OpenEnded_mscoco_val2014_questions.json").write_text(json.dumps({"questions": asked}))
    (folder / "v2_mscoco_val2014_annotations.json").write_text(json.dumps({"annotations": answered}))
    return f"vqa:{folder}"


def mmmu(folder: Path, file: str = "validation-00000-of-00001.parquet", **changes: Any) -> str:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    folder.mkdir(parents=True, exist_ok=True)
    draw(folder / "one.png", 1)
    shown = {"bytes": (folder / "one.png").read_bytes(), "path": None}
    row = {
        "id": "validation_Art_1",
        "question": "Who made <image 1>?",
        "options": "['Ann', 'Ben', 'Cai']",
        "image_1": shown,
        "answer": "B",
        "question_type": "multiple-choice",
    } | changes
    rows = [row, {**row, "id": "open", "question_type": "open", "answer": "x"}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / file)
    return f"mmmu:{folder}"


def test_vqa_files(tmp_path: Path) -> None:
    with pytest.warns(InputWarning, match="vqa: questions: 1 of 6 are left out: their images are not there"):
        kind, found = load_questions(vqa(tmp_path / "vqa"))
    assert kind == "vqa" and [one.id for one in found] == ["10", "20", "30", "40", "50"]
    one = found[2]
    assert isinstance(one, OpenQuestion) and one.humans == ("red",) * 6 + ("blue",) * 4 and one.group == "3"
    assert "What is 3?" in one.prompt[0]["content"] and one.images[0].path is not None  # type: ignore[index]
    assert one.images[0].path.name == "COCO_val2014_000000000003.png"


def test_an_image_of_vqa_is_one_file(tmp_path: Path) -> None:
    """Some systems put a hidden file beside each; two others could both be meant."""
    spec = vqa(tmp_path / "vqa")
    hidden = tmp_path / "vqa" / "z" / "._COCO_val2014_000000000003.png"
    draw(tmp_path / "vqa" / "z" / "a.png")
    hidden.write_bytes(b"notes")
    with pytest.warns(InputWarning):
        assert load_questions(spec)[1][2].images[0].path == (
            tmp_path / "vqa" / "val2014" / "COCO_val2014_000000000003.png"
        )
    draw(tmp_path / "vqa" / "small" / "3.png")
    with pytest.raises(InputError, match=r"3\.png and .*3\.png are both image 3: leave one of them"):
        load_questions(spec)


def test_mmmu_files(tmp_path: Path) -> None:
    with pytest.warns(
        InputWarning, match="mmmu: questions: 1 of 2 are left out: they are no multiple-choice"
    ):
        kind, (item,) = load_questions(mmmu(tmp_path / "Art"))
    assert kind == "mmmu" and isinstance(item, Item)
    assert item.options == ("A", "B", "C") and item.answer == 1 and item.groups == ("Art",)
    asked = item.prompt[0]["content"]  # type: ignore[index]
    assert asked.startswith("Who made <image>?\nA. Ann\nB. Ben\nC. Cai") and len(item.images) == 1


def test_mmmu_reads_validation_alone_and_groups_by_subject(tmp_path: Path) -> None:
    def found(spec: str) -> list[tuple[str, tuple[str, ...]]]:
        return [(one.id, one.groups) for one in load_questions(spec)[1] if isinstance(one, Item)]

    for subject in ("Art", "Music"):
        folder = tmp_path / "hub" / subject
        mmmu(folder, id=f"validation_{subject}")
        mmmu(folder, "dev-00000-of-00001.parquet", id=f"dev_{subject}")
        mmmu(folder, "test-00000-of-00001.parquet", id=f"test_{subject}", answer="?")
    validation = [("validation_Art", ("Art",)), ("validation_Music", ("Music",))]
    assert found(f"mmmu:{tmp_path / 'hub'}") == validation
    assert found(f"mmmu:{tmp_path / 'hub' / 'Art' / 'dev-00000-of-00001.parquet'}") == [("dev_Art", ("Art",))]
    for subject in ("Art", "Music"):
        mmmu(tmp_path / "flat", f"{subject}.parquet", id=f"validation_{subject}")
    assert found(f"mmmu:{tmp_path / 'flat'}") == validation
    assert found(f"mmmu:{tmp_path / 'flat' / 'Art.parquet'}") == validation[:1]


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for spec, says in (
        ("vqa", "use vqa:PATH or mmmu:PATH"),
        ("pairs:x", "use vqa:PATH or mmmu:PATH"),
        (f"vqa:{tmp_path}", r"has 0 files \*questions.json"),
        (f"mmmu:{tmp_path / 'empty'}", "there is no parquet file at"),
        (f"mmmu:{tmp_path / 'nowhere'}", "there is no parquet file at"),
        (mmmu(tmp_path / "a", answer="D"), "3 options and the answer 'D'"),
        (mmmu(tmp_path / "b", options="what"), "these must be MMMU's columns"),
        (mmmu(tmp_path / "e", options="5"), "these must be MMMU's columns"),
        (mmmu(tmp_path / "c", image_1=None), "image_1 is missing"),
        (
            mmmu(tmp_path / "f", image_1={"bytes": b"none", "path": None}),
            "validation_Art_1: image_1 is no image",
        ),
        *(
            (mmmu(tmp_path / f"d{n}", answer=text), "is no single letter")
            for n, text in enumerate(("", "BC", "?"))
        ),
    ):
        with pytest.raises(InputError, match=says) as error:
            load_questions(spec)
        assert "\n" not in str(error.value)
    spec = vqa(tmp_path / "vqa")
    asked = tmp_path / "vqa" / "v2_OpenEnded_mscoco_val2014_questions.json"
    before = asked.read_text()
    for old, new in (('"question_id": 10', '"id": 10'), ('"image_id": 1', '"image_id": {}')):
        asked.write_text(before.replace(old, new, 1))
        with pytest.raises(InputError, match=r"_id of a question or annotation is .*, no number"):
            load_questions(spec)
    asked.write_text(before)
    (tmp_path / "vqa" / "v2_mscoco_val2014_annotations.json").write_text('{"annotations": []}')
    with pytest.raises(InputError, match="question 10 has no annotation"):
        load_questions(spec)
    (tmp_path / "vqa" / "v2_mscoco_val2014_annotations.json").write_text("{}")
    with pytest.raises(InputError, match="can't be read"):
        load_questions(spec)
