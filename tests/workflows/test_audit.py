"""Audits of tiny models: the numbers agree with the model, and bad input leaves nothing behind."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny

from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention, Provenance, attach
from equipoise.models import LoadedModel
from equipoise.reports import Results
from equipoise.scoring import score_options
from equipoise.tasks import Item, Pronouns, Task, load_task
from equipoise.workflows import audit

LIMIT = 40
FAST = {"limit": LIMIT, "passages": 6}


@cache
def model(seed: int = 0) -> LoadedModel:
    return tiny("Llama", seed)


def edit(loaded: LoadedModel, size: float = 0.2, seed: int = 0) -> Intervention:
    generator = torch.Generator().manual_seed(seed)
    edits = {
        site: AffineEdit(
            scale=size * torch.randn(loaded.anatomy.site(site).width, generator=generator),
            shift=size * torch.randn(loaded.anatomy.site(site).width, generator=generator),
        )
        for site in loaded.anatomy.sites("norm")
    }
    return Intervention(edits, provenance=Provenance(method="dso", model=loaded.fingerprint))


class FewGroups(Task):
    """Six occupations, of which too few are held out for an interval."""

    name = "few"

    def items(self) -> Sequence[Item]:
        pronouns = load_task("pronouns").items()
        kept = sorted({item.groups[0] for item in pronouns})[:6]
        return [item for item in pronouns if item.groups[0] in kept]


class WholeSentences(Pronouns):
    """Its options stand for rests of sentences."""

    name = "whole"
    exhaustive = False
    about = "How does it go on?"


def test_where_options_are_not_all_there_is_nothing_is_called_abstention() -> None:
    rates = ("abstention_rate", "greedy_abstention_rate")
    tasks = ["pronouns", WholeSentences()]
    results = audit(model(), tasks, intervention=edit(model()), strengths=[1.0], **FAST).to_dict()
    for run in results["runs"]:
        for numbers in [run["metrics"], *([run["changes"]] if run["mitigation"] else [])]:
            assert all((numbers[name] is None) == (run["task"] == "whole") for name in rates)
            assert numbers["per_occupation_bias"]["value"] is not None
    assert results["tasks"]["whole"] == "How does it go on?"


class NoUnambiguous(Pronouns):
    """Every answer is as right as the other."""

    name = "open"

    def items(self) -> Sequence[Item]:
        return [item for item in super().items() if item.part == "ambiguous"]


def test_a_task_without_unambiguous_items_can_be_recommended_for() -> None:
    width = model().anatomy.site("final.norm").width
    even = Intervention({"final.norm": AffineEdit(scale=-torch.ones(width))})
    results = audit(model(), NoUnambiguous(), intervention=even, strengths=[1.0], kl_budget=None, **FAST)
    assert results.recommendation is not None and results.recommendation.strength == 1
    assert {run.metrics["unambiguous_accuracy"] for run in results.runs} == {None}


def test_every_number_of_the_base_model_is_what_scoring_gives() -> None:
    results = audit(model(), "pronouns", **FAST)
    (run,) = results.runs
    heldout = load_task("pronouns").split(0, LIMIT).heldout
    ambiguous = [item for item in heldout if item.part == "ambiguous"]
    unambiguous = [item for item in heldout if item.part == "unambiguous"]
    given = score_options(model(), ambiguous).probabilities
    pro = np.array([row[item.outcomes.index("pro")] for row, item in zip(given, ambiguous, strict=True)])
    gap = 2 * pro / given.sum(1) - 1
    groups = sorted({item.groups[0] for item in ambiguous})
    bias = np.mean(
        [
            abs(np.mean([g for g, item in zip(gap, ambiguous, strict=True) if item.groups == (name,)]))
            for name in groups
        ]
    )
    right = score_options(model(), unambiguous).choice == [item.answer for item in unambiguous]
    assert run.mitigation is None and run.strength == 0 and run.n == len(ambiguous)
    assert run.metrics["per_occupation_bias"].value == pytest.approx(bias, abs=1e-6)
    assert run.metrics["stereotype_gap"].value == pytest.approx(gap.mean(), abs=1e-6)
    assert run.metrics["abstention_rate"].value == pytest.approx(1 - given.sum(1).mean())
    assert run.metrics["unambiguous_accuracy"].value == pytest.approx(right.mean())
    assert run.metrics["kl_to_base"].value == 0 and run.metrics["perplexity_ratio"].value == 1
    assert {group.name for group in run.groups} == set(groups)
    assert results.recommendation is None


def test_a_steered_run_is_the_model_at_that_strength_and_the_base_comes_back() -> None:
    intervention = edit(model())
    results = audit(model(), "pronouns", intervention=intervention, strengths=[0.5, 1.0], **FAST)
    with attach(model(), intervention, 0.5):
        alone = audit(model(), "pronouns", **FAST)
    by_strength = {run.strength: run for run in results.runs}
    assert list(by_strength) == [0.0, 0.5, 1.0]
    for name in ("per_occupation_bias", "abstention_rate", "unambiguous_accuracy", "perplexity"):
        expected = alone.runs[0].metrics[name].value
        assert by_strength[0.5].metrics[name].value == pytest.approx(expected, rel=1e-4)
        change = expected - by_strength[0.0].metrics[name].value
        assert by_strength[0.5].changes[name].value == pytest.approx(change, abs=1e-4)
    assert by_strength[0.5].metrics["kl_to_base"].value > 0
    assert by_strength[0.0].metrics == audit(model(), "pronouns", **FAST).runs[0].metrics
    assert by_strength[1.0].extra["step"]["per_occupation_bias"]["value"] == pytest.approx(
        by_strength[1.0].metrics["per_occupation_bias"].value
        - by_strength[0.5].metrics["per_occupation_bias"].value
    )


def test_several_seeds_give_each_seed_and_the_mean() -> None:
    interventions = {seed: edit(model(), seed=seed) for seed in (0, 1)}
    both = audit(model(), "pronouns", intervention=interventions, strengths=[1.0], seeds=(0, 1), **FAST)
    for seed in (0, 1):
        one = audit(
            model(), "pronouns", intervention=interventions[seed], strengths=[1.0], seeds=(seed,), **FAST
        )
        (expected,) = [run for run in one.runs if run.strength == 1]
        (found,) = [run for run in both.runs if run.strength == 1 and run.seed == seed]
        for name, estimate in expected.metrics.items():
            assert found.metrics[name].value == pytest.approx(estimate.value, rel=1e-4), name
    (mean,) = [run for run in both.runs if run.strength == 1 and run.seed is None]
    parts = [
        run.metrics["per_occupation_bias"].value
        for run in both.runs
        if run.strength == 1 and run.seed is not None
    ]
    assert parts[0] != parts[1]
    assert mean.metrics["per_occupation_bias"].value == pytest.approx(np.mean(parts))
    assert both.seeds == (0, 1)


def test_every_seed_has_its_own_interventions_cost_on_text() -> None:
    """Two seeds share an intervention, and between them stands another: the order of measuring isn't the seeds'."""
    shared, other = edit(model()), edit(model(), size=0.6, seed=1)
    given = {0: shared, 1: other, 2: shared}
    both = audit(model(), "pronouns", intervention=given, strengths=[1.0], seeds=(0, 1, 2), **FAST)
    found = {run.seed: run for run in both.runs if run.strength == 1}
    for seed, intervention in given.items():
        (alone,) = [
            run
            for run in audit(
                model(), "pronouns", intervention=intervention, strengths=[1.0], seeds=(seed,), **FAST
            ).runs
            if run.strength == 1
        ]
        for name in ("kl_to_base", "perplexity", "perplexity_ratio"):
            assert found[seed].metrics[name].value == pytest.approx(alone.metrics[name].value), (seed, name)
        assert found[seed].changes["perplexity"].value == pytest.approx(alone.changes["perplexity"].value)
    costs = [found[seed].metrics["kl_to_base"].value for seed in (0, 1, 2)]
    assert costs[1] > 1.5 * costs[0] and costs[2] == costs[0]
    assert found[None].metrics["kl_to_base"].value == pytest.approx(np.mean(costs))


def test_two_tasks_and_a_sparsified_intervention() -> None:
    results = audit(
        model(), ["pronouns", "coreference"], intervention=edit(model()), strengths=[1.0], keep=[0.1], **FAST
    )
    found = [(run.task, run.strength, run.keep) for run in results.runs]
    settings = [(0.0, None), (1.0, None), (1.0, 0.1)]
    assert found == [(task, *setting) for task in ("pronouns", "coreference") for setting in settings]
    full, kept = (run.metrics["kl_to_base"].value for run in results.runs[1:3])
    assert 0 < kept < full


def test_the_recommendation_is_the_smallest_strength_within_the_budgets() -> None:
    generous = {"target": 1.0, "kl_budget": 100.0, "accuracy_drop": 1.0}
    results = audit(model(), "pronouns", intervention=edit(model()), strengths=[0.5, 1], **generous, **FAST)
    assert results.recommendation is not None and results.recommendation.strength == 0
    strict = audit(model(), "pronouns", intervention=edit(model()), strengths=[0.5], target=0.0, **FAST)
    assert strict.recommendation is not None and strict.recommendation.strength is None
    assert all(generation.steered is None for generation in strict.generations)


def test_generations_stand_side_by_side_at_the_recommended_strength() -> None:
    loaded = model()
    biased = audit(loaded, "pronouns", **FAST).runs[0].metrics["per_occupation_bias"].value
    # An intervention that empties the final states gives every answer alike.
    width = loaded.anatomy.site("final.norm").width
    even = Intervention({"final.norm": AffineEdit(scale=-torch.ones(width))})
    results = audit(
        loaded, "pronouns", intervention=even, strengths=[1.0], kl_budget=None, accuracy_drop=None, **FAST
    )
    assert biased > 0.05
    assert results.recommendation is not None and results.recommendation.strength == 1
    (steered,) = [run for run in results.runs if run.strength == 1]
    assert steered.metrics["per_occupation_bias"].value == pytest.approx(0, abs=1e-6)
    assert any(g.steered is not None and g.steered != g.base for g in results.generations)


def test_both_files_are_written_and_read_back(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    results = audit(model(), "pronouns", intervention=edit(model()), strengths=[1.0], out=out, **FAST)
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "results.json", "scores.jsonl"]
    assert Results.read(out / "results.json").to_dict() == results.to_dict()
    assert json.loads((out / "results.json").read_text())["schema"] == 1
    assert (out / "report.html").read_text().startswith("<!")


def test_equal_audits_give_equal_bytes() -> None:
    first, second = (
        audit(model(), "pronouns", intervention=edit(model()), strengths=[1.0], **FAST).to_dict()
        for _ in range(2)
    )
    assert first["cost"].pop("this_run") and second["cost"].pop("this_run")
    assert first == second


def test_what_exists_is_kept_without_force_and_nothing_is_measured(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    steps: list[str] = []
    with pytest.raises(InputError, match="--force"):
        audit(model(), "pronouns", out=tmp_path, progress=lambda _, message: steps.append(message), **FAST)
    assert steps == []
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "mine"
    audit(model(), "pronouns", out=tmp_path, force=True, **FAST)
    assert (tmp_path / "report.html").read_text() != "mine"


def test_too_few_items_are_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not enough items for an interval"):
        audit("no/such-model", FewGroups(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_few_long_passages_are_refused_before_anything_is_measured() -> None:
    long, short = ("words that stand in a row " * 40, "too short")
    steps: list[str] = []
    given = {"limit": LIMIT, "passages": 12, "progress": lambda _, message: steps.append(message)}
    with pytest.raises(InputError, match=r"longer or more passages \(--text, --passages\)") as caught:
        audit(model(), "pronouns", text=[long] * 3 + [short] * 9, **given)
    assert "--limit" not in str(caught.value)
    assert not any("measuring" in step for step in steps)
    audit(model(), "pronouns", text=[long] * 6 + [short] * 6, **given)
    assert any("measuring" in step for step in steps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": "nonsense"}, "unknown task 'nonsense'"),
        ({"tasks": ["pronouns", "pronouns"]}, "more than once"),
        ({"tasks": []}, "no task"),
        ({"strengths": [float("nan")]}, "must be a finite number"),
        ({"strengths": [-1.0]}, "must be a finite number"),
        ({"seeds": ()}, "seeds"),
        ({"target": 2.0}, "the target is 2"),
        ({"level": 1.0}, "level"),
        ({"limit": 0}, "limit"),
        ({"passages": 0}, "passages is 0"),
        ({"passages": -1}, "passages is -1"),
        ({"keep": [0.1]}, "needs an intervention"),
        ({"intervention": "missing.safetensors"}, "missing.safetensors"),
        ({"intervention": {}, "seeds": (3,)}, "no intervention for seed 3"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        audit(**{"source": model(), "tasks": "pronouns", "out": tmp_path / "out", **FAST, **arguments})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_another_models_intervention_is_refused() -> None:
    with pytest.raises(InputError, match="another model"):
        audit(model(), "pronouns", intervention=edit(tiny("Llama", 1)), **FAST)
    audit(tiny("Llama", 0), "pronouns", intervention=edit(model()), strengths=[1.0], **FAST)


def test_progress_rises_from_zero_to_one() -> None:
    seen: list[float] = []
    audit(
        model(),
        "pronouns",
        intervention=edit(model()),
        strengths=[0.5, 1.0],
        progress=lambda fraction, _: seen.append(fraction),
        **FAST,
    )
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] == 1


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_the_progress_of_intervals_reaches_their_last_setting(seeds: tuple[int, ...]) -> None:
    seen: list[float] = []
    strengths = [0.25, 0.5, 1.0]
    audit(
        model(),
        "pronouns",
        intervention=edit(model()),
        strengths=strengths,
        seeds=seeds,
        progress=lambda fraction, message: seen.append(fraction) if "intervals" in message else None,
        **FAST,
    )
    settings = 1 + len(strengths)
    assert len(seen) == settings
    assert (seen[-1] - seen[0]) / (0.9 - 0.85) == pytest.approx((settings - 1) / settings)


def test_an_intervention_on_the_answer_costs_on_text() -> None:
    intervention = replace(edit(model()), scope="answer")
    results = audit(model(), "pronouns", intervention=intervention, strengths=[1.0], **FAST)
    (steered,) = [run for run in results.runs if run.strength == 1]
    assert steered.metrics["kl_to_base"].value > 0.01
