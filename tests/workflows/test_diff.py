"""Diff: paired differences are the audit's own, equal results have none, and what can't be compared is one line."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny

from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention, Provenance, attach
from equipoise.models import LoadedModel
from equipoise.reports import Diff, Results, render_diff
from equipoise.workflows import audit, diff

FAST: dict[str, Any] = {"limit": 40, "passages": 6}


@cache
def model() -> LoadedModel:
    return tiny("Llama", 0)


def edit(size: float) -> Intervention:
    width = model().anatomy.site("final.norm").width
    shift = size * torch.randn(width, generator=torch.Generator().manual_seed(0))
    origin = Provenance(method="dso", model=model().fingerprint)
    return Intervention({"final.norm": AffineEdit(shift=shift)}, provenance=origin)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``swept``: the base model and λ = 1; ``steered``: a model that has the same edit before it is audited."""
    root = tmp_path_factory.mktemp("audits")
    audit(model(), "pronouns", intervention=edit(0.6), strengths=[1.0], out=root / "swept", **FAST)
    with attach(model(), edit(0.6), 1.0):
        audit(model(), "pronouns", out=root / "steered", **FAST)
    return root


def changes(found: Diff, label: str = "base model") -> dict[str, Any]:
    (pair,) = [pair for pair in found.pairs if pair.a == label]
    return {one.metric: one for one in pair.differences}


def test_paired_by_item_the_difference_is_what_the_audit_of_both_gives(folders: Path) -> None:
    found = changes(diff(folders / "swept", folders / "steered" / "results.json"))
    (run,) = [run for run in Results.read(folders / "swept" / "results.json").runs if run.strength == 1]
    assert set(run.changes) <= set(found)
    for name, expected in run.changes.items():
        assert expected is not None and found[name].paired in ("items", "passages")
        # The same texts in another order of batches differ by rounding.
        for end in ("value", "low", "high"):
            value = getattr(found[name].change, end)
            assert value == pytest.approx(getattr(expected, end), rel=1e-3, abs=2e-5), (name, end)
    bias = found["per_occupation_bias"]
    assert bias.certain == (bias.p is not None and bias.p <= 0.05)


def test_equal_results_have_no_difference(folders: Path) -> None:
    found = diff(folders / "swept", folders / "swept")
    assert [pair.a for pair in found.pairs] == ["base model", "dso at λ = 1"]
    for pair in found.pairs:
        for one in pair.differences:
            assert one.change.value == 0 and one.p is None and not one.certain
    assert "No difference" in render_diff(found)


def test_the_test_is_the_intervals(folders: Path) -> None:
    """At every level at which p rejects the interval excludes 0, and at the next smaller one it doesn't."""
    bias = changes(diff(folders / "swept", folders / "steered"))["greedy_per_occupation_bias"]
    assert bias.p is None or 0 < bias.p <= 0.5
    back = changes(diff(folders / "steered", folders / "swept"))["greedy_per_occupation_bias"]
    assert back.p == bias.p and back.change.value == pytest.approx(-bias.change.value)


def test_without_scores_bias_is_paired_by_occupation_and_a_word_says_so(
    folders: Path, tmp_path: Path
) -> None:
    for name in ("swept", "steered"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text((folders / name / "results.json").read_text())
    weaker = diff(tmp_path / "swept", tmp_path / "steered")
    found, paired = changes(weaker), changes(diff(folders / "swept", folders / "steered"))
    assert any("scores.jsonl" in note for note in weaker.notes)
    bias = found["per_occupation_bias"]
    assert bias.paired == "occupations" and bias.p is not None
    assert bias.change.value == pytest.approx(paired["per_occupation_bias"].change.value, abs=1e-5)
    gap = found["stereotype_gap"]
    assert gap.paired == "none" and gap.p is None
    # What isn't paired knows less.
    own = paired["stereotype_gap"].change
    assert gap.change.high - gap.change.low > own.high - own.low


def test_it_is_written_as_json_and_as_a_page(folders: Path, tmp_path: Path) -> None:
    found = diff(folders / "swept", folders / "steered", out=tmp_path / "diff.json")
    assert json.loads((tmp_path / "diff.json").read_text()) == json.loads(json.dumps(found.to_dict()))
    diff(folders / "swept", folders / "steered", out=tmp_path / "diff.html")
    page = (tmp_path / "diff.html").read_text()
    assert page.startswith("<!doctype html>") and "://" not in page and "the same items" in page
    with pytest.raises(InputError, match="--force"):
        diff(folders / "swept", folders / "steered", out=tmp_path / "diff.html")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: [run.update(task="other") for run in content["runs"]], "nothing to compare"),
        (lambda content: content["data"].update(pronouns="sha256:0"), "asked different items of pronouns"),
        (lambda content: content.pop("runs"), "runs is missing"),
    ],
)
def test_what_cannot_be_compared_is_one_line(folders: Path, tmp_path: Path, spoil: Any, message: str) -> None:
    content = json.loads((folders / "steered" / "results.json").read_text())
    spoil(content)
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        diff(folders / "swept", tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_scores_and_missing_results_are_named(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        diff(folders / "swept", tmp_path)
    (tmp_path / "results.json").write_text((folders / "swept" / "results.json").read_text())
    (tmp_path / "scores.jsonl").write_text('{"scores": 1}\n{"task"')
    with pytest.raises(InputError, match=r"scores.jsonl: is damaged"):
        diff(folders / "swept", tmp_path)
    with pytest.raises(InputError, match=r"\.json or \.html"):
        diff(folders / "swept", folders / "swept", out=tmp_path / "diff.txt")


def test_other_text_leaves_out_what_it_costs(folders: Path, tmp_path: Path) -> None:
    content = json.loads((folders / "steered" / "results.json").read_text())
    content["text"] = "another"
    (tmp_path / "results.json").write_text(json.dumps(content))
    found = diff(folders / "swept", tmp_path)
    assert not {"kl_to_base", "perplexity"} & set(changes(found))
    assert any("left out" in note for note in found.notes)


def test_more_passages_on_the_other_side_change_nothing_but_what_text_costs(
    folders: Path, tmp_path: Path
) -> None:
    more = {**FAST, "passages": FAST["passages"] + 2}
    with attach(model(), edit(0.6), 1.0):
        audit(model(), "pronouns", out=tmp_path / "more", **more)
    found, same = (
        changes(diff(folders / "swept", other)) for other in (tmp_path / "more", folders / "steered")
    )
    assert found["per_occupation_bias"].change == same["per_occupation_bias"].change
    assert not {"kl_to_base", "perplexity"} & set(found)


def test_where_no_setting_is_shared_it_is_said_that_only_the_base_models_are_compared(
    folders: Path, tmp_path: Path
) -> None:
    def alone(found: Diff) -> bool:
        return any("the base models alone" in note for note in found.notes)

    content = json.loads((folders / "swept" / "results.json").read_text())
    content["recommendation"].update(mitigation=None, strength=None)
    for number, strength in enumerate((1.0, 2.0)):
        content["runs"][1]["strength"] = strength
        (tmp_path / f"{number}.json").write_text(json.dumps(content))
    assert alone(diff(tmp_path / "0.json", tmp_path / "1.json"))
    assert not alone(diff(tmp_path / "0.json", tmp_path / "0.json"))
    assert not alone(diff(folders / "swept", folders / "steered"))


def test_against_other_targets_the_difference_has_the_metrics_sign(tmp_path: Path) -> None:
    audit(model(), "pronouns-labour", out=tmp_path / "a", **FAST)
    with attach(model(), edit(0.6), 1.0):
        audit(model(), "pronouns-labour", out=tmp_path / "b", **FAST)
    paired = changes(diff(tmp_path / "a", tmp_path / "b"))["per_occupation_bias"]
    (tmp_path / "b" / "scores.jsonl").unlink()
    found = changes(diff(tmp_path / "a", tmp_path / "b"))["per_occupation_bias"]
    assert found.paired == "occupations"
    assert found.change.value == pytest.approx(paired.change.value, abs=1e-6)
