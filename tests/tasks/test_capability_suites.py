"""MMLU, ARC, PIQA and WikiText: what is asked, word for word, and what the accuracies count."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from equipoise.errors import InputError
from equipoise.tasks import ARC, MMLU, PIQA, Evidence, WikiText
from equipoise.tasks.wikitext import ordinary


def mmlu(folder: Path) -> Path:
    for part, count in (("dev", 5), ("val", 8)):
        (folder / part).mkdir()
        rows = [f'"What is {n}, {part}?",a{n},b{n},"c, {n}",d{n},{"ABCD"[n % 4]}' for n in range(count)]
        (folder / part / f"high_school_art_{part}.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_mmlu_asks_as_its_authors_do(tmp_path: Path) -> None:
    suite = MMLU(mmlu(tmp_path), shots=1)
    first = suite.items()[0]
    assert first.prompt == (
        "The following are multiple choice questions (with answers) about high school art.\n\n"
        "What is 0, dev?\nA. a0\nB. b0\nC. c, 0\nD. d0\nAnswer: A\n\n"
        "What is 0, val?\nA. a0\nB. b0\nC. c, 0\nD. d0\nAnswer:"
    )
    assert (first.options, first.answer) == ((" A", " B", " C", " D"), 0)
    assert str(MMLU(tmp_path).items()[0].prompt).count("Answer:") == 6


def test_mmlu_keeps_spaces_of_answers_as_lm_eval_does_and_skips_empty_rows(tmp_path: Path) -> None:
    file = mmlu(tmp_path) / "val" / "high_school_art_val.csv"
    file.write_text(" What? , one,two ,three,four,A\n\n  \n")
    (item,) = MMLU(tmp_path, shots=0).items()
    assert str(item.prompt).endswith("\n\nWhat?\nA.  one\nB. two \nC. three\nD. four\nAnswer:")


def test_accuracies_by_hand(tmp_path: Path) -> None:
    (tmp_path / "arc.csv").write_text("Q one?,ox,a very long answer,cat,dog,B\nQ two?,ox,emu,cat,dog,A\n")
    suite = ARC(tmp_path / "arc.csv")
    items = suite.items()
    assert items[0].prompt == "Question: Q one?\nAnswer:" and items[0].options[1] == " a very long answer"
    # The long answer costs more nats in all, fewer a character.
    logp = np.array([[-6.0, -12.0, -7.0, -8.0], [-1.0, -2.0, -3.0, -4.0]])
    found = suite.readings(items, Evidence(logp, np.ones((2, 4), int), np.ones(2, bool)))
    numbers = {name: reading.statistic(reading.sample) for name, reading in found.items()}
    assert numbers == {"accuracy": 0.5, "accuracy_normalised": 1.0, "trivial_accuracy": 0.5}


def test_arcs_own_file_with_numbered_choices(tmp_path: Path) -> None:
    row = {
        "question": {
            "stem": "Which?",
            "choices": [{"text": t, "label": str(n)} for n, t in enumerate("xyz", 1)],
        },
        "answerKey": "3",
    }
    (tmp_path / "arc.jsonl").write_text(json.dumps(row) + "\n")
    (item,) = ARC(tmp_path / "arc.jsonl").items()
    assert (item.options, item.answer) == ((" x", " y", " z"), 2)
    (tmp_path / "arc.jsonl").write_text(json.dumps(row).replace('"y"', "7") + "\n")
    with pytest.raises(InputError, match="line 1: no question of the set"):
        ARC(tmp_path / "arc.jsonl")


def test_piqa(tmp_path: Path) -> None:
    rows = [
        {"goal": "Open a jar", "sol1": "Turn\u2028it. ", "sol2": "Eat it."},
        {"goal": "x", "sol1": "a", "sol2": "a"},
    ]
    (tmp_path / "valid.jsonl").write_text(
        "\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8"
    )
    (tmp_path / "valid-labels.lst").write_text("0\n1\n")
    (item,) = PIQA(tmp_path).items()
    assert (item.prompt, item.options, item.answer) == (
        "Question: Open a jar\nAnswer:",
        (" Turn\u2028it.", " Eat it."),
        0,
    )


def _arc_line(choices: list[tuple[str, str]], key: str) -> str:
    listed = [{"label": label, "text": text} for label, text in choices]
    return json.dumps({"question": {"stem": "Why?", "choices": listed}, "answerKey": key}) + "\n"


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [
        ("arc.csv", "Q,a,b,c,d,E\n", "the right letter, A to D"),
        ("arc.csv", "Q,a,,c,d,B\n", "the answer is empty"),
        ("arc.csv", ",a,b,c,d,B\n", "the question is empty"),
        ("arc.jsonl", _arc_line([("A", "a")], "A"), "the answer A must be one of two or more choices"),
        ("arc.jsonl", _arc_line([("A", "a"), ("A", "b")], "A"), "these are ['A', 'A']"),
        ("arc.jsonl", _arc_line([("A", "a"), ("B", " ")], "A"), "choice B is empty"),
        ("arc.jsonl", '{"question": {"stem": "Why?", "choices": []}}\n', "it lacks 'answerKey'"),
    ],
)
def test_an_odd_line_of_arc_is_named(tmp_path: Path, file: str, line: str, says: str) -> None:
    good = "Q,a,b,c,d,B\n" if file.endswith("csv") else _arc_line([("A", "a"), ("B", "b")], "B")
    (tmp_path / file).write_text(good + "\n" + line)
    with pytest.raises(InputError) as caught:
        ARC(tmp_path / file)
    assert f"{file}, line 3: " in str(caught.value) and says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_marks_spaces_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "arc.csv").write_bytes("\ufeffQ , a,b,c,d, B \r\n\r\nR,a,b,c,d,A\r\n".encode())
    assert [item.answer for item in ARC(tmp_path / "arc.csv").items()] == [1, 0]
    line = _arc_line([(" 1", "a "), ("2", "b")], " 2 ")
    (tmp_path / "arc.jsonl").write_bytes(("\ufeff" + line.replace("\n", "\r\n") + "\r\n").encode())
    (item,) = ARC(tmp_path / "arc.jsonl").items()
    assert (item.options, item.answer) == ((" a", " b"), 1)


def test_an_odd_line_of_piqa_is_named(tmp_path: Path) -> None:
    line = '{"goal": "G", "sol1": "a", "sol2": "b"}'
    (tmp_path / "valid.jsonl").write_bytes(f"\ufeff{line}\r\n\r\n{line}\r\n".encode())
    (tmp_path / "valid-labels.lst").write_bytes("\ufeff0\r\n 1 \r\n\r\n".encode())
    assert [item.answer for item in PIQA(tmp_path).items()] == [0, 1]
    (tmp_path / "valid-labels.lst").write_text("0\n2\n")
    with pytest.raises(InputError, match=r"valid-labels\.lst, line 2: '2' is no label"):
        PIQA(tmp_path)
    (tmp_path / "valid-labels.lst").write_text("0\n1\n")
    (tmp_path / "valid.jsonl").write_text(line + "\n" + line.replace('"b"', '" "') + "\n")
    with pytest.raises(InputError, match=r"valid\.jsonl, line 2: .*sol2 is empty"):
        PIQA(tmp_path)


def test_word_perplexity_divides_by_the_files_own_words(tmp_path: Path) -> None:
    first = " = One = \n \n It is a well @-@ known fact , they say . \n = = Part = = \n More ( much more ) . "
    (tmp_path / "wiki").write_text(f"{first}\n = Two = \n Z\n")
    suite = WikiText(tmp_path / "wiki")
    one, two = suite.documents()
    assert (
        "a well-known fact, they say." in one.text and "(much more)." in one.text and "== Part ==" in one.text
    )
    # The empty strings before the first and after the last white space count, as in lm_eval.
    assert one.words == len(first.split()) + 2
    assert two.text.split() == ["=", "Two", "=", "Z"]
    found = suite.text_readings(suite.documents(), np.array([30.0, 12.0]))["word_perplexity"]
    assert found.statistic(found.sample) == pytest.approx(math.exp(42 / (one.words + two.words)))


def test_ordinary_spelling() -> None:
    assert ordinary("1 @,@ 000 @.@ 5 miles , it ' s said ; so") == "1,000.5 miles, it ' s said; so"
    assert ordinary("a ( b\n) \" c ; d \" , ' e ' [ f ] at 5 ° .\n") == "a (b) \"c; d\", 'e' [f] at 5°.\n"
