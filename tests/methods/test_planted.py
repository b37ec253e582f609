"""A planted bias is measured within its interval, and each method's effect on it is known."""

import pytest
from methods.conformance import NAMES, QUICK, as_mitigation
from methods.planted import RATE, planted_model
from methods.samples import TEXT, TinyTask
from tiny import tiny

from equipoise.methods.mitigation import rewritten
from equipoise.methods.validation import answered
from equipoise.workflows import audit
from equipoise.workflows.fit import fitter_of, parse

# The largest share of the planted bias that may be left on held-out items at λ = 1. Vectors push one way, which does
# little where half of the stereotypes point the other way (ITI's gain on validation items is none on held-out ones);
# a control must leave what there is.
LEFT = {"dso": 0.7, "leace": 0.6, "mean_projection": 0.6, "mean_difference": 0.9, "caa": 0.99, "iti": 1.05}
LEAST_LEFT = {"random": 0.85}
BUDGET = "0.6"


def held_out(strength: float = 0.0, found: object = None) -> float:
    loaded, task = planted_model(), TinyTask()
    items = list(task.split(0).heldout)
    if found is None:
        return answered(loaded, items, task.outcomes).bias
    mitigation = as_mitigation(found)  # type: ignore[arg-type]
    with mitigation.attach(loaded, strength):
        return answered(loaded, rewritten(mitigation, items, strength), task.outcomes).bias


def test_the_planted_bias_is_measured_within_its_interval() -> None:
    results = audit(planted_model(), TinyTask(), limit=None, passages=6)
    metrics = results.runs[0].metrics
    found = metrics["per_occupation_bias"]
    assert found is not None and found.low <= 2 * RATE - 1 <= found.high
    assert found.high - found.low < 0.2
    accuracy = metrics["unambiguous_accuracy"]
    assert accuracy is not None and accuracy.value > 0.95
    # The twin: the same model before its training leans, too, but to one word and not by stereotype.
    gap = metrics["stereotype_gap"]
    bare = audit(tiny("Llama"), TinyTask(), limit=None, passages=6).runs[0].metrics["stereotype_gap"]
    assert gap is not None and gap.low <= 2 * RATE - 1 <= gap.high
    assert bare is not None and abs(bare.value) < 0.3


# What has no budget has its own: tests/methods/test_res_fair.py and test_temperature.py say what these two do.
ELSEWHERE = ("prompting", "res_fair", "temperature")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ELSEWHERE])
def test_each_methods_effect_on_it(name: str) -> None:
    loaded, task = planted_model(), TinyTask()
    fit = fitter_of(name, task)
    given = {} if name == "random" else {"kl": BUDGET}
    if name == "dso":
        given = {**QUICK["dso"], "steps": "3", "items": "40", "unambiguous": "20", **given}
    found = fit(loaded, task, settings=parse(fit, given), text=TEXT)
    base, steered = held_out(), held_out(1.0, found)
    assert steered <= LEFT.get(name, 1.05) * base
    assert steered >= LEAST_LEFT.get(name, 0.0) * base
    if name in LEFT:
        figures = found.provenance.config["validation"]
        assert figures["fitted"]["bias"] < figures["base"]["bias"]
        assert figures["fitted"]["kl"] <= float(BUDGET)
        assert figures["fitted"]["accuracy"] >= figures["base"]["accuracy"] - 0.01
    assert held_out() == base
