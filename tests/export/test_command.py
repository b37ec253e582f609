"""The commands export and serve: bad input is one line and status 2, before a model is loaded."""

import socket
from pathlib import Path

import pytest
from export.cases import edit, intervention

from equipoise import InputError
from equipoise.cli import run
from equipoise.workflows.inputs import named_interventions


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return intervention("Llama", {"block.1.attn": edit("Llama", "block.1.attn", "shift")}).save(
        tmp_path / "dso.safetensors"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "onnx"], "--format onnx: it must be one of hf, gguf, control-vector, peft"),
        (["--format", "gguf", "--gguf-type", "q2"], "--gguf-type q2: it must be one of f32, f16, q8_0"),
        (["--strength", "-1"], "strength -1.0 must be"),
        (["--new-tokens", "0"], "--new-tokens 0"),
        (["--results", "nowhere.json"], "nowhere.json"),
        (["--task", "nothing"], "nothing"),
    ],
)
def test_export_refuses_in_one_line(
    options: list[str], words: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    status = run(["export", "no-such-folder/", "--intervention", str(file), "--out", str(out), *options])
    message = capsys.readouterr().err
    assert status == 2 and words in message and message.count("\n") == 1 and not out.exists()


def test_serve_refuses_in_one_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    for options, words in (
        (["--intervention", "nowhere.safetensors"], "no such file"),
        (["--strength", "-1"], "strength -1.0 must be"),
        (["--max-rows", "0"], "--max-rows 0"),
        (["--timeout", "0"], "--timeout 0"),
        (["--port", "65536"], "from 0 to 65535"),
        (["--host", "no host"], "can't listen at no host"),
    ):
        assert run(["serve", "no-such-folder/", *options]) == 2
        message = capsys.readouterr().err
        assert words in message and message.count("\n") == 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", "no-such-folder/", "--port", str(port)]) == 2
    message = capsys.readouterr().err
    assert f"can't listen at 127.0.0.1, port {port}" in message and message.count("\n") == 1
    assert (
        run(["serve", "no-such-folder/", "--port", str(port)]) == 2
    )  # free again: the model is what is wrong
    assert "no-such-folder" in capsys.readouterr().err


def test_interventions_have_names(file: Path, tmp_path: Path) -> None:
    assert list(named_interventions([str(file), f"b={file}", f"c={file}+{file}"])) == ["dso", "b", "c"]
    odd = tmp_path / "a=b.safetensors"
    odd.write_bytes(file.read_bytes())
    with pytest.raises(InputError, match="'a=b' is no name"):
        named_interventions([str(odd)])
    with pytest.raises(InputError, match="two interventions are called 'dso'"):
        named_interventions([str(file), str(file)])
