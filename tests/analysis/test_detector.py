"""Detectors: the same after a round trip, the same in a batch as alone, and refused where they don't belong."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from interventions.samples import intervention
from safetensors.torch import save_file
from scoring.samples import PROMPTS, model
from tiny import tiny

from equipoise.analysis import Detector, activations
from equipoise.analysis.activations import Reading
from equipoise.errors import InputError
from equipoise.interventions import Intervention, Provenance, attach, read_header
from equipoise.scoring import text_ids

SITE = "block.1.out"


def detector(name: str = "Llama", reading: Reading = "last", site: str = SITE, **more: Any) -> Detector:
    loaded = model(name)
    weight = torch.randn(loaded.anatomy.site(site).width, generator=torch.Generator().manual_seed(0))
    origin = Provenance("probe", {"folds": 5}, model=loaded.fingerprint, seed=3)
    return Detector("age", site, weight, -0.25, 0.4, reading, origin, **more)


@pytest.mark.parametrize("reading", ["last", "mean"])
def test_scores_are_the_sigmoid_of_what_is_read(reading: Reading) -> None:
    loaded, one = model("Llama"), detector(reading=reading)
    rows = [text_ids(loaded.tokenizer, text) for text in PROMPTS]
    read = activations(loaded, rows, [SITE], reading=reading)[SITE]
    expected = 1 / (1 + torch.exp(-(read.double() @ one.weight.double() - 0.25)))
    assert one.scores(loaded, PROMPTS) == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-6)
    assert one.scores(loaded, [*PROMPTS[:1], rows[1]]) == pytest.approx(expected[:2].tolist(), rel=1e-3)
    assert one.fires(read).tolist() == (expected > 0.4).tolist()


def test_a_round_trip_is_exact(tmp_path: Path) -> None:
    one = detector("Qwen3", "mean", "block.2.heads")
    path = one.save(tmp_path / "detector.safetensors")
    two = Detector.load(path)
    assert torch.equal(one.weight, two.weight)
    for name in ("category", "site", "bias", "threshold", "reading"):
        assert getattr(one, name) == getattr(two, name)
    assert one.provenance.to_json() == two.provenance.to_json()
    two.check(model("Qwen3"))
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        one.save(path)
    assert two.save(path, force=True).read_bytes() == before


def test_files_of_another_kind_are_refused_both_ways(tmp_path: Path) -> None:
    vector = intervention(model("Llama")).save(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="holds an 'intervention', not a detector"):
        Detector.load(vector)
    path = detector().save(tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="give it as --detect"):
        Intervention.load(path)
    with pytest.raises(InputError, match="make it with `equipoise probe`"):
        Detector.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("change", "tensors", "message"),
    [
        ({"extra": 1}, None, "unknown keys in the header: extra"),
        ({"bias": "x"}, None, "bias in the header is 'x'"),
        ({"threshold": 1.5}, None, "threshold is 1.5"),
        ({"reading": "first"}, None, "reads last or mean"),
        ({"format": 99}, None, "update equipoise"),
        ({}, {"weight": torch.tensor([1.0, float("nan")])}, "finite"),
        ({}, {"weight": torch.ones(2, 2)}, "vector"),
        ({}, {"weight": torch.ones(2, dtype=torch.float16)}, "one float32 tensor"),
        ({}, {"other": torch.ones(2)}, "one float32 tensor"),
    ],
)
def test_a_damaged_file_is_one_line(
    tmp_path: Path, change: dict[str, Any], tensors: dict[str, torch.Tensor] | None, message: str
) -> None:
    path = detector().save(tmp_path / "a.safetensors")
    header = {**read_header(path), **change}
    save_file(tensors or {"weight": torch.ones(48)}, path, metadata={"equipoise": json.dumps(header)})
    with pytest.raises(InputError, match=message) as caught:
        Detector.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_another_models_detector_and_a_steered_model_are_refused() -> None:
    with pytest.raises(InputError, match="another model"):
        detector().check(tiny("Llama", 1))
    with pytest.raises(InputError, match="wide"):
        Detector("age", SITE, torch.ones(7), 0.0).check(model("Llama"))
    loaded = model("Llama")
    with attach(loaded, intervention(loaded)), pytest.raises(InputError, match="is steered"):
        detector().scores(loaded, PROMPTS)
    assert detector().scores(loaded, PROMPTS)
