"""What is drawn and told: curves from the base on, means over seeds, the chosen run, the headline."""

import math

import pytest
from reports.synthetic import STRENGTHS, results, with_seeds

from equipoise.reports import Results
from equipoise.reports.curves import task_views
from equipoise.reports.wording import headline, number, points


def viewed(content):
    typed = Results.from_dict(content)
    return typed, task_views(typed)


def test_a_curve_starts_at_the_base_model_and_rises_in_strength():
    content = results()
    content["runs"] = content["runs"][:1] + content["runs"][:0:-1]
    _, (view,) = viewed(content)
    (curve,) = view.curves
    assert [run.strength for run in curve.points] == list(STRENGTHS)
    assert curve.points[0] is view.base
    assert curve.keys[0] == "base"
    assert (view.chosen.strength, view.target) == (0.8, 0.06)
    assert len(view.runs) == len(STRENGTHS)


def test_a_sweep_that_measured_zero_itself_needs_no_base_before_it():
    content = results()
    content["runs"].append({**content["runs"][0], "mitigation": "dso"})
    _, (view,) = viewed(content)
    assert [run.strength for run in view.curves[0].points] == list(STRENGTHS)
    assert view.curves[0].points[0].mitigation == "dso"


def test_the_base_model_is_no_nats_from_itself():
    _, (steered,) = viewed(results())
    assert steered.base.metrics["kl_to_base"].value == 0
    _, (alone,) = viewed(results(mitigations=()))
    assert alone.base.metrics["kl_to_base"] is None


def test_seeds_are_averaged_unless_the_file_says_their_mean():
    content = with_seeds(results(), seeds=(0, 1, 2))
    _, (view,) = viewed(content)
    assert view.base.seed is None
    assert view.base.n == 1200
    bias = view.base.metrics["per_occupation_bias"]
    single = results()["runs"][0]["metrics"]["per_occupation_bias"]
    assert bias.value == pytest.approx(single["value"])
    assert math.isnan(bias.low) and math.isnan(bias.high)
    assert all(math.isnan(group.p_pro.low) for group in view.base.groups)
    content["runs"].append({**results()["runs"][0], "seed": None, "n": 77})
    _, (view,) = viewed(content)
    assert view.base.n == 77
    bias = view.base.metrics["per_occupation_bias"]
    assert (bias.low, bias.high) == (single["low"], single["high"])


def test_a_mean_over_seeds_leaves_out_what_is_undefined():
    content = with_seeds(results(), seeds=(0, 1))
    first = content["runs"][0]["metrics"]["per_occupation_bias"]
    first["value"] = math.nan
    _, (view,) = viewed(content)
    (other,) = [run for run in content["runs"] if run["seed"] == 1 and run["mitigation"] is None]
    assert view.base.metrics["per_occupation_bias"].value == other["metrics"]["per_occupation_bias"]["value"]


def test_the_held_out_split_is_shown():
    content = results()
    content["runs"] = [{**run, "split": "train", "n": 1} for run in content["runs"]] + content["runs"]
    _, (view,) = viewed(content)
    assert {run.n for _, run in view.runs} == {400}


def test_kept_shares_are_mitigations_of_their_own():
    content = results()
    content["runs"].append({**content["runs"][-1], "keep": 0.1})
    _, (view,) = viewed(content)
    assert [curve.label for curve in view.curves] == ["dso", "dso, strongest 10 %"]
    assert view.chosen.keep is None
    content["recommendation"].update(keep=0.1, strength=content["runs"][-1]["strength"])
    _, (view,) = viewed(content)
    assert view.chosen.keep == 0.1


def test_a_mitigation_without_a_dial_has_one_point_and_can_be_recommended():
    content = results()
    content["runs"].append({**content["runs"][-1], "mitigation": "prompting", "strength": None})
    content["recommendation"].update(mitigation="prompting", strength=None)
    typed, (view,) = viewed(content)
    prompting = view.curves[1]
    assert not prompting.has_dial
    assert len(prompting.points) == 1
    assert view.chosen.mitigation == "prompting"
    assert "; with prompting, by 4, for 0.045 nats a token." in headline(typed, view)


@pytest.mark.parametrize("mitigation", [None, "dso"])
def test_no_strength_recommended_is_no_run_chosen(mitigation):
    content = results(recommended=None)
    content["recommendation"]["mitigation"] = mitigation
    typed, (view,) = viewed(content)
    assert view.chosen is None
    assert headline(typed, view) == (
        "SmolLM2-135M-Instruct leans towards one answer by 31 points; no strength brings that to 2 within the"
        " budgets."
    )


def test_of_several_tasks_each_is_named_and_none_is_said_to_fail_that_is_within_the_target():
    content = results(tasks=("pronouns", "coreference"), recommended=None)
    for run in content["runs"]:
        if run["task"] == "coreference":
            run["metrics"]["per_occupation_bias"] = {"value": 0.01, "low": 0.0, "high": 0.02, "n": 20}
    typed, views = viewed(content)
    start = "SmolLM2-135M-Instruct leans towards one answer by"
    assert [headline(typed, view) for view in views] == [
        f"{start} 31 points on pronouns; no strength brings that to 2 within the budgets.",
        f"{start} 1 point on coreference; no strength is recommended.",
    ]


def test_a_target_that_is_met_without_the_confidence_is_not_said_to_be_missed():
    content = results(recommended=None)
    content["recommendation"]["budgets"]["bias"] = 0.2
    typed, (view,) = viewed(content)
    assert "no strength brings that to 20 within the budgets" in headline(typed, view)
    content["guarantee"] = {"confidence": 0.9}
    typed, (view,) = viewed(content)
    assert headline(typed, view).endswith("by 31 points; no strength is recommended.")


def test_what_rounds_to_zero_has_no_sign():
    for kind in ("points", "percent", "nats"):
        assert number(-1e-6, kind) in ("0.0", "0.000")
    assert number(-0.001, "points") == "−0.1" and number(-0.0, "plain") == "0"


def test_a_headline_is_as_exact_as_the_card_beside_it():
    content = results()
    bias = {"value": 0.195, "low": 0.18, "high": 0.21, "n": 20}
    next(run for run in content["runs"] if run["strength"] == 0.8)["metrics"]["per_occupation_bias"] = bias
    typed, (view,) = viewed(content)
    assert "at λ = 0.8, by 19.5, for" in headline(typed, view).replace("\u00a0", " ")
    assert number(0.195, "points") == "19.5"
    assert (points(0.31), points(-0.0001), points(1.0)) == ("31", "0", "100")


def test_headlines_in_plain_words():
    typed, (view,) = viewed(results())
    assert headline(typed, view).replace("\u00a0", " ") == (
        "SmolLM2-135M-Instruct leans towards one answer by 31 points; at λ = 0.8, by 5.5, for 0.029 nats a token."
    )
    typed, (view,) = viewed(results(mitigations=()))
    assert headline(typed, view) == "SmolLM2-135M-Instruct leans towards one answer by 31 points."
    typed, (view,) = viewed(results(recommended=0))
    assert headline(typed, view).endswith("by 31 points, and needs no intervention.")
    typed, (view,) = viewed(results(mitigations=("dso", "caa")))
    assert "; with dso at λ" in headline(typed, view)
    content = results()
    content["runs"][0]["metrics"]["per_occupation_bias"] = {"value": math.nan}
    typed, (view,) = viewed(content)
    assert "was not measured" in headline(typed, view)
