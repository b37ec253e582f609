"""Plain text: enough, ordinary, and never the same paragraph for fitting and for reporting."""

import re
from collections import Counter
from pathlib import Path

import pytest

from equipoise.errors import InputError
from equipoise.tasks import load_text, plain_text
from equipoise.tasks.plain_text import paragraphs


def test_halves_are_disjoint_and_large_enough() -> None:
    fit, report = plain_text("fit"), plain_text("report")
    assert not set(fit) & set(report)
    assert len(set(fit) | set(report)) == len(fit) + len(report) >= 220
    assert abs(len(fit) - len(report)) <= 1
    assert all(60 <= len(text.split()) <= 110 for text in fit + report)


def test_headings_are_left_out() -> None:
    assert not [text for text in plain_text("fit") + plain_text("report") if text.startswith("= ")]


def test_pronouns_occur_in_natural_proportions() -> None:
    words = Counter(
        re.findall(r"\b(he|she|they)\b", " ".join(plain_text("fit") + plain_text("report")).lower())
    )
    assert min(words.values()) > 50
    assert 0.5 < words["he"] / words["she"] < 2


def test_another_part_is_refused() -> None:
    with pytest.raises(InputError, match="has the parts"):
        plain_text("train")  # type: ignore[arg-type]


def test_paragraphs_of_wikitext() -> None:
    text = " \n = Valkyria Chronicles = \n \n First line . \n Second line . \n\n = = Gameplay = = \n Third , 1 = 1 . \n"
    assert paragraphs(text) == ("First line .\n Second line .", "Third , 1 = 1 .")


def test_a_users_file(tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    long = "word " * 25
    file.write_text(f"= Title =\n\n{long}\n\nshort one\n\n{long}more", encoding="utf-8")
    assert load_text(file) == (long.strip(), f"{long}more")
    assert len(load_text(file, min_words=1)) == 3


@pytest.mark.parametrize("content", [b"", b"too short", b"\xff\xfe\x00"])
def test_unusable_files_are_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "own.txt"
    file.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(file))):
        load_text(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_text(tmp_path / "none.txt")
