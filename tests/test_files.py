"""Reading text: one line for whatever is wrong, and no byte order mark."""

from pathlib import Path

import pytest

from equipoise.errors import InputError
from equipoise.files import read_text


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
