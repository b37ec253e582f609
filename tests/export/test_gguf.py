"""GGUF and control vectors: what the files hold, what llama.cpp makes of them, and what is refused.

Tests that run llama.cpp need an interpreter of its own that has it: EQUIPOISE_LLAMACPP=/path/to/python, from
``python -m venv ENV && ENV/bin/pip install llama-cpp-py-sync``. Where glibc is older than 2.38, add xllamacpp and take
the former's release of the same number: ``llama-cpp-py-sync==0.11548 xllamacpp==2026.10.11549``.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export.cases import edit, intervention, model
from interventions.samples import logits, tokens
from tiny import tiny
from tokenizers import pre_tokenizers

from equipoise import InputError
from equipoise.export import merge, save_control_vector, save_gguf
from equipoise.export.gguf import tensors
from equipoise.export.gguf_vocabulary import read_vocabulary
from equipoise.interventions import AffineEdit, Intervention, attach
from equipoise.models import LoadedModel
from equipoise.workflows import export

gguf = pytest.importorskip("gguf")
LLAMACPP = os.environ.get("EQUIPOISE_LLAMACPP")
needs_llamacpp = pytest.mark.skipif(
    LLAMACPP is None, reason="set EQUIPOISE_LLAMACPP to a Python that has llama.cpp"
)
TEXTS = [
    "The nurse said that 12345 people didn't come.",
    "  two  spaces\n\nand lines\t",
    "naïve café — ☕ \U0001f600",
]


def everywhere(architecture: str) -> Intervention:
    """Shifts and scales at every site of the middle block that Llama takes: all kinds of biases."""
    edits: dict[str, AffineEdit] = {}
    for site in ("block.1.norm.0", "block.1.norm.1", "block.1.heads", "block.1.mlp"):
        edits[site] = edit(architecture, site, "scale") + edit(architecture, site, "shift")
    edits["block.1.out"] = edit(architecture, "block.1.out", "shift")
    return intervention(architecture, edits)


def run(path: Path, request: dict[str, Any]) -> tuple[torch.Tensor, dict[str, Any]]:
    asked, out = path.with_suffix(".json"), path.with_suffix(".bin")
    asked.write_text(json.dumps(request))
    script = Path(__file__).with_name("llamacpp.py")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(LLAMACPP), str(script), str(path), str(asked), str(out)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    values = np.fromfile(out, dtype=np.float32).reshape(-1, answer["vocabulary"])
    return torch.from_numpy(values), answer


def compared(wanted: torch.Tensor, seen: torch.Tensor) -> tuple[float, float, int]:
    """Mean KL, largest logit difference, and top tokens that differ although the gap exceeds twice that."""
    p, q = wanted.double().log_softmax(-1), seen.double().log_softmax(-1)
    error = float((wanted - seen).abs().max())
    best = wanted.topk(2, -1).values
    clear = (best[:, 0] - best[:, 1]) > 2 * error
    wrong = int((clear & (wanted.argmax(-1) != seen.argmax(-1))).sum())
    return float((p.exp() * (p - q)).sum(-1).mean()), error, wrong


@pytest.mark.engine
@needs_llamacpp
@pytest.mark.parametrize("architecture", ["Llama", "Qwen2", "Mistral"])
def test_llama_cpp_computes_what_the_merged_model_does(architecture: str, tmp_path: Path) -> None:
    given = everywhere(architecture)
    merged = merge(model(architecture), given, 0.7).loaded
    path = tmp_path / "model.gguf"
    assert save_gguf(merged, path, "f32") == 0.0
    ids = tokens(rows=2, length=9)
    seen, answer = run(path, {"rows": ids.tolist(), "texts": TEXTS})
    wanted = logits(merged, ids).flatten(0, 1)
    kl, error, wrong = compared(wanted, seen)
    assert kl < 1e-5 and wrong == 0 and error < 1e-2 * float(wanted.abs().max())
    # The twin: the base model is far from that.
    assert compared(logits(model(architecture), ids).flatten(0, 1), seen)[0] > 1e-2
    assert answer["texts"] == [merged.tokenizer(text, add_special_tokens=False).input_ids for text in TEXTS]


@pytest.mark.engine
@needs_llamacpp
def test_a_control_vector_does_what_the_shift_does(tmp_path: Path) -> None:
    loaded = model("Llama")
    width = loaded.anatomy.hidden_size
    generator = torch.Generator().manual_seed(5)
    shifts = {f"block.{i}.out": AffineEdit(shift=torch.randn(width, generator=generator)) for i in (1, 2)}
    given = intervention("Llama", shifts)
    path = tmp_path / "base.gguf"
    save_gguf(loaded, path, "f32")
    vector = tmp_path / "vector.gguf"
    assert save_control_vector(loaded, given, 0.5, vector) == (1, 2)
    read = {t.name: np.array(t.data).tolist() for t in gguf.GGUFReader(vector).tensors}
    control = {name.removeprefix("direction."): values for name, values in read.items()}
    ids = tokens(rows=2, length=9)
    with attach(loaded, given, 0.5):
        wanted = logits(loaded, ids).flatten(0, 1)
    steered, _ = run(path, {"rows": ids.tolist(), "control": control})
    base, _ = run(path, {"rows": ids.tolist()})
    assert compared(wanted, steered)[0] < 1e-5 and compared(wanted, steered)[2] == 0
    assert compared(wanted, base)[0] > 1e-2


@pytest.mark.engine
@needs_llamacpp
@pytest.mark.real
@pytest.mark.slow
def test_the_real_model_in_llama_cpp(tmp_path: Path) -> None:
    from equipoise.models import load

    loaded = load("smollm2")
    generator = torch.Generator().manual_seed(0)

    def sparse() -> (
        torch.Tensor
    ):  # about as strong as what fitting finds; an edit that wrecks a model wrecks Q8_0 too
        return 0.02 * torch.randn(576, generator=generator) * (torch.rand(576, generator=generator) < 0.1)

    edits = {site: AffineEdit(sparse(), sparse()) for site in loaded.anatomy.sites("norm")}
    merged = merge(loaded, Intervention(edits)).loaded
    text = "The mechanic told the nurse that he would be late, because the car was not ready before noon."
    ids = torch.tensor([merged.tokenizer(text).input_ids])
    wanted = logits(merged, ids)[0]
    for kind, limit in (("f16", 1e-3), ("q8_0", 1e-2)):
        path = tmp_path / f"{kind}.gguf"
        save_gguf(merged, path, kind)  # type: ignore[arg-type]
        seen, answer = run(path, {"rows": ids.tolist(), "texts": [text, *TEXTS]})
        kl, error, wrong = compared(wanted, seen)
        print(
            f"llama.cpp {answer['release']}, {kind}: KL {kl:.2e}, largest logit difference {error:.2e}, {wrong} wrong"
        )
        assert kl <= limit and wrong == 0
        assert answer["texts"] == [
            merged.tokenizer(t, add_special_tokens=False).input_ids for t in [text, *TEXTS]
        ]


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
def test_the_file_holds_every_weight(kind: Any, tmp_path: Path) -> None:
    merged = merge(model("Llama"), everywhere("Llama")).loaded
    worst = save_gguf(merged, tmp_path / "model.gguf", kind)
    assert worst == 0.0 if kind == "f32" else 0 < worst < 1e-2
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    names = {tensor.name for tensor in reader.tensors}
    assert {"blk.1.attn_q.bias", "blk.1.attn_output.bias", "blk.1.ffn_down.bias"} <= names
    assert "output.weight" not in names  # tied
    assert reader.get_field("llama.attention.head_count_kv").contents() == 2
    if kind == "q8_0":  # rows of 80 are no multiple of 32
        kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
        assert kinds["blk.0.ffn_down.weight"] == "F16" and kinds["blk.0.attn_norm.weight"] == "F32"


def test_rotary_pairs_become_neighbours() -> None:
    weights = dict(tensors(model("Llama")))
    own = model("Llama").model.get_parameter("model.layers.0.self_attn.k_proj.weight")
    half = model("Llama").model.config.head_dim // 2
    turned = weights["blk.0.attn_k.weight"]
    assert (
        torch.equal(turned[0], own[0])
        and torch.equal(turned[1], own[half])
        and torch.equal(turned[2], own[1])
    )


def test_gguf_through_the_workflow(tmp_path: Path) -> None:
    done = export(
        model("Qwen2"), everywhere("Qwen2"), out=tmp_path / "x", format="gguf", new_tokens=2, strength=0.5
    )
    assert done.files == ("README.md", "model.gguf", "parity.json")
    report = json.loads((tmp_path / "x" / "parity.json").read_text())
    assert report["gguf"]["type"] == "f16" and report["parity"]["reloaded"] is None
    with pytest.raises(InputError, match="--gguf-type"):
        export(model("Qwen2"), everywhere("Qwen2"), out=tmp_path / "y", format="gguf", gguf_type="q4")  # type: ignore[arg-type]
    shift = Intervention({"block.1.out": AffineEdit(shift=torch.ones(48))})
    done = export(model("Qwen2"), shift, out=tmp_path / "v", format="control-vector", strength=0.5)
    assert done.files == ("README.md", "control-vector.gguf")
    (tensor,) = gguf.GGUFReader(tmp_path / "v" / "control-vector.gguf").tensors
    assert tensor.name == "direction.1" and np.array_equal(tensor.data, np.full(48, 0.5, np.float32))


def test_what_a_gguf_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be written as Llama"):
        save_gguf(model("GPT2"), tmp_path / "x.gguf")
    scaled = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0, "original_max_position_embeddings": 128}
    with pytest.raises(InputError, match="yarn"):
        save_gguf(tiny("Llama", rope_parameters=scaled), tmp_path / "y.gguf")
    with pytest.raises(InputError, match="activation silu, not gelu"):
        save_gguf(tiny("Llama", hidden_act="gelu"), tmp_path / "z.gguf")


def split_by(pre: Any) -> LoadedModel:
    loaded = tiny("Llama")
    loaded.tokenizer.backend_tokenizer.pre_tokenizer = pre  # type: ignore[attr-defined]
    return loaded


def test_the_split_of_text_is_recognised_or_refused() -> None:
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level])
    spaced = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert read_vocabulary(split_by(level).tokenizer, 384).pre == "gpt-2"
    assert read_vocabulary(split_by(digits).tokenizer, 384).pre == "smollm"
    with pytest.raises(InputError, match="split of text"):
        read_vocabulary(split_by(spaced).tokenizer, 384)
    with pytest.raises(InputError, match="the embedding 300 rows"):
        read_vocabulary(tiny("Llama").tokenizer, 300)
    padded = read_vocabulary(tiny("Llama").tokenizer, 386)
    assert padded.tokens[-1] == "[PAD385]" and padded.types[-1] == 5 and padded.types[1] == 3


def test_what_a_control_vector_cannot_say_is_refused(tmp_path: Path) -> None:
    loaded, out = model("Llama"), tmp_path / "v.gguf"
    ones = torch.ones(48)
    for edits, reason in (
        ({"block.0.out": AffineEdit(shift=ones)}, "begin with block 1"),
        ({"block.1.mlp": AffineEdit(shift=ones)}, "block outputs"),
        ({"block.1.out": AffineEdit(scale=ones, shift=ones)}, "also multiplies"),
    ):
        with pytest.raises(InputError, match=reason):
            save_control_vector(loaded, Intervention(edits), 1.0, out)
    with pytest.raises(InputError, match="all tokens"):
        save_control_vector(loaded, Intervention({"block.1.out": AffineEdit(shift=ones)}, "answer"), 1.0, out)
    with pytest.raises(InputError, match="nothing to write"):
        save_control_vector(loaded, Intervention({"block.1.out": AffineEdit(shift=ones)}), 0.0, out)
    assert not out.exists()
