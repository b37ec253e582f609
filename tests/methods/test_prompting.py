"""An instruction as a mitigation: chosen on validation data, and a file like the others."""

from pathlib import Path

import pytest
import torch
from interventions.samples import model
from methods.samples import TinyTask
from safetensors.torch import save_file

from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention
from equipoise.methods import Prompting, Steering, load_mitigation, prompting
from equipoise.methods.mitigation import rewritten
from equipoise.methods.prompting import INSTRUCTIONS, PromptingSettings
from equipoise.methods.validation import answered
from equipoise.workflows import info

TEXT = "People of any gender can have any occupation."


def test_the_instruction_of_least_bias_is_taken() -> None:
    loaded, task = model("Llama"), TinyTask()
    found = prompting.fit(loaded, task, settings=PromptingSettings(items=40, accuracy_drop=1.0))
    assert found.instruction in INSTRUCTIONS
    fitted = found.provenance.config["validation"]["fitted"]["bias"]
    validation = list(task.split(0).validation)
    biases = {}
    for instruction in INSTRUCTIONS:
        one = prompting.fit(loaded, task, settings=PromptingSettings(instruction, 40, 1.0))
        biases[instruction] = one.provenance.config["validation"]["fitted"]["bias"]
    assert fitted == biases[found.instruction] == min(biases.values()) < max(biases.values())
    # It is what the rewritten prompts give, and the base's figure what the bare ones give.
    whole = prompting.fit(loaded, task, settings=PromptingSettings(TEXT, 10_000, 1.0))
    figures = whole.provenance.config["validation"]
    asked = rewritten(Prompting(TEXT), validation, 1.0)
    assert figures["fitted"]["bias"] == pytest.approx(answered(loaded, asked, task.outcomes).bias, rel=1e-4)
    assert figures["base"]["bias"] == pytest.approx(
        answered(loaded, validation, task.outcomes).bias, rel=1e-4
    )


def test_a_file_of_its_own_kind(tmp_path: Path) -> None:
    path = Prompting(TEXT).save(tmp_path / "a.safetensors")
    assert load_mitigation(path) == Prompting(TEXT)
    rows = dict(info(path))
    assert rows["kind"] == "prompt" and rows["instruction"] == TEXT
    with pytest.raises(InputError, match="exists already"):
        Prompting(TEXT).save(path)
    with pytest.raises(InputError, match="'prompt', not an intervention"):
        Intervention.load(path)


def test_other_files_are_interventions(tmp_path: Path) -> None:
    found = Intervention({"block.0.out": AffineEdit(shift=torch.ones(48))})
    path = found.save(tmp_path / "b.safetensors")
    loaded = load_mitigation(path)
    assert isinstance(loaded, Steering) and loaded.intervention.digest == found.digest
    assert isinstance(load_mitigation(f"{path}+{path}"), Steering)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    entry = '{"format": 1, "kind": "prompt", "instruction": %s}'
    save_file({}, path, metadata={"equipoise": entry % '"be fair"'})
    with pytest.raises(InputError, match=r"c\.safetensors.*provenance"):
        load_mitigation(path)
    with pytest.raises(InputError, match="no such file"):
        load_mitigation(tmp_path / "none.safetensors")


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_instruction_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="instruction is empty"):
        PromptingSettings(text)
