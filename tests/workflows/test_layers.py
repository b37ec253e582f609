"""Layers: every number is the stream's own, the last is the model's, and a mitigation shows from its layer on."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from methods.samples import TinyTask
from tasks.test_people import drawn
from tiny import tiny
from vlms import tiny_vlm
from workflows.test_choices_task import short

from equipoise.analysis import read_streams
from equipoise.cli import run
from equipoise.errors import InputError, InputWarning
from equipoise.interventions import AffineEdit, Intervention, Provenance
from equipoise.methods import Prompting
from equipoise.metrics import choice_scores
from equipoise.scoring import encode_all
from equipoise.tasks import Choices
from equipoise.workflows import layers


def test_curves_are_the_lens_of_the_streams(tmp_path: Path) -> None:
    loaded, task = tiny("Llama"), short(tmp_path)
    edit = Intervention({"block.1.out": AffineEdit(shift=0.5 * torch.randn(48))})
    found = layers(loaded, task, intervention=edit, limit=None, out=tmp_path / "out")
    items = list(task.split(0).heldout)
    encoded = encode_all(loaded, items)
    streams = read_streams(loaded, encoded)
    base, steered = found.curve("text"), found.curve("text", mitigated=True)
    assert base.n == len(items) and len(base.layers) == 3
    for at, layer in enumerate(base.layers):
        fair: dict[str, list[bool]] = {}
        for part, states in (
            ("before", streams.before),
            ("middle", streams.middle),
            ("after", streams.after),
        ):
            with torch.no_grad():
                p = loaded.model.lm_head(loaded.model.model.norm(states[at])).softmax(-1).numpy()
            table = np.zeros((len(items), 3))
            for row, (item, one) in enumerate(zip(items, encoded, strict=True)):
                means: dict[int, set[str]] = {}
                for option, outcome in zip(one.options, item.outcomes, strict=True):
                    means.setdefault(option[0], set()).add(outcome)
                for token, outcomes in means.items():
                    for outcome in outcomes:
                        table[row, task.outcomes.index(outcome)] += p[row, token] / len(outcomes)
            fair[part] = list(table.argmax(1) == 0)
        scores = choice_scores(table)
        values = {name: estimate.value for name, estimate in layer.metrics.items() if estimate is not None}
        assert values["fairness"] == pytest.approx(scores.fairness)
        assert values["attribute_kl"] == pytest.approx(scores.kl, abs=1e-4)
        assert values["said"] == pytest.approx(scores.mass, abs=1e-4)
        residuals = {
            name: estimate.value for name, estimate in layer.residuals.items() if estimate is not None
        }
        assert residuals["before"] == pytest.approx(np.mean(fair["before"]))
        differ = np.array(fair["before"]) != np.array(fair["middle"])
        assert residuals["disagree"] == pytest.approx(differ.mean())
    assert base.layers[-1].metrics == base.final
    # Block 0 comes before the edit; what block 1 hands on is edited.
    assert steered.layers[0] == base.layers[0]
    assert steered.layers[1].residuals == base.layers[1].residuals
    assert steered.layers[1].metrics != base.layers[1].metrics
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written["kind"] == "layers" and len(written["curves"]) == 2
    assert (
        written["curves"][1]["strength"] == 1.0
        and "disagree" in written["curves"][0]["layers"][2]["residuals"]
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<svg") == 5 and "Residuals that disagree" in page
    with pytest.raises(InputError, match="exists already"):
        layers(loaded, task, out=tmp_path / "out")


def test_images_have_a_curve_of_their_own(tmp_path: Path) -> None:
    roles = tuple(f"role{k}" for k in range(17))
    path = tmp_path / "few.toml"
    path.write_text(
        'system = ""\n[templates]\noccupation = ["{concept} {options}", "a {concept} {options}"'
        ', "b {concept} {options}", "c {concept} {options}", "d {concept} {options}"]\n'
    )
    task = Choices(str(drawn(tmp_path / "people", roles)), "tone", path)
    found = layers(tiny_vlm("LLaVA"), task, limit=None)
    assert {curve.modality for curve in found.curves} == {"text", "image"}
    assert all(len(curve.layers) == 3 and curve.n > 0 for curve in found.curves)


def test_any_task_with_closed_answers_and_an_instruction() -> None:
    loaded = tiny("Llama")
    found = layers(loaded, TinyTask(), intervention=Prompting("Be fair."), limit=40)
    base, asked = found.curve(), found.curve(mitigated=True)
    assert set(base.final) == {"per_occupation_bias", "said"} and base.final != asked.final


def test_a_file_of_another_seed_is_warned_of_and_each_seed_may_have_its_own(tmp_path: Path) -> None:
    loaded = tiny("Llama")
    for seed in (0, 3):
        origin = Provenance("dso", {"task": "tiny"}, loaded.fingerprint, seed=seed)
        edit = Intervention({"block.1.out": AffineEdit(shift=torch.ones(48))}, provenance=origin)
        edit.save(tmp_path / f"fit-{seed}.safetensors")
    with pytest.warns(
        InputWarning, match="fit-0.safetensors was fitted with seed 0 and is measured at seed 3"
    ):
        layers(loaded, TinyTask(), intervention=tmp_path / "fit-0.safetensors", seed=3, limit=40)
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        layers(loaded, TinyTask(), intervention=tmp_path / "fit-{seed}.safetensors", seed=3, limit=40)


def test_the_command_and_its_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = tiny("Llama")
    loaded.model.save_pretrained(tmp_path / "model")
    loaded.tokenizer.save_pretrained(tmp_path / "model")
    out = str(tmp_path / "out")
    assert run(["layers", str(tmp_path / "model"), "--task", "pronouns", "--limit", "40", "--out", out]) == 0
    shown = capsys.readouterr().out
    assert "block" in shown and "report:" in shown
    assert run(["layers", str(tmp_path / "model"), "--task", "nothing", "--out", out, "--force"]) == 2
    with pytest.raises(InputError, match="limit"):
        layers(loaded, TinyTask(), limit=1)
    with pytest.raises(InputError, match="the limit is 0, but must be at least 1"):
        layers(loaded, TinyTask(), limit=0)
