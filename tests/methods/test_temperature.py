"""Temperature: powers of the outcomes' shares; the answer, and how probable any is, stay; 0 and 1 change nothing."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from methods.samples import TinyTask
from safetensors.torch import save_file
from tiny import tiny
from workflows.test_choices import small

from equipoise.errors import InputError
from equipoise.interventions import Provenance
from equipoise.methods import Prompting, Temperature, load_mitigation, temperature
from equipoise.methods.mitigation import together
from equipoise.methods.temperature import TemperatureSettings, tempered
from equipoise.scoring import by_outcome, score_options
from equipoise.workflows import audit, choices
from equipoise.workflows.cards import mitigation_cards
from equipoise.workflows.runs import Contender

OUTCOMES = ("fair", "man", "woman", "woman", "fair")


@settings(deadline=None)
@given(st.lists(st.floats(0.001, 1), min_size=5, max_size=5), st.floats(0.1, 2.0))
def test_shares_are_raised_to_a_power(weights: list[float], t: float) -> None:
    p = np.array(weights) / (1.3 * sum(weights))
    found = np.exp(tempered(np.log(p), OUTCOMES, t))
    shares = {name: sum(q for q, o in zip(p, OUTCOMES, strict=True) if o == name) for name in OUTCOMES}
    after = {name: sum(q for q, o in zip(found, OUTCOMES, strict=True) if o == name) for name in OUTCOMES}
    powers = {name: share ** (1 / t) for name, share in shares.items()}
    for name in shares:
        assert after[name] == pytest.approx(p.sum() * powers[name] / sum(powers.values()), rel=1e-6)
    assert found.sum() == pytest.approx(p.sum())
    assert found[2] / found[3] == pytest.approx(p[2] / p[3])  # options of one outcome keep their proportion
    np.testing.assert_allclose(np.exp(tempered(np.log(p), OUTCOMES, 1.0)), p)


def test_what_has_no_probability_keeps_none() -> None:
    logp = np.array([-np.inf, -1.0, -2.0, -np.inf, -np.inf])
    found = tempered(logp, OUTCOMES, 2.0)
    assert np.isneginf(found[[0, 3, 4]]).all() and np.isfinite(found[[1, 2]]).all()
    assert np.isneginf(tempered(np.full(5, -np.inf), OUTCOMES, 2.0)).all()


def test_answers_stay_and_confidence_changes(tmp_path: Path) -> None:
    loaded, task = tiny("Llama"), small(tmp_path)
    items = list(task.items(0))
    scores = score_options(loaded, items)
    tables = [
        by_outcome(one.probabilities, items, task.outcomes)
        for one in (scores, Temperature(2.0).adjust(scores, items, 1.0))
    ]
    assert (tables[0].argmax(1) == tables[1].argmax(1)).all()
    row = {
        lam: choices(loaded, task, intervention=Temperature(2.0), seeds=(0,)).row(lam, None, "text")
        for lam in (0.0, 1.0)
    }
    assert row[0.0].fairness == row[1.0].fairness and row[0.0].proportions == row[1.0].proportions
    assert row[1.0].kl.mean < row[0.0].kl.mean and row[1.0].mass.mean == pytest.approx(row[0.0].mass.mean)
    assert Temperature(2.0).adjust(scores, items, 0.0) is scores
    for mitigation in (Temperature(2.0), together([Prompting("Be fair."), Temperature(2.0)])):
        with pytest.raises(InputError, match="changes only options' probabilities"):
            choices(loaded, task, intervention=mitigation, seeds=(0,), score="paper")


def test_the_fit_takes_the_least_bias_of_the_grid() -> None:
    loaded, task = tiny("Llama"), TinyTask()
    found = temperature.fit(loaded, task, settings=TemperatureSettings(items=30))
    # Towards equal shares the warmest is the least biased.
    assert found.temperature == 2.0 and found.provenance.config["better_than_base"]
    results = audit(loaded, task, intervention=found, strengths=[1.0], limit=40, passages=5)
    base, warm = results.runs
    assert warm.metrics["per_occupation_bias"].value < base.metrics["per_occupation_bias"].value  # type: ignore[union-attr]
    for name in ("greedy_per_occupation_bias", "unambiguous_accuracy", "abstention_rate", "perplexity"):
        assert warm.metrics[name].value == pytest.approx(base.metrics[name].value, abs=1e-9)  # type: ignore[union-attr]
    assert warm.metrics["kl_to_base"].value == pytest.approx(0, abs=1e-9)  # type: ignore[union-attr]


def test_a_file_of_its_own_kind(tmp_path: Path) -> None:
    path = Temperature(0.7).save(tmp_path / "a.safetensors")
    assert load_mitigation(path) == Temperature(0.7)
    wrong = tmp_path / "b.safetensors"
    save_file({}, wrong, metadata={"equipoise": '{"format": 1, "kind": "temperature", "temperature": 1}'})
    with pytest.raises(InputError, match=r"b\.safetensors.*provenance"):
        load_mitigation(wrong)


def test_settings_are_checked() -> None:
    for wrong in ({"temperature": 0.0}, {"temperature": "warm"}, {"items": 1}):
        with pytest.raises(InputError, match="temperature setting"):
            TemperatureSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="must be above 0"):
        Temperature(-1.0)


def test_an_audits_card_says_where_it_came_from() -> None:
    origin = Provenance("temperature", {"temperature": 2.0}, data="sha256:0", seed=3)
    (card,) = mitigation_cards([Contender("t", {3: Temperature(2.0, origin)})])
    assert (card["method"], card["settings"], card["fitted_seed"]) == ("temperature", {"temperature": 2.0}, 3)
    assert card["fitted_data"] == "sha256:0"
