"""The examples do what they say, one after the other, and refuse what they can't do before they load anything."""

import re
import runpy
import sys
from dataclasses import make_dataclass
from pathlib import Path

import pytest
from methods.samples import QUICK
from tasks.test_people import drawn
from tasks.test_synthbias import rows, write
from tiny import tiny
from vlms import tiny_vlm

from equipoise.errors import InputError
from equipoise.interventions import Intervention
from equipoise.methods.dso import DsoSettings
from equipoise.models import LoadedModel, load

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> None:
    """Run an example as a program, with these arguments."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    monkeypatch.syspath_prepend(str(EXAMPLES))  # as python puts it there for a program
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


Quick = make_dataclass(
    "Quick", [(name, type(value), value) for name, value in QUICK.items()], bases=(DsoSettings,), frozen=True
)
"""DSO's settings with defaults for a tiny model."""


def shares(text: str) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in re.findall(r"(\d+)% -> +(\d+)%", text)]


@pytest.mark.parametrize("kind", ["llm", "vlms"])
def test_what_one_example_trains_the_other_applies(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    loaded: LoadedModel = tiny("Llama") if kind == "llm" else tiny_vlm("LLaVA")
    people = ["--people", str(drawn(tmp_path / "people"))] if kind == "vlms" else []
    data = ["--synthbias", str(write(tmp_path / "synthbias.csv", rows()))] if kind == "llm" else people
    monkeypatch.setattr("equipoise.models.load", lambda source, **named: loaded if source == "x" else load(source, **named))
    monkeypatch.setattr("equipoise.methods.dso.DsoSettings", Quick)
    file = str(tmp_path / "interventions.safetensors")
    run(monkeypatch, f"training_interventions_{kind}.py", "--model", "x", *data, "--out", file, "--steps", "1")
    told = capsys.readouterr().out
    assert f"wrote {file}" in told and "step 1 of" in told
    assert len(shares(told)) == 12
    assert all(99 <= a[0] + b[0] <= 101 for a, b in zip(shares(told)[::2], shares(told)[1::2], strict=True))
    assert Intervention.load(file).nonzero
    changed = []
    for strength in ("0", "8"):
        more = [*people, "--interventions", file, "--strength", strength, "--prompts", "3"]
        run(monkeypatch, f"loading_interventions_{kind}.py", "--model", "x", *more)
        told = capsys.readouterr().out
        assert told.count("before:") == told.count("after:") == 3
        changed.append(int(re.search(r"(\d+) of 3 answers changed", told)[1]))  # type: ignore[index]
    assert changed[0] == 0 < changed[1]
