"""What users write is read as meant, or refused in one line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import InputError
from equipoise.workflows.inputs import (
    check_seeds,
    free_output,
    free_outputs,
    parse_seeds,
    parse_settings,
    parse_strengths,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.8", (0.8,)),
        ("0,0.5,1", (0.0, 0.5, 1.0)),
        ("1, 0.5, 1", (0.5, 1.0)),
        ("0:1:0.1", tuple(round(0.1 * i, 1) for i in range(11))),
        ("0:1:0.3", (0.0, 0.3, 0.6, 0.9)),
        ("0.5:0.5:1", (0.5,)),
    ],
)
def test_strengths(text: str, expected: tuple[float, ...]) -> None:
    assert parse_strengths(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "0.5,x", "0:1", "0:1:0", "1:0:0.1", "0:1:-0.1", "0:1:1e-9", "nan", "inf", "-1", "0:1:2:3"],
)
def test_what_is_no_strength(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_strengths(text)
    assert "\n" not in str(caught.value)


@given(st.integers(1, 50), st.integers(1, 50))
def test_a_range_holds_both_ends_and_even_steps(count: int, tenths: int) -> None:
    step = tenths / 10
    found = parse_strengths(f"0:{count * step!r}:{step!r}")
    assert len(found) == count + 1 and found[0] == 0
    assert found[-1] == pytest.approx(count * step)


def test_seeds() -> None:
    assert parse_seeds("0,2,2,1") == (0, 2, 1)
    assert check_seeds([3, 3, 0]) == (3, 0)  # in Python as on the command line
    for text in ("", "a", "-1", "0.5"):
        with pytest.raises(InputError, match="whole numbers"):
            parse_seeds(text)


def test_settings() -> None:
    assert parse_settings(["kl=0.03", "name = a=b"]) == {"kl": "0.03", "name": "a=b"}
    for entries in (["kl"], ["=3"], ["kl=1", "kl=2"]):
        with pytest.raises(InputError):
            parse_settings(entries)


def test_outputs_are_checked_and_not_made(tmp_path: Path) -> None:
    assert free_outputs(tmp_path / "a" / "b", ["x"], force=False) == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x").write_text("")
    for arguments in ((tmp_path, ["x"]), (tmp_path / "x", ["y"]), (tmp_path / "x" / "y", ["z"])):
        with pytest.raises(InputError):
            free_outputs(*arguments, force=False)
    assert free_outputs(tmp_path, ["x"], force=True) == tmp_path
    with pytest.raises(InputError, match="must end in"):
        free_output(tmp_path / "a.pt", force=False, suffix=".safetensors")
    with pytest.raises(InputError, match="is a folder"):
        free_output(tmp_path, force=True)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="only Linux has /proc")
def test_a_folder_that_takes_nothing_is_refused_before_any_work() -> None:
    with pytest.raises(InputError, match="can't write into /proc"):
        free_outputs("/proc/nothing", ["x"], force=False)
