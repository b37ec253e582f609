"""The command line: what it prints, what it writes, and one line with exit status 2 for everything that is wrong."""

import errno
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tiny import tiny

import equipoise
from equipoise.cli import run
from equipoise.interventions import AffineEdit, Intervention, Provenance, read_header
from equipoise.methods import Prompting
from equipoise.models import LoadedModel
from equipoise.reports import Results

SMALL = ["--limit", "30", "--passages", "6", "--strengths", "1"]


def save_model(loaded: LoadedModel, folder: Path) -> Path:
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


def edit(loaded: LoadedModel, width: int | None = None) -> Intervention:
    generator = torch.Generator().manual_seed(0)
    edits = {
        site: AffineEdit(
            scale=0.3 * torch.randn(width or loaded.anatomy.site(site).width, generator=generator)
        )
        for site in loaded.anatomy.sites("norm")
    }
    origin = Provenance(method="dso", model=None if width else loaded.fingerprint, seed=0)
    return Intervention(edits, provenance=origin)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tiny("Llama"), tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Intervention files, good and bad."""
    folder = tmp_path_factory.mktemp("files")
    edit(tiny("Llama")).save(folder / "good.safetensors")
    edit(tiny("Llama", 1)).save(folder / "other.safetensors")
    Prompting("Be fair.").save(folder / "say.safetensors")
    edit(tiny("Llama"), width=7).save(folder / "shape.safetensors")
    whole = (folder / "good.safetensors").read_bytes()
    (folder / "truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    tensors = load_file(folder / "good.safetensors")
    next(iter(tensors.values()))[0] = float("nan")
    metadata = {"equipoise": json.dumps(read_header(folder / "good.safetensors"))}
    save_file(tensors, folder / "nan.safetensors", metadata=metadata)
    (folder / "bad.csv").write_text("type,sample\ntype1,The mechanic met the nurse.\n")
    return folder


@pytest.fixture
def refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Run a command that must fail as bad input: status 2, one line, nothing written; returns the line."""
    monkeypatch.chdir(tmp_path)

    def check(*arguments: object) -> str:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        capsys.readouterr()
        assert run([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if line.strip()]
        assert len(lines) == 1 and captured.out == ""
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        return lines[0]

    return check


def test_audit_writes_both_files_and_prints_the_table(
    model: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = str(files / "good.safetensors")
    out = tmp_path / "out"
    arguments = ["audit", str(model), "--task", "pronouns", "--intervention", good, *SMALL, "--out", str(out)]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert "pronouns" in printed and "report.html" in printed
    results = Results.read(out / "results.json")
    assert [run.strength for run in results.runs] == [0, 1]
    assert results.runs[1].file == good and results.runs[1].mitigation == "dso"
    # What was run, and not the command line of the program that ran it.
    assert results.command == shlex.join(["equipoise", *arguments])
    assert results.command != shlex.join(["equipoise", *sys.argv[1:]])
    assert (out / "report.html").stat().st_size > 1000


def test_an_audit_is_kept_unless_told_otherwise_and_diff_compares_two(
    model: Path,
    files: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., str],
) -> None:
    monkeypatch.delenv("EQUIPOISE_NO_CACHE")
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    good = str(files / "good.safetensors")
    base = ["audit", str(model), "--task", "pronouns", *SMALL]
    assert run([*base, "--out", str(tmp_path / "a"), "--no-cache"]) == 0
    assert not (tmp_path / "cache").exists()
    assert run([*base, "--intervention", good, "--out", str(tmp_path / "b")]) == 0
    assert any((tmp_path / "cache" / "scores").rglob("answers-*.jsonl"))
    capsys.readouterr()
    assert run(["diff", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "diff.html")]) == 0
    printed = capsys.readouterr().out
    assert "base model" in printed and "Stereotype gap" in printed and "diff.html" in printed
    assert "can't be read" in refused("diff", tmp_path / "a", tmp_path / "nowhere")


def test_a_sum_of_files_is_twice_one_of_them(model: Path, files: Path, tmp_path: Path) -> None:
    good = files / "good.safetensors"
    base = ["audit", str(model), "--task", "pronouns", "--limit", "30", "--passages", "6"]
    assert (
        run([*base, "--intervention", f"{good}+{good}", "--strengths", "0.5", "--out", str(tmp_path / "a")])
        == 0
    )
    assert run([*base, "--intervention", str(good), "--strengths", "1", "--out", str(tmp_path / "b")]) == 0
    values = [
        Results.read(tmp_path / name / "results.json").runs[1].metrics["kl_to_base"] for name in ("a", "b")
    ]
    assert values[0] is not None and values[1] is not None
    assert values[0].value == pytest.approx(values[1].value, rel=1e-3)


def test_generate_prints_base_and_steered(
    model: Path, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = str(files / "good.safetensors")
    arguments = ["generate", str(model), "--prompt", "The nurse said that", "--max-new-tokens", "5"]
    assert run([*arguments, "--intervention", good, "--strength", "0.5"]) == 0
    printed = capsys.readouterr().out
    assert "base" in printed and "λ = 0.5" in printed
    assert run([*arguments, "--chat"]) == 0
    assert "λ" not in capsys.readouterr().out


def test_info_of_a_model_and_of_a_file(model: Path, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", str(model)]) == 0
    assert "LlamaForCausalLM" in capsys.readouterr().out
    assert run(["info", str(files / "good.safetensors")]) == 0
    printed = capsys.readouterr().out
    assert "block.norm" in printed and "dso" in printed


def test_convert_reads_a_pt_file(model: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    loaded = tiny("Llama")
    content = {norm.site: {"scale": torch.full((norm.width,), 0.1)} for norm in loaded.anatomy.norms}
    torch.save(content, tmp_path / "dso.pt")
    out = tmp_path / "dso.safetensors"
    arguments = ["convert", str(tmp_path / "dso.pt"), "--model", str(model), "--out", str(out)]
    assert "--scale" in refused(*arguments, "--scale", "nonsense")
    assert run([*arguments, "--scale", "delta"]) == 0
    assert Intervention.load(out).size == sum(norm.width for norm in loaded.anatomy.norms)
    assert "--force" in refused(*arguments, "--scale", "delta")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\0\0\0"])
@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_convert_refuses_what_is_no_file_of_tensors(
    model: Path, tmp_path: Path, refused: Callable[..., str], name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    message = refused("convert", name, "--model", model, "--out", "b.safetensors")
    assert "can't be read as tensors alone" in message and "weights_only" not in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "nonsense"], "unknown task 'nonsense'"),
        (["--task", "winobias"], "winobias:PATH"),
        (["--task", "synthbias:{files}/bad.csv"], "bad.csv"),
        (["--task", "synthbias:{files}/none.csv"], "none.csv"),
        (["--task", "pronouns", "--strengths", "much"], "'much' is no number"),
        (["--task", "pronouns", "--seeds", "one"], "whole numbers"),
        (["--task", "pronouns", "--limit", "4"], "not enough items for an interval"),
        (["--task", "pronouns", "--limit", "-4"], "--limit"),
        (["--task", "pronouns", "--passages", "2"], "not enough items for an interval"),
        (["--task", "pronouns", "--text", "none.txt"], "none.txt"),
        (["--task", "pronouns", "--dtype", "int3"], "int3"),
        (["--task", "pronouns", "--target", "high"], "--target"),
        (["--task", "pronouns", "--nonsense"], "--nonsense"),
        ([], "--task"),
        (["--task", "pronouns", "--intervention", "{files}/other.safetensors"], "another model"),
        (["--task", "pronouns", "--intervention", "{files}/shape.safetensors"], "7 wide"),
        (["--task", "pronouns", "--intervention", "{files}/truncated.safetensors"], "truncated.safetensors"),
        (["--task", "pronouns", "--intervention", "{files}/nan.safetensors"], "not finite"),
        (["--task", "pronouns", "--intervention", "{files}/none.safetensors"], "none.safetensors"),
        (["--task", "pronouns", "--intervention", "{files}/good.safetensors+"], "an empty term"),
        (
            ["--task", "pronouns", "--keep", "0.1", "--intervention", "{files}/say.safetensors"],
            "or a part that is no such edit: leave --keep out",
        ),
    ],
)
def test_bad_input_to_audit(
    model: Path, files: Path, refused: Callable[..., str], arguments: list[str], words: str
) -> None:
    filled = [argument.format(files=files) for argument in arguments]
    assert words in refused("audit", model, "--out", "out", "--limit", "30", "--passages", "6", *filled)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "nonsense"], "unknown method 'nonsense'"),
        (["--set", "nonsense=1"], "nonsense"),
        (["--set", "kl=much"], "kl"),
        (["--set", "kl"], "key=value"),
        (["--task", "nonsense"], "unknown task"),
        (["--out", "file.txt"], ".safetensors"),
        (["--seed", "-1"], "seeds"),
        (["--method", "lora", "--checkpoint", "a.checkpoint"], "keeps no checkpoint"),
    ],
)
def test_bad_input_to_fit(model: Path, refused: Callable[..., str], arguments: list[str], words: str) -> None:
    assert words in refused("fit", model, "--task", "pronouns", "--out", "a.safetensors", *arguments)


def test_unknown_models_and_commands(refused: Callable[..., str]) -> None:
    assert "no/such-model" in refused("audit", "no/such-model", "--task", "pronouns", "--out", "out")
    assert "./nowhere" in refused("info", "./nowhere")
    assert "nonsense" in refused("nonsense")


def test_an_existing_output_is_kept(
    model: Path, files: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "results.json").write_text("mine")
    (tmp_path / "a.safetensors").write_text("mine")
    assert "--force" in refused("audit", model, "--task", "pronouns", "--out", tmp_path)
    assert "--force" in refused("fit", model, "--task", "pronouns", "--out", tmp_path / "a.safetensors")
    assert "--force" in refused("demo", "--out", tmp_path)


def test_an_interruption_is_said_and_has_its_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("equipoise.workflows.info", interrupt)
    assert run(["info", "anything"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_what_is_no_bad_input_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("equipoise.workflows.info", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        run(["info", "anything"])


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full/model.safetensors"),
        PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/closed/model.safetensors"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_disk_that_takes_nothing_is_one_line(
    error: Exception, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("equipoise.workflows.info", fail)
    line = refused("info", "anything")
    assert "choose another place" in line
    assert str(getattr(error, "filename", None) or "No space left on device") in line


def test_a_cache_that_cannot_be_is_one_line(
    tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "file" / "cache"))
    assert "EQUIPOISE_CACHE" in refused("info", "smollm2")


def test_help_is_there_without_torch() -> None:
    code = "import sys; from equipoise.cli import run; s = run(['--help']); sys.exit(s or 3 * ('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "audit" in done.stdout


def test_the_program_exits_with_2_and_one_line() -> None:
    command = [sys.executable, "-m", "equipoise", "generate", "./nowhere", "--prompt", "a", "--strength", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr


def test_every_public_name_is_there() -> None:
    for name in equipoise.__all__:
        assert getattr(equipoise, name) is not None
    assert set(equipoise.__all__) <= set(dir(equipoise))
    with pytest.raises(AttributeError):
        equipoise.nonsense  # noqa: B018


SAMPLED = (
    "steps=1",
    "prompts=2",
    "samples=2",
    "tokens=2",
    "validation_samples=1",
    "passages=4",
    "passage_tokens=8",
)


def test_free_text_is_fitted_from_samples(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: Callable[..., str]
) -> None:
    out, text = tmp_path / "edit.safetensors", tmp_path / "text.txt"
    text.write_text("\n\n".join(f"{number} " + "words that stand in a row " * 8 for number in range(12)))
    settings = [part for setting in SAMPLED for part in ("--set", setting)]
    fit = ["fit", str(model), "--task", "toxicity", "--text", str(text), "--out", str(out), *settings]
    assert run(fit) == 0
    written = capsys.readouterr()
    assert Intervention.load(out).provenance.config["task"] == "toxicity"
    # One tiny step on a random model earns nothing: the file then changes nothing, and that is said.
    assert ("changes nothing" in written.err) == (Intervention.load(out).nonzero == 0)
    # The twin: closed answers don't know the settings of samples.
    words = refused("fit", model, "--task", "pronouns", "--out", tmp_path / "other.safetensors", *settings)
    assert "prompts" in words


COMPARED = ["--limit", "30", "--passages", "6", "--strengths", "0.5,1"]


def test_compare_writes_the_files_and_prints_table_verdict_and_warning(
    model: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, out = str(files / "good.safetensors"), tmp_path / "out"
    arguments = ["compare", str(model), "--task", "pronouns", "--methods", f"a={good},twice={good}+{good}"]
    assert run([*arguments, "--kl-budgets", "0.1,5", *COMPARED, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "KL ≤ 0.1" in captured.out and "Take" in captured.out and "report.html" in captured.out
    lines = [line for line in captured.err.splitlines() if line.startswith("equipoise: warning")]
    assert len(lines) == 1 and "meet at block.0.norm.0" in lines[0]
    assert sorted(path.name for path in out.iterdir()) == ["figure.svg", "report.html", "results.json"]
    results = Results.read(out / "results.json")
    assert {run.mitigation for run in results.runs} == {None, "a", "twice"}
    assert results.command is not None and results.command.startswith("equipoise compare")
    assert results.extra["comparison"]["budgets"] == [0.1, 5]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--methods"),
        (["--methods", "nonsense"], "unknown method 'nonsense': use one of "),
        (["--methods", "dso,dso"], "'dso' is given more than once"),
        (["--methods", "{files}/none.safetensors"], "none.safetensors"),
        (["--methods", "{files}/other.safetensors"], "another model"),
        (["--methods", "{files}/good.safetensors+{files}/other.safetensors"], "another model"),
        (["--methods", "dso", "--set", "dso.nonsense=1"], "no setting 'nonsense'"),
        (["--methods", "dso", "--set", "steps=1"], "METHOD.key=value"),
        (["--methods", "dso", "--set", "caa.steps=1"], "which is not compared"),
        (["--methods", "dso", "--strengths", "0"], "no strength is above 0"),
        (["--methods", "dso", "--kl-budgets", "much"], "KL budgets 'much'"),
        (["--methods", "dso", "--kl-budgets", "0"], "KL budget 0"),
        (["--methods", "dso", "--limit", "-1"], "--limit"),
        (["--methods", "dso", "--limit", "4"], "not enough items for an interval"),
    ],
)
def test_bad_input_to_compare(
    model: Path, files: Path, refused: Callable[..., str], arguments: list[str], words: str
) -> None:
    filled = [argument.format(files=files) for argument in arguments]
    given = ["compare", model, "--task", "pronouns", "--out", "out", "--limit", "30", "--passages", "6"]
    assert words in refused(*given, *filled)


def test_a_vector_is_fitted_and_its_choice_shown(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: Callable[..., str]
) -> None:
    out = tmp_path / "caa.safetensors"
    fit = [
        "fit",
        str(model),
        "--task",
        "pronouns",
        "--method",
        "caa",
        "--set",
        "layer=1",
        "--set",
        "pairs=10",
    ]
    assert run([*fit, "--set", "multiplier=30", "--out", str(out)]) == 0
    written = capsys.readouterr()
    assert "layer 1, multiplier 30" in written.out and "validation" in written.out
    assert list(Intervention.load(out).edits) == ["block.1.out"]
    # Thirty times the residual stream's norm is beyond any budget, and that is said.
    assert "exceeds the budgets" in written.err
    words = refused(
        "fit", model, "--task", "pronouns", "--method", "caa", "--set", "layer=99", "--out", out, "--force"
    )
    assert "layer=99" in words


def test_an_instruction_has_a_file_too(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "prompt.safetensors")
    fit = [
        "fit",
        str(model),
        "--task",
        "pronouns",
        "--method",
        "prompting",
        "--set",
        "items=20",
        "--out",
        out,
    ]
    assert run([*fit, "--set", "instruction=Mind stereotypes."]) == 0
    assert run(["info", out]) == 0
    printed = capsys.readouterr().out
    assert printed.count("Mind stereotypes.") >= 2 and "prompt" in printed


@pytest.mark.parametrize("seed", ["-1", "4294967296", "99999999999999999999"])
def test_a_seed_that_no_generator_takes(refused: Callable[..., str], model: Path, seed: str) -> None:
    message = refused("generate", model, "--prompt", "a", "--seed", seed)
    assert "from 0 to 4294967295" in message
    assert "from 0 to" in refused("demo", "--seed", seed, "--out", "d")


@pytest.mark.parametrize(
    "command", [("audit", "pronouns"), ("layers", "pronouns"), ("utility", "vqa:vqa"), ("answers", None)]
)
def test_a_limit_below_zero(
    refused: Callable[..., str], model: Path, command: tuple[str, str | None]
) -> None:
    name, task = command
    given = [] if task is None else ["--task", task]
    message = refused(name, model, *given, "--out", "out.json", "--limit", "-1")
    assert message == "equipoise: --limit -1: it must be at least 1, or 0 for all items"


def test_a_sum_of_files_in_folders_is_shown(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = files / "good.safetensors"
    assert run(["info", f"{one}+{one}"]) == 0
    assert "term 2 method" in capsys.readouterr().out


def program(*arguments: object, pipe: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    line = shlex.join([sys.executable, "-m", "equipoise", *map(str, arguments)]) + pipe
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        errors="replace",
    )


def test_an_output_without_the_letter_lambda_shows_something(model: Path, files: Path) -> None:
    good = files / "good.safetensors"
    asked = ("generate", model, "--prompt", "λ", "--max-new-tokens", "2", "--intervention", good)
    found = program(*asked, PYTHONIOENCODING="ascii")
    assert found.returncode == 0 and "Traceback" not in found.stderr and "? = 1" in found.stdout


def test_a_reader_that_leaves_early_causes_no_traceback(model: Path) -> None:
    found = program("info", model, pipe=" | true")
    assert found.stderr == ""


def test_what_cannot_be_served_is_one_line(refused: Callable[..., str], model: Path, files: Path) -> None:
    pytest.importorskip("uvicorn")
    good = files / "good.safetensors"
    said = refused("serve", model, "--intervention", f"a={good}", "--intervention", f"b={good}")
    assert "already attached" in said
