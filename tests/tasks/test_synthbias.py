"""SynthBias: a file of its shape, with sentences of our own."""

import csv
from pathlib import Path

import pytest

from equipoise.errors import InputError
from equipoise.tasks import SynthBias
from equipoise.tasks.synthbias import COLUMNS, listed_genders

MALE = ("mechanic", "guard", "CEO", "farmer")
FEMALE = ("nurse", "baker", "editor", "librarian")


def rows() -> list[dict[str, str]]:
    found = []
    for man in MALE:
        for woman in FEMALE:
            for pronoun in ("he", "She"):
                text = f"The {man} greeted the {woman} before {pronoun} left."
                found.append(["type1", text, man, woman, pronoun, "ambiguous"])
                text = f"The {man} thanked the {woman}, and {pronoun} was glad to have been of help."
                pro = "True" if pronoun == "She" else "False"
                found.append(["type2", text, woman, man, pronoun, pro])
                text = f"The {man}, who broke a leg, called the {woman} because {pronoun} was in pain."
                found.append(["type2", text, man, woman, pronoun, "False" if pronoun == "She" else "True"])
    return [dict(zip(COLUMNS, row, strict=True)) for row in found]


def write(file: Path, content: list[dict[str, str]], columns: tuple[str, ...] = COLUMNS) -> Path:
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(content)
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "synthbias.csv", rows())


def test_type_1_is_pro_where_the_pronoun_is_the_occupations(file: Path) -> None:
    he, she = (item for item in SynthBias(file).items() if item.id in ("1", "4"))
    for item, pro in ((he, " mechanic"), (she, " nurse")):
        assert (item.part, item.answer) == ("ambiguous", None)
        assert item.options[item.outcomes.index("pro")] == pro
        assert item.options[item.metadata["first_mentioned"]] == " mechanic"
    assert he.template == she.template == "The {} greeted the {} before _ left."
    assert str(she.prompt).endswith('before She left. In this sentence, "She" refers to the')


def test_type_2_means_occ_1(file: Path) -> None:
    for row, item in zip(rows(), SynthBias(file).items(), strict=True):
        if row["type"] == "type2":
            assert item.answer is not None
            assert item.options[item.answer] == f" {row['occ_1']}"
            assert (item.outcomes[item.answer] == "pro") == (row["is_stereotypical"] == "True")


def test_baselines_by_order_of_mention(file: Path) -> None:
    task = SynthBias(file)
    hits = task.baselines(task.items())
    assert hits["always the later mentioned"].mean() == 0.5
    later = [item for item in task.items() if item.answer is not None and "thanked" in str(item.prompt)]
    assert task.baselines(later)["always the later mentioned"].mean() == 1.0
    assert task.baselines(later)["always the first mentioned"].mean() == 0.0


def test_pairs_are_held_out_in_either_order(file: Path) -> None:
    split = SynthBias(file).split(7)
    pairs = [{frozenset(item.groups) for item in part} for part in vars(split).values()]
    assert not pairs[0] & pairs[1]
    assert not pairs[0] & pairs[2]
    assert not pairs[1] & pairs[2]
    assert sum(len(part) for part in vars(split).values()) == len(rows())


def test_an_occupation_is_one_in_any_case(tmp_path: Path) -> None:
    content = rows()
    content[-1]["occ_1"] = content[-1]["occ_1"].upper()
    task = SynthBias(write(tmp_path / "cased.csv", content))
    assert {name for item in task.items() for name in item.groups} == {*MALE, *FEMALE}
    content[-1]["occ_2"] = content[-1]["occ_1"].lower()
    with pytest.raises(InputError, match="is occ_1 too"):
        SynthBias(write(tmp_path / "cased.csv", content))


def test_a_byte_order_mark_and_further_columns_do_no_harm(tmp_path: Path, file: Path) -> None:
    other = write(tmp_path / "other.csv", [{**row, "note": "x"} for row in rows()], ("note", *COLUMNS))
    other.write_text("\ufeff" + other.read_text())
    assert SynthBias(other).items() == SynthBias(file).items()


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("type", "type3", "unknown label 'type3': use one of type1, type2"),
        ("type", "", "the value is missing"),
        ("sample", " ", "the value is missing"),
        ("pronoun", "they", "unknown label 'they'"),
        ("pronoun", "NaN", "the value is missing"),
        ("pronoun", "", "the value is missing"),
        ("pronoun", "himself", "'himself' isn't in the sentence"),
        ("is_stereotypical", "maybe", "unknown label 'maybe': use one of True, False, ambiguous"),
        ("is_stereotypical", "True", "'true' doesn't go with type1"),
        ("is_stereotypical", "nan", "the value is missing"),
        ("occ_1", "juggler", "unknown occupation 'juggler'"),
        ("occ_1", "", "the value is missing"),
        ("occ_2", "mechanic", "'mechanic' is occ_1 too"),
    ],
)
def test_a_bad_cell_is_one_line_with_its_place(tmp_path: Path, column: str, value: str, says: str) -> None:
    content = rows()
    content[3][column] = value
    file = write(tmp_path / "bad.csv", content)
    with pytest.raises(InputError, match=says) as caught:
        SynthBias(file)
    assert f"{file}, line 5, column '{column}'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_ambiguous_row_needs_occupations_of_both_lists(tmp_path: Path) -> None:
    content = rows()
    assert content[3]["type"] == "type1"
    content[3]["occ_2"] = "guard"
    with pytest.raises(InputError, match=r"line 5, column 'occ_2': 'guard' is listed as male") as caught:
        SynthBias(write(tmp_path / "bad.csv", content))
    assert "\n" not in str(caught.value)
    content = rows()
    content[4]["occ_2"], content[4]["occ_1"] = "guard", "farmer"
    assert content[4]["type"] == "type2"
    assert len(SynthBias(write(tmp_path / "good.csv", content)).items()) == len(content)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    file = write(tmp_path / "bad.csv", rows(), tuple(name for name in COLUMNS if name != column))
    with pytest.raises(InputError, match=f"has no column '{column}': .* whose header names type, sample"):
        SynthBias(file)


def test_a_short_row_is_a_missing_value(tmp_path: Path, file: Path) -> None:
    file.write_text(file.read_text().rstrip().rsplit(",", 1)[0])
    with pytest.raises(
        InputError, match=f"line {len(rows()) + 1}, column 'is_stereotypical': the value is missing"
    ):
        SynthBias(file)


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe", b"PK\x03\x04\xff"])
def test_what_is_no_csv_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.csv"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"bad.csv"):
        SynthBias(file)


def test_a_header_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rows below its header"):
        SynthBias(write(tmp_path / "bad.csv", []))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.csv .No such file"):
        SynthBias(tmp_path / "none.csv")


def test_the_lists_give_forty_occupations_half_each() -> None:
    genders = listed_genders()
    assert genders["mechanic"] == genders["construction worker"] == genders["ceo"] == "male"
    assert genders["tailor"] == genders["secretary"] == "female"
