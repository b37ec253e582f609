"""Winogender: a small folder written here, and the set's own files where they are given."""

import os
from pathlib import Path

import pytest

from equipoise.errors import InputError
from equipoise.tasks import Pronouns, WinoGender

STATS = "occupation\tbergsma_pct_female\tbls_pct_female\tbls_year\nplumber\t3.3\t0.7\t2015\nnurse\t88.3\t89.6\t2015\n"


def sentences(occupation: str, participant: str) -> str:
    start = f"{occupation}.{participant}"
    return "".join(
        f"{start}.{answer}.{gender}.txt\tThe {occupation} told the {participant} that {pronoun} {rest}.\n"
        for answer, rest in (("1", "could pay"), ("0", "had fixed it"))
        for gender, pronoun in (("male", "he"), ("female", "she"), ("neutral", "they"))
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "occupations-stats.tsv").write_text(STATS)
    (tmp_path / "all_sentences.tsv").write_text(
        "sentid\tsentence\n" + sentences("plumber", "guest") + sentences("nurse", "patient")
    )
    return tmp_path


def test_only_the_occupations_own_pronoun_is_asked(folder: Path) -> None:
    plumber, nurse = WinoGender(folder).items()
    assert plumber.prompt == "The plumber told the guest that"
    assert plumber.options == (" he had fixed it.", " she had fixed it.")
    assert plumber.outcomes == ("pro", "anti")
    assert (plumber.part, plumber.answer, plumber.groups) == ("ambiguous", None, ("plumber",))
    assert nurse.options == (" she had fixed it.", " he had fixed it.")
    assert nurse.outcomes == ("pro", "anti")


def test_options_are_rests_of_sentences_so_there_is_no_abstention(folder: Path) -> None:
    assert not WinoGender(folder).exhaustive
    assert Pronouns().exhaustive


def test_what_is_asked_is_told_as_it_is(folder: Path) -> None:
    task = WinoGender(folder)
    assert "he or she" in task.summary()
    assert {option.split()[0] for item in task.items() for option in item.options} == {"he", "she"}


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("occupations-stats.tsv", "bls_pct_female", "share", "has no column 'bls_pct_female'"),
        ("occupations-stats.tsv", "0.7", "few", "line 2, column 'bls_pct_female': 'few'"),
        ("occupations-stats.tsv", "89.6", "896", "line 3, column 'bls_pct_female': '896'"),
        ("occupations-stats.tsv", "0.7", "nan", "line 2, column 'bls_pct_female': 'nan'"),
        ("occupations-stats.tsv", "nurse", "medic", "no row for 'nurse'"),
        ("all_sentences.tsv", "sentence\n", "text\n", "has no column 'sentence'"),
        (
            "all_sentences.tsv",
            "guest.1.male",
            "guest.2.male",
            "line 2, column 'sentid': 'plumber.guest.2.male.txt'",
        ),
        ("all_sentences.tsv", "guest.0.female", "guest.0.neutral", "plumber.guest in its male form only"),
        (
            "all_sentences.tsv",
            "The plumber told the guest that she had",
            "She had",
            "pronoun after some text",
        ),
        (
            "all_sentences.tsv",
            "\tThe nurse told the patient that they could pay.",
            "",
            "line 10: too few columns",
        ),
    ],
)
def test_bad_data_is_one_line(folder: Path, file: str, old: str, new: str, says: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=says) as caught:
        WinoGender(folder)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "all_sentences.tsv").unlink()
    with pytest.raises(InputError, match=r"all_sentences.tsv .No such file"):
        WinoGender(folder)


DATA = os.environ.get("EQUIPOISE_TEST_DATA")


@pytest.mark.skipif(not DATA, reason="EQUIPOISE_TEST_DATA names no folder with the published sets")
def test_the_published_files() -> None:
    task = WinoGender(Path(DATA or "") / "winogender")
    items = task.items()
    # 60 occupations, each with a participant and with "someone".
    assert len(items) == len({item.id for item in items}) == 120
    assert len({item.groups for item in items}) == 60
    for item in items:
        pronouns = {option.split()[0].strip(".,") for option in item.options}
        assert pronouns in ({"he", "she"}, {"his", "her"}, {"him", "her"})
    split = task.split(0)
    assert {len({item.groups for item in part}) for part in vars(split).values()} == {30, 12, 18}
