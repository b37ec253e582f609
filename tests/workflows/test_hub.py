"""Push and pull: what is uploaded, and what comes back. The hub is a folder here."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from export.cases import edit, intervention

from equipoise import InputError
from equipoise.cli import run
from equipoise.interventions import Intervention
from equipoise.workflows import pull, push

huggingface_hub = pytest.importorskip("huggingface_hub")


class Hub:
    """Stands for the service: repositories are folders."""

    def __init__(self, root: Path) -> None:
        self.root, self.calls = root, list[tuple[str, dict[str, Any]]]()

    def create_repo(self, repository: str, **more: Any) -> None:
        self.calls.append((repository, more))
        (self.root / repository).mkdir(parents=True, exist_ok=True)

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> Any:
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")

    def download(self, repository: str, name: str, *, revision: str | None = None) -> str:
        path = self.root / repository / name
        if not path.is_file():
            raise huggingface_hub.errors.EntryNotFoundError(f"404 Client Error\n\n{name} isn't there")
        return str(path)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    one = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: one)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", one.download)
    return one


@pytest.fixture
def file(tmp_path: Path) -> Path:
    given = intervention("Llama", {"block.1.norm.0": edit("Llama", "block.1.norm.0", "scale")})
    return given.save(tmp_path / "dso.safetensors")


def results(path: Path) -> Path:
    def one(strength: float, mitigation: str | None, bias: float) -> dict[str, Any]:
        numbers = {"value": bias, "low": bias - 0.01, "high": bias + 0.01, "n": 9}
        metrics = {"per_occupation_bias": numbers, "kl_to_base": {**numbers, "value": 0.05}}
        return {
            "task": "pronouns",
            "split": "heldout",
            "mitigation": mitigation,
            "file": None,
            "keep": None,
        } | {"strength": strength, "seed": 0, "n": 9, "metrics": metrics, "groups": []}

    runs = [one(0.0, None, 0.3), one(0.5, "dso", 0.1)]
    content = {"schema": 1, "equipoise": "0", "model": {"name": "maker/model"}, "seeds": [0], "level": 0.95}
    path.write_text(json.dumps({**content, "recommendation": None, "runs": runs}))
    return path


def test_what_is_pushed_comes_back(hub: Hub, file: Path, tmp_path: Path) -> None:
    address = push(
        file,
        "me/fair",
        licence="apache-2.0",
        strength=0.5,
        results=results(tmp_path / "r.json"),
        private=True,
    )
    assert address == "https://hub/me/fair/commit/1" and hub.calls == [
        ("me/fair", {"private": True, "exist_ok": True})
    ]
    place = hub.root / "me" / "fair"
    assert {path.name for path in place.iterdir()} == {
        "README.md",
        "intervention.safetensors",
        "results.json",
    }
    card = (place / "README.md").read_text()
    header = card.split("---")[1]
    for line in ("library_name: equipoise", "license: apache-2.0", "base_model: maker/model"):
        assert line in header.splitlines()
    for words in (
        "method: test",
        "`block.i.norm.0`",
        "| per-occupation bias | 0.300 [0.290, 0.310] | 0.100 [0.090, 0.110] |",
        "| KL to base, nats a token |",
        "λ = 0.5",
        "## Limits",
        "The file: apache-2.0",
        "equipoise pull me/fair --out intervention.safetensors",
        "acts on all tokens",
    ):
        assert words in card, words
    back = pull("me/fair", out=tmp_path / "back.safetensors")
    assert back.digest == Intervention.load(file).digest
    assert (tmp_path / "back.safetensors").read_bytes() == (place / "intervention.safetensors").read_bytes()


def test_a_folder_that_export_made_is_pushed_as_it_is(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("README.md", "parity.json", "model.safetensors"):
        (folder / name).write_text(name)
    push(folder, "me/merged")
    assert {p.name for p in (hub.root / "me" / "merged").iterdir()} == {p.name for p in folder.iterdir()}
    with pytest.raises(InputError, match="has its card already"):
        push(folder, "me/merged", licence="mit")
    (folder / "parity.json").unlink()
    with pytest.raises(InputError, match="no folder that `equipoise export` made"):
        push(folder, "me/other")
    assert not (hub.root / "me" / "other").exists()


def test_bad_input_is_one_line_and_status_2(
    hub: Hub, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    for arguments, words in (
        (["push", str(file), "fair"], "called OWNER/NAME"),
        (["push", str(file), "me/fair"], "under which licence"),
        (["push", str(file), "me/fair", "--licence", "a: b"], "it must be a name"),
        (["push", "nowhere.safetensors", "me/fair", "--licence", "mit"], "no such file"),
        (["push", str(file), "me/fair", "--licence", "mit", "--strength", "-1"], "strength -1.0 must be"),
        (["push", str(file), "me/fair", "--licence", "mit", "--results", "nowhere.json"], "nowhere.json"),
        (["pull", "fair", "--out", str(out)], "called OWNER/NAME"),
        (["pull", "me/nothing", "--out", str(out)], "me/nothing: the hub refused (404 Client Error"),
        (["pull", "me/nothing", "--out", str(tmp_path / "x.bin")], "must end in .safetensors"),
        (["pull", "me/nothing", "--out", str(file)], "exists already"),
    ):
        assert run(arguments) == 2
        message = capsys.readouterr().err
        assert words in message and message.count("\n") == 1, arguments
    assert not out.exists() and not hub.root.exists()


def test_a_file_that_is_not_whole_is_not_kept(hub: Hub, file: Path, tmp_path: Path) -> None:
    push(file, "me/fair", licence="mit")
    place = hub.root / "me" / "fair" / "intervention.safetensors"
    place.write_bytes(place.read_bytes()[:-20])
    with pytest.raises(InputError, match="truncated"):
        pull("me/fair", out=tmp_path / "back.safetensors")
    assert not (tmp_path / "back.safetensors").exists()
    assert "base_model" not in (hub.root / "me" / "fair" / "README.md").read_text()
