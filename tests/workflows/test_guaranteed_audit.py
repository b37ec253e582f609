"""An audit with a guarantee: chosen on occupations and text that the report does not show."""

from functools import cache

import pytest
import torch
from tasks.suite_files import crows_pairs
from tiny import tiny

from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention
from equipoise.models import LoadedModel
from equipoise.tasks import Pronouns, load_task, set_aside
from equipoise.workflows import audit
from equipoise.workflows.measure import Questions

FAST = {"limit": 40, "passages": 10, "strengths": [1.0]}


@cache
def model() -> LoadedModel:
    return tiny("Llama", 0)


def even() -> Intervention:
    """Takes every difference from the answers: bias 0, at any price."""
    width = model().anatomy.site("final.norm").width
    return Intervention({"final.norm": AffineEdit(scale=-torch.ones(width))})


def test_set_aside_share_no_occupation() -> None:
    task = Pronouns()
    heldout = task.split(0).heldout
    first, second = set_aside(task, heldout, 0)
    occupations = [{group for item in part for group in item.groups} for part in (first, second)]
    assert not occupations[0] & occupations[1]
    assert occupations[0] | occupations[1] == {group for item in heldout for group in item.groups}
    shown, kept = (Questions.of(task, [0], None, share=share) for share in ("report", "calibration"))
    assert {item.id for item in shown.items} == {item.id for item in second}
    assert {item.id for item in kept.items} == {item.id for item in first}


def test_what_surely_keeps_the_limits_is_certified_and_measured_elsewhere() -> None:
    budgets = {"kl_budget": None, "accuracy_drop": None, "target": 0.2}
    results = audit(model(), "pronouns", intervention=even(), guarantee=0.9, **budgets, **FAST)
    found = results.extra["guarantee"]
    by_strength = {entry["strength"]: entry for entry in found["settings"]}
    assert by_strength[1.0]["certified"] and by_strength[1.0]["p"] < 0.1
    assert results.recommendation is not None
    weakest = min(entry["strength"] for entry in found["settings"] if entry["certified"])
    assert results.recommendation.strength == weakest and results.recommendation.extra["certain"]
    assert found["chosen"] == {"strength": weakest, "keep": None}
    assert found["clusters"]["bias 0"] >= 30 and "90 % confidence" in results.recommendation.reason
    heldout = load_task("pronouns").split(0).heldout
    reported = {group.name for group in results.runs[0].groups}
    calibrated = {group for item in set_aside(Pronouns(), heldout, 0)[0] for group in item.groups}
    assert reported and not reported & calibrated


def test_without_enough_evidence_none_qualifies() -> None:
    # Bias 0 as above, but a target that so few occupations can't prove.
    results = audit(
        model(),
        "pronouns",
        intervention=even(),
        guarantee=0.9,
        target=0.01,
        kl_budget=None,
        accuracy_drop=None,
        **FAST,
    )
    assert results.recommendation is not None and results.recommendation.strength is None
    assert not any(entry["certified"] for entry in results.extra["guarantee"]["settings"])
    assert "Of no strength" in results.recommendation.reason


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"guarantee": 1.0}, "must be between 0 and 1"),
        ({"guarantee": 0.9, "intervention": None}, "needs an intervention"),
        ({"guarantee": 0.9, "seeds": [0, 1]}, "give one seed"),
        ({"guarantee": 0.9, "tasks": "coreference"}, "about two occupations each"),
    ],
)
def test_where_no_guarantee_can_be_given(changed: dict[str, object], says: str) -> None:
    given = {"tasks": "pronouns", "intervention": even(), **FAST, **changed}
    with pytest.raises(InputError, match=says):
        audit(model(), **given)  # type: ignore[arg-type]


def test_suites_alone_have_no_guarantee(tmp_path) -> None:
    with pytest.raises(InputError, match="public suites alone"):
        audit(model(), f"crows-pairs:{crows_pairs(tmp_path)}", intervention=even(), guarantee=0.9, **FAST)
