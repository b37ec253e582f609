"""What is written is what was steered, read by a stock loader in a process of its own, or nothing is written."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch
from export.cases import edit, intervention, model
from tiny import tiny

from equipoise import InputError
from equipoise.export import merge, parity, prove, save_checkpoint, standalone, steered_reference
from equipoise.interventions import AffineEdit, Intervention
from equipoise.models import load
from equipoise.reports import Results
from equipoise.scoring import prompt_ids
from equipoise.workflows import export

PROMPTS = [[40, 60, 80], [41, 61], [42, 62, 82, 102]]


def given(architecture: str = "Qwen2") -> Intervention:
    edits = {
        "block.1.norm.1": edit(architecture, "block.1.norm.1", "scale")
        + edit(architecture, "block.1.norm.1", "shift"),
        "block.1.heads": edit(architecture, "block.1.heads", "low rank"),
    }
    return intervention(architecture, edits)


def test_a_checkpoint_is_proved_and_written(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "model"
    done = export(model("Qwen2"), given(), out=out, strength=0.7, new_tokens=8)
    assert set(done.files) >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "parity.json",
        "README.md",
    }
    assert [path.name for path in out.parent.iterdir()] == ["model"]
    report = json.loads((out / "parity.json").read_text())
    assert report["as_llama"] and report["strength"] == 0.7
    for which in ("merged", "reloaded"):
        seen = report["parity"][which]
        assert seen["relative"] < 1e-5 and seen["kl"] < 1e-8 and seen["same_top"] == 1.0
        assert seen["same_texts"] == seen["texts"] == 8
    assert report["parity"]["loaded_class"] == "LlamaForCausalLM"
    card = (out / "README.md").read_text()
    for words in ("λ = 0.7", "method: test", "Licence", "Limits", "AutoModelForCausalLM", "`block.i.heads`"):
        assert words in card
    assert json.loads((out / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    again = load(out)
    ids = torch.tensor([PROMPTS[0]])
    assert torch.equal(again.model(ids).logits, merge(model("Qwen2"), given(), 0.7).loaded.model(ids).logits)


@pytest.mark.real
@pytest.mark.slow
def test_the_real_model_says_the_same_for_200_tokens(tmp_path: Path) -> None:
    loaded = load("smollm2")
    generator = torch.Generator().manual_seed(0)

    def sparse() -> torch.Tensor:
        return 0.02 * torch.randn(576, generator=generator) * (torch.rand(576, generator=generator) < 0.1)

    edits = {site: AffineEdit(sparse(), sparse()) for site in loaded.anatomy.sites("norm")}
    merged = merge(loaded, Intervention(edits), 0.7).loaded
    save_checkpoint(merged, tmp_path / "model")
    names = ("My uncle is the mechanic, and", "Once upon a time")
    prompts = [prompt_ids(loaded, name) for name in names]
    reference = steered_reference(loaded, Intervention(edits), 0.7, prompts, new_tokens=200)
    found = prove(reference, merged, tmp_path / "model", names)
    assert found.reloaded is not None and found.loaded_class == "LlamaForCausalLM"
    for what, one in (("merged", found.merged), ("reloaded", found.reloaded)):
        print(
            f"{what}: {one.relative:.1e} of the largest logit, KL {one.kl:.1e}, {one.same_texts} same, {one.ties} ties"
        )
        assert one.relative <= 1e-4 and one.same_texts + one.ties == one.texts == 2
    texts = [row["answer"] for row in reference.rows]
    assert max(map(len, texts)) == 200
    # The twin: the base model would say something else.
    base = standalone.answer_logits(loaded.model, prompts[0], texts[0]).argmax(-1).tolist()
    assert base != texts[0]


def test_what_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(InputError, match="holds other things"):
            export(model("Qwen2"), given(), out=tmp_path, force=force)
    done = tmp_path / "done"
    export(model("Llama"), given("Llama"), out=done, new_tokens=2, format="gguf")
    with pytest.raises(InputError, match="--force"):
        export(model("Llama"), given("Llama"), out=done, new_tokens=2, format="gguf")
    before = (done / "parity.json").read_text()
    export(model("Llama"), given("Llama"), out=done, new_tokens=2, format="gguf", strength=0.5, force=True)
    assert (done / "parity.json").read_text() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["done", "mine.txt"]


def test_a_checkpoint_that_says_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = sys.modules["equipoise.workflows.export"]

    def saves_the_base(loaded: object, folder: Path) -> None:
        save_checkpoint(model("Qwen2"), folder)

    monkeypatch.setattr(workflow, "save_checkpoint", saves_the_base)
    with pytest.raises(InputError, match="reloaded model is not the steered one"):
        export(model("Qwen2"), given(), out=tmp_path / "model", new_tokens=4)
    assert list(tmp_path.iterdir()) == []


def test_an_edit_without_a_place_writes_nothing(tmp_path: Path) -> None:
    shift = AffineEdit(shift=torch.ones(model("Phi3").anatomy.hidden_size))
    with pytest.raises(InputError, match=r"block\.0\.norm\.1: a shift can't be merged"):
        export(model("Phi3"), Intervention({"block.0.norm.1": shift}), out=tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_imports_equipoise_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = steered_reference(model("Llama"), given("Llama"), 1.0, PROMPTS, new_tokens=3)
    found = merge(model("Llama"), given("Llama"))
    save_checkpoint(found.loaded, tmp_path / "model")
    agreement, kind = parity.agreement_reloaded(reference, tmp_path / "model", "AutoModelForCausalLM")
    assert kind == "LlamaForCausalLM" and agreement.same_texts == 3
    script = tmp_path / "script.py"
    source = (
        Path(standalone.__file__).read_text().replace("import json\n", "import json\nimport equipoise\n", 1)
    )
    script.write_text(source)
    monkeypatch.setattr(standalone, "__file__", str(script))
    root = str(Path(parity.__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", root)
    with pytest.raises(InputError, match="imported equipoise"):
        parity.agreement_reloaded(reference, tmp_path / "model", "AutoModelForCausalLM")


def test_a_text_may_part_only_where_two_tokens_are_close() -> None:
    reference = steered_reference(model("Llama"), given("Llama"), 1.0, PROMPTS, new_tokens=4)
    seen = standalone.look(model("Llama").model, reference.rows, iter(reference.logits), reference.request)
    base = parity._agreement(reference, seen)
    assert base.complaint("float32") is not None and base.relative > 1e-2  # the base model is another one
    same = {
        "rows": [
            {**row, "answer": list(wanted["answer"]), "difference": 1e-6, "kl": 0.0}
            for row, wanted in zip(seen["rows"], reference.rows, strict=True)
        ]
    }
    assert parity._agreement(reference, same).complaint("float32") is None
    same["rows"][0]["answer"][1] += 1
    apart = parity._agreement(reference, same)
    assert (apart.same_texts, apart.ties) == (2, 0)
    assert "1 greedy texts differ" in str(apart.complaint("float32"))
    gaps = ((reference.gaps[0][0], 1e-6, *reference.gaps[0][2:]), *reference.gaps[1:])
    close = parity._agreement(dataclasses.replace(reference, gaps=gaps), same)
    assert (close.same_texts, close.ties) == (2, 1) and close.complaint("float32") is None


def test_half_precision_states_what_it_lost(tmp_path: Path) -> None:
    loaded = tiny("Llama")
    loaded.model.bfloat16()
    weak = Intervention({"block.1.norm.0": AffineEdit(scale=torch.full((48,), 1e-3))})
    done = export(loaded, weak, out=tmp_path / "model", new_tokens=4, format="gguf")
    report = json.loads((tmp_path / "model" / "parity.json").read_text())
    assert report["lost_to_rounding"] > 40 and report["entries"] == 48
    assert report["parity"]["dtype"] == "bfloat16" and report["parity"]["limits"]["relative"] == 5e-2
    assert ("lost to rounding", f"{report['lost_to_rounding']} entries; try --dtype float32") in done.rows()
    assert "undid" in (tmp_path / "model" / "README.md").read_text()


def test_an_audits_figures_go_into_the_card(tmp_path: Path) -> None:
    def run(strength: float, mitigation: str | None, bias: float) -> dict[str, object]:
        numbers = {"value": bias, "low": bias - 0.01, "high": bias + 0.01, "n": 9}
        return {
            "task": "pronouns",
            "split": "heldout",
            "mitigation": mitigation,
            "file": None,
            "strength": strength,
            "keep": None,
            "seed": 0,
            "n": 9,
            "metrics": {"per_occupation_bias": numbers},
            "groups": [],
        }

    content = {
        "schema": 1,
        "equipoise": "0",
        "model": {"name": "x"},
        "seeds": [0],
        "level": 0.95,
        "recommendation": None,
        "runs": [run(0.0, None, 0.3), run(0.5, "dso", 0.1)],
    }
    results = Results.from_dict(content)
    export(
        model("Llama"),
        given("Llama"),
        out=tmp_path / "model",
        strength=0.5,
        new_tokens=2,
        format="gguf",
        results=results,
    )
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| per-occupation bias | 0.300 [0.290, 0.310] | 0.100 [0.090, 0.110] |" in card
    with pytest.raises(InputError, match=r"nothing at strength 0.7: it measured \[0.0, 0.5\]"):
        export(model("Llama"), given("Llama"), out=tmp_path / "other", strength=0.7, results=results)
