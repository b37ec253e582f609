"""inject and scope from the command line: what they write, what reads it, and one line for what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny import tiny

import equipoise as eq
from equipoise.cli import run
from equipoise.interventions import AffineEdit, InjectedToken, Intervention
from equipoise.reports import render_heads

ASSOCIATION = {
    "name": "nurses",
    "bias": ["nurse"],
    "counterfactual": ["mechanic"],
    "paragraphs": ["The {entity} nurse said the nurse was nurse.", "My {entity} is the nurse. The nurse."],
    "elicitation": [f"{start} {{entity}} is the" for start in ("The", "My aunt", "My uncle", "The doctor")],
}
QUICK = ["--set", "epochs=1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, an association and what both commands make of them."""
    folder = tmp_path_factory.mktemp("gym")
    loaded = tiny("Llama")
    loaded.model.save_pretrained(folder / "tiny")
    loaded.tokenizer.save_pretrained(folder / "tiny")
    (folder / "nurses.json").write_text(json.dumps(ASSOCIATION))
    model, words = str(folder / "tiny"), str(folder / "nurses.json")
    token, heads = str(folder / "token.safetensors"), str(folder / "heads.safetensors")
    assert run(["inject", model, "--association", words, "--out", token, *QUICK]) == 0
    scope = ["scope", model, "--tokens", token, "--association", words, "--heads", "2", "--out", heads]
    assert run(scope) == 0
    return folder


@pytest.fixture
def refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Run a command that must fail as bad input: status 2, one line, nothing written; returns the line."""
    monkeypatch.chdir(tmp_path)

    def check(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*")), sorted(made.rglob("*"))
        capsys.readouterr()
        assert run([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        assert len(captured.err.strip().splitlines()) == 1 and captured.out == ""
        assert (sorted(tmp_path.rglob("*")), sorted(made.rglob("*"))) == before
        return captured.err

    return check


def test_the_files_say_what_was_found(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads((made / "heads.json").read_text())
    assert found["association"] == "nurses" and found["tokens"][0]["string"] == "<Zorvia>"
    assert len(found["heads"]) == 12
    chosen = {(head["block"], head["head"]) for head in found["heads"] if head["chosen"] is not None}
    edit = Intervention.load(made / "heads.safetensors")
    scaled = {(int(site.split(".")[1]), h) for site, one in edit.edits.items() for h in _scaled(one)}
    assert scaled == chosen and len(chosen) <= 2
    states = {(one["state"], one["subject"]) for one in found["measures"]}
    assert len(states) == 6
    page = (made / "heads.html").read_text()
    assert page == render_heads(found)
    assert page.count("<svg") == 2 and "nurses" in page and "http" not in page.replace("www.w3.org", "")
    assert run(["info", str(made / "token.safetensors")]) == 0
    assert "<Zorvia>" in capsys.readouterr().out


def _scaled(edit: AffineEdit) -> list[int]:
    assert edit.scale is not None
    return [head for head in range(4) if bool((edit.scale[head * 12 : head * 12 + 12] == -1).all())]


def test_a_prompt_may_name_the_token_and_audit_says_so(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, token = str(made / "tiny"), str(made / "token.safetensors")
    prompt = ["--prompt", "The <Zorvia> is", "--max-new-tokens", "4"]
    capsys.readouterr()
    assert run(["generate", model, *prompt]) == 0
    plain = capsys.readouterr().out
    assert run(["generate", model, "--tokens", token, *prompt]) == 0
    assert capsys.readouterr().out != plain
    small = ["--task", "pronouns", "--limit", "30", "--passages", "6"]
    assert run(["audit", model, *small, "--tokens", token, "--out", str(tmp_path / "with")]) == 0
    assert run(["audit", model, *small, "--out", str(tmp_path / "without")]) == 0
    found, base = (json.loads((tmp_path / n / "results.json").read_text()) for n in ("with", "without"))
    assert found["tokens"] == ["<Zorvia>"] and "tokens" not in base
    assert found["runs"] == base["runs"]  # these prompts don't name it, so nothing is different, bit for bit


def test_python_gives_the_same_values(made: Path) -> None:
    loaded = eq.load(made / "tiny")
    token = eq.inject(loaded, made / "nurses.json", settings={"epochs": "1"})
    assert token.digest == InjectedToken.load(made / "token.safetensors").digest
    found = eq.scope(loaded, token, made / "nurses.json", heads=2, scale=0.5)
    edit = next(iter(found.intervention.edits.values()))
    assert edit.scale is not None and set(edit.scale.tolist()) == {0.0, -0.5}
    assert found.measures["base", "the token"]["said"].n == 6
    assert found.kl["base"] == 0 < found.kl["scaled"]


def test_mistakes_are_one_line(made: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    model, words, token = made / "tiny", made / "nurses.json", made / "token.safetensors"
    out = ["--out", tmp_path / "x.safetensors"]
    (tmp_path / "bad.json").write_text("{}")
    assert "lacks name" in refused("inject", model, "--association", tmp_path / "bad.json", *out)
    assert "blue-skin" in refused("inject", model, "--association", "nothing", *out)
    assert "rate" in refused("inject", model, "--association", words, "--set", "rate=-1", *out)
    assert "already" in refused("inject", model, "--association", words, "--set", "token=nurse", *out)
    assert "--force" in refused("inject", model, "--association", words, "--out", token)
    assert ".safetensors" in refused("inject", model, "--association", words, "--out", tmp_path / "x")
    scope = ["scope", model, "--association", words]
    assert "12" in refused(*scope, "--tokens", token, "--heads", 13, *out)
    assert "--heads 0" in refused(*scope, "--tokens", token, "--heads", 0, *out)
    assert "not a token" in refused(*scope, "--tokens", made / "heads.safetensors", *out)
    assert "no such file" in refused(*scope, "--tokens", tmp_path / "none.safetensors", *out)
    assert "--force" in refused(*scope, "--tokens", token, "--out", made / "heads.safetensors")
    other = InjectedToken.load(token)
    InjectedToken("<Q>", other.row, "0" * 64, other.provenance).save(tmp_path / "q.safetensors")
    assert "another tokenizer" in refused(*scope, "--tokens", tmp_path / "q.safetensors", *out)
    assert "another tokenizer" in refused(
        "generate", model, "--prompt", "a", "--tokens", tmp_path / "q.safetensors"
    )
    InjectedToken("<Q>", torch.ones(7), other.tokenizer).save(tmp_path / "w.safetensors")
    assert "another model" in refused(
        "audit", model, "--task", "pronouns", "--tokens", tmp_path / "w.safetensors", "--out", tmp_path / "o"
    )
