"""A LN-tuning adapter does what the steered model does, where it can; everything else is refused."""

import json
from pathlib import Path

import pytest
import torch
from export.cases import edit, intervention, model
from interventions.samples import logits, tokens

from equipoise import InputError
from equipoise.interventions import attach
from equipoise.workflows import export

peft = pytest.importorskip("peft")


@pytest.mark.parametrize(
    ("architecture", "parts"), [("Llama", ["scale"]), ("Gemma3", ["scale"]), ("GPT2", ["scale", "shift"])]
)
def test_stock_peft_does_what_the_steered_model_does(
    architecture: str, parts: list[str], tmp_path: Path
) -> None:
    sites = ["block.1.norm.0", "block.1.norm.1", "final.norm"]
    edits = {site: edit(architecture, site, parts[0]) for site in sites}
    for part in parts[1:]:
        edits = {site: one + edit(architecture, site, part) for site, one in edits.items()}
    given, loaded = intervention(architecture, edits), model(architecture)
    done = export(loaded, given, out=tmp_path / "x", strength=0.7, format="peft", new_tokens=4)
    assert done.files == ("README.md", "adapter_config.json", "adapter_model.safetensors", "parity.json")
    ids = tokens()
    base = logits(loaded, ids)
    with attach(loaded, given, 0.7):
        wanted = logits(loaded, ids)
    import copy

    read = peft.PeftModel.from_pretrained(copy.deepcopy(loaded.model), str(tmp_path / "x"))
    with torch.no_grad():
        found = read(input_ids=ids).logits
    assert torch.allclose(found, wanted, atol=1e-4) and not torch.allclose(base, wanted, atol=1e-2)
    with torch.no_grad(), read.disable_adapter():
        assert torch.equal(read(input_ids=ids).logits, base)
    report = json.loads((tmp_path / "x" / "parity.json").read_text())
    assert report["parity"]["loader"] == "peft.PeftModel"
    assert report["parity"]["reloaded"]["same_texts"] == report["parity"]["reloaded"]["texts"]
    card = (tmp_path / "x" / "README.md").read_text()
    assert "LN tuning" in card and "library_name: peft" in card


@pytest.mark.parametrize(
    ("architecture", "site", "part"),
    [
        ("Llama", "block.1.norm.0", "shift"),
        ("Mistral", "block.1.norm.1", "shift"),
        ("Llama", "block.1.norm.0", "low rank"),
        ("GPT2", "block.1.mlp", "scale"),
    ],
)
def test_what_norms_cannot_hold_is_refused(architecture: str, site: str, part: str, tmp_path: Path) -> None:
    given = intervention(architecture, {site: edit(architecture, site, part)})
    with pytest.raises(InputError, match="replaces norms alone"):
        export(model(architecture), given, out=tmp_path / "x", format="peft", new_tokens=2)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_nothing(tmp_path: Path) -> None:
    given = intervention("Llama", {"block.1.norm.0": edit("Llama", "block.1.norm.0", "scale")})
    with pytest.raises(InputError, match="nothing to write"):
        export(model("Llama"), given, out=tmp_path / "x", strength=0.0, format="peft", new_tokens=2)
