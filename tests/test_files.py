"""Reading text: one line for whatever is wrong, and no byte order mark."""

from pathlib import Path

import pytest

from equipoise.errors import InputError
from equipoise.files import read_table, read_text, text_lines


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_bytes("naïve\nλ".encode())
    assert read_text(file, "it", "fix it") == "naïve\nλ"
    file.write_bytes("\ufeffnaïve".encode())
    assert read_text(file, "it", "fix it") == "naïve"


@pytest.mark.parametrize(
    ("content", "reason"), [(b"\xff\xfe\x00", "no UTF-8 text"), (None, "No such file or directory")]
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "text"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_text(file, "it", "fix it")
    assert str(caught.value) == f"it: can't read {file} ({reason}): fix it"


def test_lines_end_at_line_feeds_alone() -> None:
    assert text_lines("a\u2028b\u0085c\x0cd\r\n\ne\n") == ["a\u2028b\u0085c\x0cd", "", "e"]
    assert text_lines("") == [] and text_lines("a\n\n") == ["a", ""]


def test_tables(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes('\ufeffa, b\r\n"1\r\n2",3,\r\n\r\n,\r\n5\r\n'.encode())
    assert read_table(file, "it", "fix it", ["b"]) == [
        (3, {"a": "1\n2", "b": "3"}),
        (6, {"a": "5", "b": None}),
    ]
    with pytest.raises(InputError, match=r"it: .*table\.csv has no column 'c': fix it"):
        read_table(file, "it", "fix it", ["a", "c"])
    file.write_text('a,b\n"' + "x" * 140_000)
    with pytest.raises(InputError, match=r"it: .*table\.csv is no CSV file .*: fix it"):
        read_table(file, "it", "fix it", ["a"])
    file.write_text("")
    with pytest.raises(InputError, match="has no column 'a'"):
        read_table(file, "it", "fix it", ["a"])
    file.write_text("a,a\n1,2\n")
    with pytest.raises(InputError, match="has two columns 'a'"):
        read_table(file, "it", "fix it", ["a"])


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("1,2\nx, y,2\n", r"line 3: 3 fields, but the first line names 2"),
        ('1,"2\n3,4\n', r"is no CSV file \(line 3: unexpected end"),
        ('1,"2\n3,"4"\n', r"is no CSV file \(line 3: "),
    ],
)
def test_a_row_that_runs_into_others_is_refused(tmp_path: Path, rows: str, says: str) -> None:
    file = tmp_path / "table.csv"
    file.write_text(f"a,b\n{rows}")
    with pytest.raises(InputError, match=says) as caught:
        read_table(file, "it", "fix it", ["a"])
    assert "\n" not in str(caught.value)
