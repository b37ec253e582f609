"""Files of other packages become interventions that do what the package does."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interventions.samples import logits, model, tokens
from tiny import tiny

from equipoise import InputError
from equipoise.errors import InputWarning
from equipoise.interventions import Intervention, attach, convert_file
from equipoise.workflows import convert

LLAMA = model("Llama")
WIDTH = LLAMA.anatomy.hidden_size
KINDS = {
    "decoder_block": "out",
    "self_attn": "attn",
    "mlp": "mlp",
    "input_layernorm": "norm.0",
    "post_attention_layernorm": "norm.1",
}


def vectors(*layers: int) -> dict[int, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {layer: torch.randn(WIDTH, generator=draw) for layer in layers}


def control_vector(
    path: Path, hint: str = "llama", kind: str = "controlvector", name: str = "direction"
) -> Path:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, kind)
    writer.add_string("controlvector.model_hint", hint)
    for layer, vector in vectors(1, 2).items():
        writer.add_tensor(f"{name}.{layer}", vector.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def same(found: Intervention, wanted: dict[str, torch.Tensor]) -> bool:
    shifts = {site: edit.shift for site, edit in found.edits.items()}
    return shifts.keys() == wanted.keys() and all(torch.equal(shifts[s], wanted[s]) for s in wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_dictionary_of_a_steering_vectors_fields_is_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "vector.pt"
    given = vectors(0, -1)
    torch.save({"layer_activations": given, "layer_type": kind}, path)
    found = convert_file(path, LLAMA)
    assert same(found, {f"block.0.{KINDS[kind]}": given[0], f"block.2.{KINDS[kind]}": given[-1]})
    assert found.provenance.method == "steering-vectors" and found.scope == "all"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ["Llama", "GPT2"])
def test_steering_vectors_files_do_what_the_package_does(
    architecture: str, kind: str, tmp_path: Path
) -> None:
    package = pytest.importorskip("steering_vectors")
    loaded = tiny(architecture)
    path = tmp_path / "vector.pt"
    vector = package.SteeringVector(vectors(0, 2), kind)
    torch.save(vector, path)
    ids = tokens()
    with torch.no_grad(), vector.apply(loaded.model, multiplier=0.7):
        wanted = logits(loaded, ids)
    base = logits(loaded, ids)
    with attach(loaded, convert_file(path, loaded), 0.7):
        found = logits(loaded, ids)
    assert torch.allclose(found, wanted, atol=1e-4) and not torch.allclose(base, wanted, atol=1e-2)


def test_repengs_files_do_what_the_package_does(tmp_path: Path) -> None:
    if not hasattr(np, "float_"):  # repeng 0.4 asks for NumPy 1's name
        np.float_ = np.float64  # type: ignore[attr-defined]
    repeng = pytest.importorskip("repeng")
    loaded = tiny("Llama")
    path = tmp_path / "vector.gguf"
    given = {layer: vector.numpy() for layer, vector in vectors(0, 1, 2).items()}
    vector = repeng.ControlVector("llama", given)
    vector.export_gguf(path)
    ids = tokens()
    control = repeng.ControlModel(loaded.model, [0, 1, 2])
    try:
        control.set_control(vector, 0.7)
        with torch.no_grad():
            # Its mask of padding needs the positions of every row.
            wanted = control(ids, position_ids=torch.arange(ids.shape[1]).expand(ids.shape)).logits
    finally:
        control.unwrap()
    base = logits(loaded, ids)
    with attach(loaded, convert_file(path, loaded), 0.7):
        found = logits(loaded, ids)
    assert torch.allclose(found, wanted, atol=1e-4) and not torch.allclose(base, wanted, atol=1e-2)


def test_a_control_vector_is_read_and_written_alike(tmp_path: Path) -> None:
    from equipoise.export import save_control_vector

    found = convert_file(control_vector(tmp_path / "one.gguf"), LLAMA)
    assert same(found, {f"block.{layer}.out": vector for layer, vector in vectors(1, 2).items()})
    save_control_vector(LLAMA, found, 1.0, tmp_path / "two.gguf")
    assert convert_file(tmp_path / "two.gguf", LLAMA).digest == found.digest
    with pytest.warns(InputWarning, match="made for a mistral model, and this is a llama"):
        convert_file(control_vector(tmp_path / "three.gguf", hint="mistral"), LLAMA)


class _Odd:
    """Anything but tensors: its pickle would run code."""

    def __reduce__(self) -> Any:
        return print, ("run",)


def test_what_is_no_such_file_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def saved(content: Any) -> Path:
        path = tmp_path / "x.pt"
        torch.save(content, path)
        return path

    fields = {"layer_activations": vectors(0), "layer_type": "decoder_block"}
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(control_vector(tmp_path / "whole.gguf").read_bytes()[:70])
    cases: list[tuple[Path, str, dict[str, Any]]] = [
        (saved(fields), "leave --scale out", {"scale": "delta"}),
        (damaged, "damaged GGUF", {}),
        (control_vector(tmp_path / "model.gguf", kind="llama"), "GGUF of llama, no control vector", {}),
        (control_vector(tmp_path / "odd.gguf", name="other"), "unknown tensor 'other.1'", {}),
        (tmp_path / "nowhere.gguf", "no such file", {}),
    ]
    for path, words, more in cases:
        with pytest.raises(InputError, match=words) as caught:
            convert(path, LLAMA, out=tmp_path / "out.safetensors", **more)
        assert "\n" not in str(caught.value)
    for content, words in (
        ({**fields, "layer_type": "lm_head"}, "has no 'lm_head' in block 0"),
        ({**fields, "layer_activations": vectors(7)}, "no layer 7"),
        ({**fields, "layer_activations": {0: torch.ones(3)}}, "48"),
        ({**fields, "layer_activations": {0: torch.ones(3, WIDTH)}}, r"block\.0\.out: shift has shape"),
        ({**fields, "layer_activations": {"a": torch.ones(3)}}, "from layer numbers"),
        ({**fields, "layer_activations": OrderedDict()}, "empty"),
        (_Odd(), "can't be read as tensors alone"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            convert(saved(content), LLAMA, out=tmp_path / "out.safetensors")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.safetensors").exists() and "run" not in capsys.readouterr().out
