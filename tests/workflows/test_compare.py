"""A planted best mitigation wins, held-out answers choose nothing, and what can't keep a budget says so."""

from __future__ import annotations

import json
import math
import sys
import warnings
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from methods.samples import TinyTask
from workflows.planted import (
    SITE,
    NoDial,
    Turned,
    clean,
    dear,
    leans,
    model,
    noise,
    pretend,
    shift,
    towards_even,
    wrong,
)

from equipoise.errors import InputError, InputWarning
from equipoise.interventions import AffineEdit, Intervention, attach
from equipoise.methods import METHODS
from equipoise.methods.mean_difference import from_statements
from equipoise.methods.mitigation import Prompting, Steering, Together, together
from equipoise.methods.random import control
from equipoise.reports import AtBudget, Compared, Comparison, Results
from equipoise.workflows import audit, compare, generate
from equipoise.workflows.cautions import warn_of_seeds

FAST: dict[str, Any] = {"passages": 6, "strengths": (0.5, 1.0, 2.0)}
BUDGETS = (0.01, 0.03, 0.1)


def comparison(results: Results) -> Comparison:
    found = Comparison.of(results)
    assert found is not None
    return found


def entry(results: Results, name: str) -> Compared:
    return next(one for one in comparison(results).mitigations if one.name == name)


def at(results: Results, name: str, budget: float) -> AtBudget:
    return next(one for one in entry(results, name).at if one.budget == budget)


@cache
def everything() -> Results:
    given = {
        "dear": dear(),
        "clean": clean(),
        "twin": clean(),
        "wrong": wrong(),
        "prompting": Prompting("Treat everyone alike, whoever they are and whatever they do."),
        "switch": NoDial(shift(3 * noise())),
    }
    return compare(model(), TinyTask(), given, **FAST)


def test_the_planted_best_is_the_lowest_at_every_budget_and_the_verdict_says_so() -> None:
    given = {"dear": dear(), "clean": clean()}
    results = compare(model(), TinyTask(), given, **FAST)
    assert set(comparison(results).best) == {"clean"}
    assert results.recommendation is not None and results.recommendation.mitigation == "clean"
    assert results.recommendation.reason.startswith("Take clean: at a KL of at most 0.03")
    for budget in BUDGETS:
        here = at(results, "clean", budget)
        assert here.best_other == "dear" and here.metrics["kl_to_base"].value <= budget
        assert here.bias.value < at(results, "dear", budget).bias.value
    # The twin: what costs more under another name is found under that name.
    turned = compare(model(), TinyTask(), {"dear": clean(), "clean": dear()}, **FAST)
    assert set(comparison(turned).best) == {"dear"}


def test_what_costs_right_answers_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"dear": dear(), "clean": clean()}
    plain = compare(model(), TinyTask(), given, **FAST)
    least = {budget: at(plain, "clean", budget).bias.value for budget in BUDGETS}
    monkeypatch.setattr(
        AtBudget, "keeps_accuracy", property(lambda self: self.bias.value > least[self.budget])
    )
    passed = compare(model(), TinyTask(), given, **FAST)
    assert set(comparison(plain).best) == {"clean"} and set(comparison(passed).best) == {"dear"}
    assert passed.recommendation is not None and passed.recommendation.mitigation == "dear"
    assert {at(passed, "dear", budget).best_other for budget in BUDGETS} == {None}


def test_a_strength_between_those_of_the_grid_spends_a_budget() -> None:
    here = at(everything(), "dear", 0.01)
    (chosen,) = here.strengths.values()
    assert chosen not in FAST["strengths"] and 0 < chosen < 2
    assert 0.9 * 0.01 <= here.metrics["kl_to_base"].value <= 0.01
    kls = {strength: kl for strength, kl, _ in here.candidates[0]}
    assert kls[chosen] == pytest.approx(here.metrics["kl_to_base"].value, abs=1e-9)


def test_every_choice_is_the_best_validation_bias_within_the_budget() -> None:
    for one in comparison(everything()).mitigations:
        for here in one.at:
            for seed, strength in here.strengths.items():
                within = [found for found in here.candidates[seed] if found[1] <= here.budget]
                best = min(bias for _, _, bias in within)
                assert best == next(bias for value, _, bias in within if value == strength)


def test_held_out_answers_choose_nothing() -> None:
    """A strength that evens validation items and tilts held-out ones is chosen all the same; and the reverse."""
    split = Turned().split(0)
    assert (
        max(leans()[item.id] for item in split.validation)
        < 0
        < min(leans()[item.id] for item in split.heldout)
    )
    more = {"budgets": (100.0,), "strengths": (0.25, 0.5, 1.0), "passages": 6}
    one = compare(model(), Turned(), {"shift": clean()}, **more)
    (here,) = entry(one, "shift").at
    heldout = {
        run.strength: run.metrics["per_occupation_bias"].value
        for run in one.runs
        if run.mitigation == "shift"
    }
    base = next(run.metrics["per_occupation_bias"].value for run in one.runs if run.mitigation is None)
    assert here.strengths[0] >= 0.5 and here.bias.value > heldout[0.25] > base
    # The twin: where validation items are better off without it, it isn't chosen, although held-out ones gain.
    other = compare(model(), Turned(), {"shift": wrong()}, **more)
    (here,) = entry(other, "shift").at
    lowest = min(run.metrics["per_occupation_bias"].value for run in other.runs if run.mitigation == "shift")
    assert lowest < base and here.strengths == {0: 0.0} and "validation" in str(here.reason)


def test_a_mitigation_does_not_differ_from_itself() -> None:
    for budget in BUDGETS:
        difference = at(everything(), "twin", budget).differences["clean"]
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)
        other = at(everything(), "dear", budget)
        assert other.best_other in ("clean", "twin")
        found = other.differences[other.best_other]
        assert found.low < found.high


def test_differences_are_paired_and_signed() -> None:
    for budget in BUDGETS:
        mine, theirs = at(everything(), "dear", budget), at(everything(), "clean", budget)
        expected = mine.bias.value - theirs.bias.value
        assert mine.differences["clean"].value == pytest.approx(expected, abs=1e-12)
        base = next(run for run in everything().runs if run.mitigation is None)
        change = mine.bias.value - base.metrics["per_occupation_bias"].value
        assert mine.changes["per_occupation_bias"].value == pytest.approx(change, abs=1e-12)


def test_what_cannot_keep_a_budget_says_so_and_has_no_number() -> None:
    for name in ("prompting", "switch"):
        for budget in BUDGETS:
            here = at(everything(), name, budget)
            assert here.metrics == {} and not here.acts
            assert "no dial" in str(here.reason) and "above the budget" in str(here.reason)
    # The twin: a budget that it can keep.
    generous = compare(model(), TinyTask(), {"switch": NoDial(clean())}, budgets=(50.0,), **FAST)
    (here,) = entry(generous, "switch").at
    assert here.acts and here.reason is None and here.metrics["kl_to_base"].value > 0
    run = next(run for run in generous.runs if run.mitigation == "switch")
    assert run.strength is None and generous.recommendation.strength is None


def test_what_does_no_good_stays_at_the_base_model_and_says_so() -> None:
    here = at(everything(), "wrong", 0.1)
    assert here.strengths == {0: 0.0} and "lowers bias on validation items" in str(here.reason)
    base = next(run for run in everything().runs if run.mitigation is None)
    assert here.metrics["per_occupation_bias"].value == base.metrics["per_occupation_bias"].value
    assert "wrong" not in comparison(everything()).best


def test_bias_that_rises_beyond_chance_is_not_monotone() -> None:
    rising = entry(everything(), "wrong")
    assert rising.monotone is False and rising.rises and "rises beyond chance" in " ".join(rising.notes)
    small = compare(model(), TinyTask(), {"half": 0.25 * clean()}, **FAST)
    assert entry(small, "half").monotone is True and entry(small, "half").rises == ()
    assert entry(everything(), "prompting").monotone is None


def test_the_random_control_is_never_recommended() -> None:
    control = shift(towards_even(), method="random")
    results = compare(model(), TinyTask(), {"control": control, "wrong": wrong()}, **FAST)
    assert set(comparison(results).best) == {"control"}
    assert results.recommendation.mitigation is None and "random control" in results.recommendation.reason
    # The twin: the same numbers as a method.
    results = compare(model(), TinyTask(), {"control": clean(), "wrong": wrong()}, **FAST)
    assert results.recommendation.mitigation == "control"


def test_several_seeds_choose_for_themselves() -> None:
    results = compare(
        model(), TinyTask(), {"dear": {0: dear(), 1: dear(1)}, "clean": clean()}, seeds=(0, 1), **FAST
    )
    here = at(results, "dear", 0.01)
    assert set(here.strengths) == {0, 1} and here.strengths[0] != here.strengths[1]
    alone = compare(model(), TinyTask(), {"dear": {1: dear(1)}, "clean": clean()}, seeds=(1,), **FAST)
    assert at(alone, "dear", 0.01).strengths[1] == pytest.approx(here.strengths[1])
    runs = {(run.mitigation, run.strength, run.seed) for run in results.runs}
    assert {("dear", 1.0, None), ("dear", 1.0, 0), ("dear", 1.0, 1)} <= runs


# Sums


def save(tmp_path: Path, **interventions: Intervention) -> dict[str, str]:
    return {name: str(one.save(tmp_path / f"{name}.safetensors")) for name, one in interventions.items()}


def elsewhere(scope: str = "all") -> Intervention:
    return shift(0.5 * noise(3)[: model().anatomy.site("block.0.mlp").width], scope=scope, site="block.0.mlp")


@pytest.mark.parametrize("scope", ["all", "answer"])
def test_a_sum_is_both_attached_together(tmp_path: Path, scope: str) -> None:
    first, second = clean(), elsewhere(scope)
    files = save(tmp_path, a=first, b=second)
    whole = f"{files['a']}+{files['b']}"
    results = compare(model(), TinyTask(), f"mine={whole}", **{**FAST, "strengths": (1.0,)})
    run = next(run for run in results.runs if run.mitigation == "mine")
    assert run.file == whole
    audited = audit(model(), TinyTask(), intervention=whole, strengths=(1.0,), passages=6)
    with attach(model(), [first, second]):
        both = audit(model(), TinyTask(), passages=6).runs[0]
    alone = audit(model(), TinyTask(), intervention=first, strengths=(1.0,), passages=6).runs[1]
    for name in ("per_occupation_bias", "perplexity", "unambiguous_accuracy"):
        assert run.metrics[name].value == pytest.approx(both.metrics[name].value, rel=1e-5), name
        assert audited.runs[1].metrics[name].value == pytest.approx(both.metrics[name].value, rel=1e-5), name
    assert run.metrics["perplexity"].value != pytest.approx(alone.metrics["perplexity"].value, rel=1e-4)


def test_generate_steers_with_a_sum_of_two_scopes(tmp_path: Path) -> None:
    files = save(tmp_path, a=shift(5 * noise()), b=elsewhere("answer"))
    given = {"max_new_tokens": 6, "strength": 1.0}
    (sum_,) = generate(model(), "The nurse said", intervention=f"{files['a']}+{files['b']}", **given)
    with attach(model(), [shift(5 * noise()), elsewhere("answer")]):
        (both,) = generate(model(), "The nurse said", max_new_tokens=6)
    assert sum_.steered == both.base != sum_.base


def test_terms_that_meet_are_warned_of_and_others_are_not(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    files = save(tmp_path, a=clean(), b=dear(), c=elsewhere())
    generate(model(), "A", intervention=f"{files['a']}+{files['c']}", max_new_tokens=1)
    assert not [one for one in recwarn if issubclass(one.category, InputWarning)]
    with pytest.warns(InputWarning, match=rf"a.safetensors and .*b.safetensors meet at {SITE}"):
        generate(model(), "A", intervention=f"{files['a']}+{files['b']}", max_new_tokens=1)
    with pytest.warns(InputWarning, match="meet"):
        compare(
            model(),
            TinyTask(),
            f"{files['a']}+{files['b']}",
            **{**FAST, "strengths": (1.0,), "budgets": (1.0,)},
        )


def test_together_is_one_intervention_a_scope_and_whatever_else_beside_it() -> None:
    merged = together([Steering(clean()), Steering(dear())])
    assert isinstance(merged, Steering) and merged.size == clean().nonzero
    mixed = together([Steering(clean()), Prompting("Be fair."), Steering(elsewhere("answer"))])
    assert isinstance(mixed, Together) and len(mixed.parts) == 3 and mixed.dial
    assert mixed.rewrite("x", 1.0) == "Be fair.\n\nx" and mixed.rewrite("x", 0.0) == "x"
    assert mixed.size == clean().nonzero + elsewhere().nonzero
    assert not together([Prompting("a"), Prompting("b")]).dial
    with pytest.raises(InputError, match="3 wide"):
        together([Steering(Intervention({SITE: AffineEdit(shift=torch.ones(3))})), Prompting("a")]).check(
            model()
        )


# Fitting, files and resuming


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No page and no figure: drawing takes longer than all the rest."""
    module = sys.modules["equipoise.workflows.compare"]  # its name is the function's as well
    monkeypatch.setattr(module, "render_page", lambda _: "page")
    monkeypatch.setattr(module, "figure_comparison", lambda _: b"figure")


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    monkeypatch.setitem(METHODS, "clean", pretend(clean, calls))
    monkeypatch.setitem(METHODS, "dear", pretend(dear, calls))
    monkeypatch.setitem(METHODS, "say", pretend(partial(Prompting, "Be fair."), calls))
    return calls


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_methods_are_fitted_once_a_seed_and_kept_in_files(methods: list[Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = "clean,say,both=clean+say,half=clean"
    results = compare(
        model(), TinyTask(), given, settings={"half": {"size": "0.5"}}, out=out, seeds=(0, 1), **FAST
    )
    assert len(methods) == 6  # clean, say and half, for two seeds
    files = [f"{name}-seed{seed}.safetensors" for name in ("clean", "say", "half") for seed in (0, 1)]
    assert names(out) == sorted([*files, "figure.svg", "fits.json", "report.html", "results.json"])
    saved = Intervention.load(out / "half-seed1.safetensors")
    assert saved.digest == (0.5 * clean()).digest != clean().digest
    both = entry(results, "both")
    assert both.methods == ("clean", "say") and both.files == tuple(
        f"{name}-seed{seed}.safetensors" for seed in (0, 1) for name in ("clean", "say")
    )
    # One name stands for all seeds' files: joined by + they would be a sum.
    assert {run.mitigation: run.file for run in results.runs} == {
        None: None,
        "clean": "clean-seed{seed}.safetensors",
        "say": "say-seed{seed}.safetensors",
        "both": "clean-seed{seed}.safetensors+say-seed{seed}.safetensors",
        "half": "half-seed{seed}.safetensors",
    }
    assert both.seconds is not None and both.seconds >= 0 and entry(results, "clean").size == clean().nonzero
    assert entry(results, "say").settings["say"] == {"instruction": "Be fair."}
    read = Results.read(out / "results.json")
    assert read.to_dict() == results.to_dict() and comparison(read).to_dict() == comparison(results).to_dict()
    assert json.loads((out / "results.json").read_text())["comparison"]["budgets"] == list(BUDGETS)
    page = (out / "report.html").read_text()
    assert page.startswith("<!") and "KL to the base model of at most 0.03" in page
    assert (out / "figure.svg").read_text().count("<svg") == 1


def test_an_interrupted_comparison_goes_on_with_what_it_fitted(
    monkeypatch: pytest.MonkeyPatch, methods: list[Any], undrawn: None, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    whole = compare(model(), TinyTask(), "clean,dear", out=tmp_path / "whole", **FAST)
    methods.clear()
    monkeypatch.setitem(METHODS, "dear", pretend(dear, methods, stop_at=1))
    with pytest.raises(KeyboardInterrupt):
        compare(model(), TinyTask(), "clean,dear", out=out, **FAST)
    assert names(out) == ["clean.safetensors", "fits.json"] and len(methods) == 1
    with pytest.raises(InputError, match="--resume"):
        compare(model(), TinyTask(), "clean,dear", out=out, **FAST)
    monkeypatch.setitem(METHODS, "dear", pretend(dear, methods))
    resumed = compare(model(), TinyTask(), "clean,dear", out=out, resume=True, **FAST)
    assert [make for make, _ in methods] == [clean, dear]

    def timeless(results: Results) -> dict[str, Any]:
        found = results.to_dict()
        for one in found["comparison"]["mitigations"]:
            del one["fit_seconds"]
        return found

    assert timeless(resumed) == timeless(whole)
    # The twin: other settings are another fit.
    compare(
        model(), TinyTask(), "clean,dear", settings={"dear": {"size": "0.5"}}, out=out, resume=True, **FAST
    )
    assert [make for make, _ in methods] == [clean, dear, dear]


def test_a_file_that_was_exchanged_is_refused(methods: list[Any], undrawn: None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compare(model(), TinyTask(), "clean", out=out, **FAST)
    dear().save(out / "clean.safetensors", force=True)
    with pytest.raises(InputError, match="isn't what this comparison wrote"):
        compare(model(), TinyTask(), "clean", out=out, resume=True, **FAST)
    compare(model(), TinyTask(), "clean", out=out, force=True, **FAST)
    assert Intervention.load(out / "clean.safetensors").digest == clean().digest


def test_a_file_of_another_seed_is_warned_of(tmp_path: Path) -> None:
    file = save(tmp_path, a=shift(towards_even(), seed=0))["a"]
    given = {**FAST, "strengths": (1.0,), "budgets": (1.0,)}
    with pytest.warns(InputWarning, match="fitted with seed 0 and is measured at seed 1"):
        compare(model(), TinyTask(), file, seeds=(1,), **given)
    alone = {"strengths": (1.0,), "passages": 6}
    with pytest.warns(InputWarning, match="a.safetensors was fitted with seed 0 and is measured at seed 1"):
        audit(model(), TinyTask(), intervention=file, seeds=(0, 1), **alone)
    # The parts of a sum count, of one scope or several; the seed's own are fine.
    other = shift(0.1 * towards_even(), seed=0)
    own = {0: Steering(other + other), 1: Steering(other + shift(towards_even(), seed=1))}
    for several in (own, {0: own[0], 1: Together((Prompting("Be fair."), own[1]))}):
        with pytest.warns(
            InputWarning, match="the intervention was fitted with seed 0 and is measured at seed 1"
        ):
            warn_of_seeds(None, several)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warn_of_seeds(None, {0: several[0]})


def test_what_learned_from_no_split_is_not_warned_of() -> None:
    # Of statements, as the vectors of probe are; a random direction; numbers of another origin.
    said = from_statements(model(), [[5, 6]], [[7, 8, 9]], SITE, seed=0)
    drawn_anew = control(shift(towards_even(), seed=0), 0)
    other = Intervention({SITE: AffineEdit(shift=towards_even())})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for one in (said, drawn_anew, other, said + drawn_anew):
            warn_of_seeds(None, {1: Steering(one)})
    with pytest.warns(InputWarning, match="fitted with seed 2"):
        warn_of_seeds(None, {1: Steering(said + shift(towards_even(), seed=2))})


def test_progress_rises_from_zero_to_one(methods: list[Any]) -> None:
    seen: list[float] = []
    compare(model(), TinyTask(), "clean,say", progress=lambda fraction, _: seen.append(fraction), **FAST)
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": "clean,nonsense"}, "unknown method 'nonsense': use one of .*dso"),
        ({"methods": "clean,clean"}, "'clean' is given more than once"),
        ({"methods": "a=clean,a=dear"}, "'a' is given more than once"),
        ({"methods": "a/b=clean"}, "unknown method 'a/b=clean'"),
        ({"methods": "clean+"}, "unknown method"),
        ({"methods": ""}, "no method to compare"),
        ({"methods": "none.safetensors"}, "none.safetensors"),
        ({"settings": {"dear": {"size": "1"}}}, "'dear', which is not compared"),
        ({"settings": {"clean": {"nonsense": "1"}}}, "no setting 'nonsense'"),
        ({"strengths": (0.0,)}, "no strength is above 0"),
        ({"strengths": (-1.0,)}, "finite number"),
        ({"budgets": ()}, "no KL budget"),
        ({"budgets": (0.0,)}, "KL budget 0 must"),
        ({"budgets": (math.nan,)}, "KL budget nan must"),
        ({"seeds": ()}, "seeds"),
        ({"level": 2.0}, "level"),
        ({"limit": 0}, "limit"),
        ({"passages": 0}, "passages"),
        ({"task": "nonsense"}, "unknown task"),
        ({"methods": {"a": {1: None}}}, "no intervention for seed 0"),
        ({"methods": {"a": Intervention({SITE: AffineEdit(shift=torch.ones(3))})}}, "3 wide"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    methods: list[Any], tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    given = {"task": TinyTask(), "methods": "clean", "out": tmp_path / "out", **FAST, **arguments}
    with pytest.raises(InputError, match=message) as caught:
        compare(model(), **given)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists() and methods == []


def test_what_exists_is_kept_without_force_and_nothing_is_fitted(methods: list[Any], tmp_path: Path) -> None:
    for name in ("results.json", "figure.svg", "clean.safetensors"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(InputError, match=f"{name} exists already"):
            compare(model(), TinyTask(), "clean", out=tmp_path, **FAST)
        assert (tmp_path / name).read_text() == "mine" and methods == []
        (tmp_path / name).unlink()
    (tmp_path / "clean.safetensors").write_text("mine")
    with pytest.raises(InputError, match=r"clean\.safetensors exists already"):
        compare(model(), TinyTask(), "clean", out=tmp_path, resume=True, **FAST)


# Mitigations without a dial, in an audit


def test_an_instruction_is_audited_as_what_it_does_to_prompts_and_to_text() -> None:
    said = Prompting("My aunt is the mechanic and my uncle is the nurse.")
    results = audit(model(), TinyTask(), intervention=said, strengths=(0.5, 1.0), passages=6)
    (run,) = [run for run in results.runs if run.mitigation]
    base = results.runs[0]
    assert (run.mitigation, run.strength, run.file) == ("prompting", None, None)
    assert run.metrics["kl_to_base"].value > 0.001
    assert run.metrics["per_occupation_bias"].value != base.metrics["per_occupation_bias"].value
    with pytest.raises(InputError, match="--keep"):
        audit(model(), TinyTask(), intervention=said, keep=[0.5], passages=6)
