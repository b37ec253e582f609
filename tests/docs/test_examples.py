"""The examples refuse what they can't do, before they load anything."""

import runpy
import sys
from pathlib import Path

import pytest

from equipoise.errors import InputError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> None:
    """Run an example as a program, with these arguments."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_no_prompts_are_refused_and_one_is_enough(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, elsewhere = "loading_interventions_llm.py", ("--model", "./nowhere")
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, name, *elsewhere, "--prompts", "0")
    assert caught.value.code == 2
    assert "--prompts must be at least 1" in capsys.readouterr().err
    with pytest.raises(InputError, match="nowhere"):
        run(monkeypatch, name, *elsewhere, "--prompts", "1")


def test_the_examples_for_images_name_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("training_interventions_vlms.py", "loading_interventions_vlms.py"):
        with pytest.raises(SystemExit) as caught:
            run(monkeypatch, name)
        assert caught.value.code == 2 and "--model" in capsys.readouterr().err
        with pytest.raises(InputError, match="no images of people at 'nobody'"):
            run(monkeypatch, name, "--model", "./nowhere", "--people", "nobody")
