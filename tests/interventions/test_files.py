"""Files: a round trip bit for bit, equal bytes for equal values, and one clear line for every kind of damage."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from interventions.samples import KINDS, intervention, model
from safetensors import safe_open
from safetensors.torch import save_file

from equipoise.errors import InputError
from equipoise.interventions import Intervention, Provenance, files, read_header


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.safetensors"


def test_a_round_trip_is_exact(path: Path) -> None:
    a = intervention(model("Qwen3"), KINDS, rank=2, scope="answer")
    assert a.save(path) == path
    b = Intervention.load(path)
    assert b.digest == a.digest and b.scope == "answer" and list(b.edits) == list(a.edits)
    for site, edit in a.edits.items():
        for (name, x), (other, y) in zip(edit.parts(), b.edits[site].parts(), strict=True):
            assert name == other and torch.equal(x, y)
    assert b.provenance.to_json() == a.provenance.to_json()
    b.check(model("Qwen3"))


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        intervention(model("Llama"), KINDS).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_an_existing_file_is_kept_unless_forced(path: Path) -> None:
    a = intervention(model("Llama"))
    a.save(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        (2.0 * a).save(path)
    assert path.read_bytes() == before
    (2.0 * a).save(path, force=True)
    assert Intervention.load(path).digest == (2.0 * a).digest
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_sum_of_files(tmp_path: Path) -> None:
    a, b = intervention(model("Llama"), seed=1), intervention(model("Llama"), ("out",), seed=2)
    plus = tmp_path / "c++"
    plus.mkdir()
    first, second = a.save(plus / "a.safetensors"), b.save(plus / "b+b.safetensors")
    assert Intervention.load(f"{first}+{second}").digest == (a + b).digest
    assert Intervention.load(f"{first} + {second}").digest == (a + b).digest
    assert Intervention.load(f"{first}+{first}").digest == (2.0 * a).digest
    assert Intervention.load(second).digest == b.digest
    with pytest.raises(InputError, match=r"missing.safetensors: no such file"):
        Intervention.load(f"{first}+{tmp_path}/missing.safetensors")


def test_the_header_can_be_read_alone(path: Path) -> None:
    intervention(model("Llama")).save(path)
    header = read_header(path)
    assert header["format"] == 1 and header["kind"] == "intervention" and header["scope"] == "all"
    assert header["provenance"]["model"]["architecture"] == "llama"
    with safe_open(path, "pt") as file:
        assert set(file.metadata()) == {"equipoise"}


def test_the_header_is_read_without_the_tensors(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    intervention(model("Llama")).save(path)
    read: list[str] = []

    class Watched:
        def __init__(self, *args: Any, **more: Any) -> None:
            self._inner = safe_open(*args, **more)

        def __enter__(self) -> "Watched":
            self._file = self._inner.__enter__()
            return self

        def __exit__(self, *error: Any) -> None:
            self._inner.__exit__(*error)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def get_tensor(self, name: str) -> torch.Tensor:
            read.append(name)
            return self._file.get_tensor(name)

    monkeypatch.setattr(files, "safe_open", Watched)
    read_header(path)
    assert read == []
    Intervention.load(path)
    assert len(read) == 2 * len(model("Llama").anatomy.norms)  # the twin: this is how tensors are read


def test_a_configuration_that_is_no_json_is_refused_before_writing(path: Path) -> None:
    with pytest.raises(InputError, match="can't be written as JSON"):
        Intervention({}, provenance=Provenance("x", {"rate": float("nan")})).save(path)
    with pytest.raises(InputError, match="can't be written as JSON"):
        Intervention({}, provenance=Provenance("x", {"function": print})).save(path)
    assert not path.exists()


Tensors = dict[str, torch.Tensor]


def _nan(tensors: Tensors, header: dict[str, Any]) -> None:
    tensors["block.0.norm.0.scale"][3] = float("nan")


def _change(key: str, value: Any) -> Callable[[Tensors, dict[str, Any]], None]:
    return lambda tensors, header: header.__setitem__(key, value)


DAMAGE: dict[str, tuple[Callable[[Tensors, dict[str, Any]], Any], str]] = {
    "nan": (_nan, "block.0.norm.0: scale has values that are not finite"),
    "shape": (lambda t, h: t.__setitem__("block.0.norm.0.scale", torch.ones(2, 24)), "scale has shape"),
    "widths": (lambda t, h: t.__setitem__("block.0.norm.0.scale", torch.ones(47)), "different widths"),
    "half": (
        lambda t, h: t.__setitem__("block.0.norm.0.scale", torch.ones(48).half()),
        "float16, it must be float32",
    ),
    "lone u": (lambda t, h: t.__setitem__("block.0.norm.0.u", torch.ones(48, 1)), "needs both u and v"),
    "unknown part": (lambda t, h: t.__setitem__("block.0.norm.0.w", torch.ones(48)), "unknown tensor"),
    "unknown site": (lambda t, h: t.__setitem__("block.9.norm.0.scale", torch.ones(48)), "unknown tensor"),
    "site without tensors": (lambda t, h: h["sites"].append("block.2.out"), "block.2.out: an edit needs"),
    "sites": (_change("sites", "all"), "list of sites in the header is damaged"),
    "kind": (_change("kind", "token"), "holds a 'token', not an intervention: give it as --tokens"),
    "other kind": (_change("kind", "probe"), "holds a 'probe', not an intervention"),
    "version": (_change("format", 2), "format version 2 and this version reads 1"),
    "scope": (_change("scope", "first"), "unknown token scope 'first'"),
    "unknown key": (_change("extra", 1), "unknown keys in the header: extra"),
    "missing key": (lambda t, h: h.pop("scope"), "the header lacks scope"),
    "no kind": (lambda t, h: h.pop("kind"), "header is damaged"),
    "provenance": (lambda t, h: h["provenance"].pop("seed"), "provenance must have exactly the keys"),
    "seed": (lambda t, h: h["provenance"].__setitem__("seed", "one"), "seed can't be a str"),
    "fingerprint": (lambda t, h: h["provenance"]["model"].pop("blocks"), "fingerprint has exactly the keys"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told_in_one_line(path: Path, damage: str) -> None:
    intervention(model("Llama")).save(path)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["equipoise"])
        names = file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    change, message = DAMAGE[damage]
    change(tensors, header)
    save_file(tensors, path, {"equipoise": json.dumps(header)})
    with pytest.raises(InputError, match=message) as caught:
        Intervention.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_truncated_and_foreign_files_are_refused(path: Path) -> None:
    intervention(model("Llama")).save(path)
    whole = path.read_bytes()
    for length in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="truncated or no safetensors file"):
            Intervention.load(path)
    save_file({"x": torch.ones(2)}, path)
    with pytest.raises(InputError, match="Equipoise didn't write it"):
        Intervention.load(path)
    save_file({"x": torch.ones(2)}, path, {"equipoise": "{"})
    with pytest.raises(InputError, match="the header is damaged"):
        Intervention.load(path)
    save_file({}, path, {"equipoise": '{"format": 1, "kind": "intervention"}', "more": "1"})
    with pytest.raises(InputError, match="unknown keys in the header: more"):
        Intervention.load(path)
    with pytest.raises(InputError, match="no such file"):
        Intervention.load(path.parent)


def test_an_intervention_of_another_model_is_told_in_words() -> None:
    a = intervention(model("Llama"))
    with pytest.raises(InputError, match=r"another model than tiny-Qwen2-0: the architecture is llama there"):
        a.check(model("Qwen2"))
    unknown = Intervention(a.edits)
    unknown.check(model("Qwen2"))
    with pytest.raises(InputError, match=r"there is no site 'block.0.norm.2'"):
        Intervention(intervention(model("Gemma2")).edits).check(model("Llama"))
    heads = Intervention(intervention(model("Qwen3"), ("heads",)).edits)
    with pytest.raises(InputError, match="the edit is 64 wide and the activation of tiny-Llama-0 is 48"):
        heads.check(model("Llama"))
