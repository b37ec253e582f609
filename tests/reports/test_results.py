"""results.json: round trips, nulls, atomic writing, and refusals that name the place."""

import copy
import json
import math

import numpy as np
import pytest
from reports.synthetic import results, with_seeds

from equipoise.errors import InputError
from equipoise.metrics import Budgets, Estimate, OperatingPoint, recommend
from equipoise.reports import Advice, Generation, Group, Results, Run

CONTRACT = """
{"schema": 1, "equipoise": "0.1.0", "model": {"name": "m"}, "seeds": [0, 1, 2, 3, 4], "level": 0.95,
 "recommendation": {"mitigation": "dso", "strength": 0.7, "reason": "...", "budgets": {"bias": 0.05}},
 "runs": [{"task": "pronouns", "split": "heldout", "mitigation": "dso", "file": "dso.safetensors", "strength": 0.5,
           "keep": null, "seed": 0, "n": 400,
           "metrics": {"per_occupation_bias": {"value": 0.08, "low": 0.06, "high": 0.11}, "kl_to_base": null},
           "groups": [{"name": "mechanic", "p_pro": {"value": 0.6, "low": 0.5, "high": 0.7}, "n": 20}]}]}
"""


def test_the_contracts_example_is_read():
    read = Results.from_dict(json.loads(CONTRACT))
    (run,) = read.runs
    assert run.metrics == {"per_occupation_bias": Estimate(0.08, 0.06, 0.11, 400), "kl_to_base": None}
    assert run.groups == (Group("mechanic", Estimate(0.6, 0.5, 0.7, 20), 20),)
    assert (run.strength, run.seed, run.keep, read.seeds) == (0.5, 0, None, (0, 1, 2, 3, 4))
    assert read.recommendation == Advice("dso", 0.7, "...", {"bias": 0.05})


@pytest.mark.parametrize(
    "content",
    [
        results(),
        results(tasks=("pronouns", "coreference"), mitigations=("dso", "caa")),
        results(mitigations=()),
        results(recommended=None),
        with_seeds(results()),
    ],
)
def test_what_is_read_is_what_was_written(content, tmp_path):
    first = Results.from_dict(content)
    path = first.write(tmp_path / "results.json")
    assert Results.read(path) == first
    assert Results.read(path).to_dict() == first.to_dict() == json.loads(path.read_text())


def test_unknown_keys_are_kept():
    content = results()
    content["colour"] = {"of": ["the", "sky"]}
    content["runs"][0]["weather"] = 3
    content["recommendation"]["certain"] = True
    again = Results.from_dict(content).to_dict()
    assert again["colour"] == {"of": ["the", "sky"]}
    assert again["runs"][0]["weather"] == 3
    assert again["recommendation"]["certain"] is True


def test_what_is_no_number_becomes_null(tmp_path):
    run = Run(
        "pronouns",
        None,
        0.0,
        400,
        {
            "silent": Estimate(math.nan, math.nan, math.nan, 400),
            "pointlike": Estimate(0.5, math.nan, math.nan, 400),
            "unmeasured": None,
        },
        extra={"note": math.inf, "array": [np.float32(0.5), np.int64(3)]},
    )
    path = Results({"name": "m"}, (0,), (run,)).write(tmp_path / "results.json")
    assert "NaN" not in path.read_text()
    assert "Infinity" not in path.read_text()
    written = json.loads(path.read_text())["runs"][0]
    assert written["metrics"] == {
        "silent": None,
        "pointlike": {"value": 0.5, "low": None, "high": None, "n": 400},
        "unmeasured": None,
    }
    assert written["note"] is None
    assert written["array"] == [0.5, 3]
    again = Results.read(path).runs[0].metrics["pointlike"]
    assert again.value == 0.5
    assert math.isnan(again.low)


def test_an_existing_file_needs_force(tmp_path):
    content = Results.from_dict(results())
    path = content.write(tmp_path / "results.json")
    with pytest.raises(InputError, match="--force"):
        content.write(path)
    assert content.write(path, force=True) == path


def test_a_recommendation_of_the_metrics_fits_in():
    points = [
        OperatingPoint(s, {"pronouns": Estimate(b, b, b, 4)}, Estimate(0.01, 0, 0.02, 4))
        for s, b in ((0, 0.3), (1, 0.01))
    ]
    content = results()
    advice = recommend(points, Budgets(accuracy_drop=None))
    content["recommendation"] = {"mitigation": "dso", **advice.as_dict()}
    read = Results.from_dict(content).recommendation
    assert (read.strength, read.extra) == (1, {"certain": True, "keep": None})


def test_generations_and_command_round_trip():
    read = Results.from_dict(results())
    assert read.generations[1].steered == read.generations[1].base
    assert Results.from_dict(results(mitigations=())).generations[0].steered is None
    assert Generation("p", "b").to_dict() == {"prompt": "p", "base": "b", "steered": None}
    assert read.command.startswith("equipoise audit")


def change(*path, to):
    """A function that puts ``to`` at ``path``; an Ellipsis takes the key away."""

    def apply(content):
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        if to is ...:
            del inner[path[-1]]
        else:
            inner[path[-1]] = to

    return apply


@pytest.mark.parametrize(
    ("breaking", "words"),
    [
        (change("schema", to=2), "schema is 2"),
        (change("schema", to=...), "schema is missing"),
        (change("model", to="m"), "model is 'm', but must be an object"),
        (change("model", "name", to=...), "model.name is missing"),
        (change("level", to=95), "level is 95, but must be a number from 0 to 1"),
        (change("seeds", to=["0"]), "seeds[0] is '0'"),
        (change("seeds", to=3), "seeds is 3, but must be a list"),
        (change("runs", to={}), "runs is {}, but must be a list"),
        (change("runs", 1, to=5), "runs[1] is 5, but must be an object"),
        (change("runs", 1, "task", to=None), "runs[1].task is null"),
        (change("runs", 1, "n", to=-1), "runs[1].n is -1"),
        (change("runs", 1, "n", to=True), "runs[1].n is True"),
        (change("runs", 1, "strength", to="0.5"), "runs[1].strength is '0.5', but must be a number or null"),
        (change("runs", 1, "metrics", to=...), "runs[1].metrics is missing"),
        (change("runs", 1, "metrics", "kl_to_base", to=0.1), "runs[1].metrics.kl_to_base is 0.1"),
        (
            change("runs", 1, "metrics", "kl_to_base", "value", to="small"),
            "runs[1].metrics.kl_to_base.value is 'small'",
        ),
        (change("runs", 1, "metrics", "kl_to_base", "low", to=9), "low 9 lies above high"),
        (change("runs", 1, "groups", 0, "name", to=7), "runs[1].groups[0].name is 7"),
        (change("recommendation", "reason", to=...), "recommendation.reason is missing"),
        (change("recommendation", "budgets", "kl", to="low"), "recommendation.budgets.kl is 'low'"),
        (change("generations", 0, "base", to=None), "generations[0].base is null"),
    ],
)
def test_another_shape_is_refused_with_its_place(breaking, words):
    content = copy.deepcopy(results())
    Results.from_dict(content)
    breaking(content)
    with pytest.raises(InputError) as refused:
        Results.from_dict(content, "there/results.json")
    assert str(refused.value).startswith("there/results.json")
    assert words in str(refused.value)


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="can't be read"):
        Results.read(tmp_path / "nowhere.json")
    broken = tmp_path / "broken.json"
    broken.write_text(CONTRACT[:100])
    with pytest.raises(InputError, match="is no JSON"):
        Results.read(broken)
    broken.write_text("[]")
    with pytest.raises(InputError, match="must be an object"):
        Results.read(broken)
