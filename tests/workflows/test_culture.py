"""Culture: agreement is the probability of answering as an annotator does, by dimension and community."""

import json
from pathlib import Path

import numpy as np
import pytest
from tasks.test_culture import MATERIAL, written
from tiny import tiny

from equipoise.cli import run
from equipoise.errors import InputError
from equipoise.metrics import Estimate, jaccard, krippendorff_alpha
from equipoise.reports.culture import CultureResults, CultureRow, headline
from equipoise.scoring import score_options
from equipoise.tasks import load_annotations
from equipoise.workflows import culture


def test_agreement_by_hand(tmp_path: Path) -> None:
    loaded, file = tiny("Llama"), load_annotations(written(tmp_path))
    found = culture(file, loaded)
    p = score_options(loaded, file.items(images=False)).probabilities
    yes = p[:, 0] / p.sum(1)
    row = found.row(MATERIAL)
    assert [one.dimension for one in found.rows] == [MATERIAL]
    shares = {"here": np.array([1, 0.5]), "there": np.array([0, 0])}
    for community, s in shares.items():
        estimate = row.agreement[community]
        assert estimate is not None and np.isnan(estimate.low)  # one subject: no interval
        assert estimate.value == pytest.approx(np.mean(yes * s + (1 - yes) * (1 - s)))
        assert row.no_label[community] == pytest.approx(np.mean(1 - s))
    values = {name: one.value for name, one in row.agreement.items() if one is not None}
    assert row.worst == min(values, key=lambda name: values[name])
    assert row.gap == pytest.approx(max(values.values()) - min(values.values()))
    assert row.alpha == krippendorff_alpha(file.values(MATERIAL), jaccard) and row.split == 1
    assert row.alphas["there"] is None


def test_files_and_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    names = ["--annotations", "example-objects", "--annotations", "example-feasts"]
    assert run(["culture", *names, "--out", str(out)]) == 0
    assert "material culture" in capsys.readouterr().out
    told = json.loads((out / "results.json").read_text())
    assert told["model"] is None and len(told["dimensions"]) == 5 and told["subjects"] == 10
    assert "Agreement with each community" not in (out / "report.html").read_text()
    found = culture(["example-objects", "example-feasts"], tiny("Llama"), out=out, force=True)
    page = (out / "report.html").read_text()
    assert (
        "Agreement with each community" in page and "uses it at home" in page and "nobody annotated" in page
    )
    for row in found.rows:
        assert row.gap is not None and set(row.agreement) == {"uses it at home", "knows it from travels"}
    assert any(one is not None and not np.isnan(one.low) for one in found.row(MATERIAL).agreement.values())
    assert run(["culture", "--annotations", "nowhere.json"]) == 2
    with pytest.raises(InputError, match="two files of annotations are called 'example-feasts'"):
        culture(["example-objects", "example-feasts", "example-feasts"])


def test_the_headlines_gap_is_the_tables() -> None:
    agreement = {"north": Estimate(0.5, 0.4, 0.6, 20), "south": Estimate(0.695, 0.6, 0.8, 20)}
    row = CultureRow("colour", None, {}, 0.0, agreement, {"north": 0.0, "south": 0.0})
    found = CultureResults({"name": "tiny"}, ["a.json"], [], ["north", "south"], (row,), 1, 1)
    assert headline(found).startswith("The widest gap is 19.5 points, in colour")
