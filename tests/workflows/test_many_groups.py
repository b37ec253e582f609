"""More than two groups: every step from a fit to the page, with three groups and with gender × race."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from methods.conformance import QUICK
from methods.samples import GROUPS, TEXT, TinyTask
from tiny import tiny

from equipoise.metrics import Bootstrap, Responses, per_group_bias, per_occupation_bias
from equipoise.models import LoadedModel
from equipoise.reports import Results, render_page
from equipoise.reports.curves import task_views
from equipoise.reports.occupations import bias_table, occupation_table
from equipoise.scoring import responses, score_options
from equipoise.workflows import audit, compare, diff, fit

THREE = TinyTask((" he", " she", " they"), ("man", "woman", "neither"), clear=False)
FOUR = TinyTask(
    (" uncle", " aunt", " he", " she"),
    ("white man", "white woman", "Black man", "Black woman"),
    clear=False,
)
FAST: dict[str, Any] = {"limit": 40, "passages": 6}


@cache
def model() -> LoadedModel:
    return tiny("Llama", 0)


@cache
def audited(task: TinyTask) -> Results:
    edit = fit(model(), task, method="dso", settings=QUICK["dso"], text=TEXT)
    return audit(model(), task, intervention=edit, strengths=[1.0], **FAST)


@pytest.mark.parametrize("task", [THREE, FOUR], ids=["three", "four"])
def test_methods_are_fitted_and_compared_on_more_than_two_groups(task: TinyTask) -> None:
    settings = {name: QUICK[name] for name in ("caa", "leace")}
    results = compare(model(), task, "caa,leace", settings=settings, strengths=[0.5, 1.0], **FAST)
    assert {run.mitigation for run in results.runs} == {None, "caa", "leace"}
    for run in results.runs:
        assert run.metrics["per_occupation_bias"] is not None and "stereotype_gap" not in run.metrics
        assert run.groups and all(set(group.shares) == set(task.outcomes) for group in run.groups)
    assert "At equal cost" in render_page(results)


@pytest.mark.parametrize("task", [THREE, FOUR], ids=["three", "four"])
def test_an_audit_says_every_groups_share_and_the_page_shows_it(task: TinyTask) -> None:
    results = audited(task)
    base, steered = results.runs
    items = [item for item in task.split(0, 40).heldout if item.part == "ambiguous"]
    wanted = responses(score_options(model(), items), items, task.outcomes)
    biases = per_group_bias(wanted)
    assert {group.name for group in base.groups} == set(biases)
    for group in base.groups:
        assert group.p_pro is None and group.bias is not None
        assert group.bias.value == pytest.approx(biases[group.name], rel=1e-4)
        assert group.bias.low <= group.bias.value <= group.bias.high
        shares = [share.value for share in group.shares.values() if share is not None]
        assert sum(shares) == pytest.approx(1) and len(shares) == len(task.outcomes)
        apart = sum(abs(share - 1 / len(shares)) for share in shares)
        assert group.bias.value == pytest.approx(apart, abs=1e-6)
    # The main figure is the mean of what stands behind it.
    mean = np.mean([group.bias.value for group in steered.groups if group.bias is not None])
    assert steered.metrics["per_occupation_bias"].value == pytest.approx(mean)  # type: ignore[union-attr]
    again = Results.from_dict(results.to_dict())
    assert again.runs[0].groups == base.groups
    (view,) = task_views(again)
    table = bias_table(view, "0-1.0")
    assert table is not None and table.sides and occupation_table(view, "base") is None
    named = {group.name: group for group in steered.groups}
    for row in table.rows:
        group = named[row.name]
        assert float(row.now) == pytest.approx(100 * group.bias.value, abs=0.051)  # type: ignore[union-attr]
        assert row.most == max(group.shares, key=lambda name: group.shares[name].value)  # type: ignore[union-attr]
        assert row.places["now"].startswith("left:0.0%")
        assert table.data["keys"]["0-1.0"][row.name][3] == row.most
    page = render_page(results)
    assert '<th scope="col" class="left">Most</th>' in page and "with the stereotype" not in page


@pytest.mark.parametrize("tilt", [0.0, 0.05, 0.2])
def test_the_interval_of_a_groups_bias_holds_the_truth_as_often_as_it_says(tilt: float) -> None:
    fair = np.array([1 / 3 + tilt, 1 / 3 - tilt / 2, 1 / 3 - tilt / 2])
    truth, held = np.abs(fair - 1 / 3).sum(), []
    names = [f"o{number // 16}" for number in range(320)]
    for seed in range(4):
        table = np.random.default_rng(seed).dirichlet(30 * fair, 320)
        found = Responses(
            table,
            ("a", "b", "c"),
            np.zeros(320, int),
            [(n,) for n in names],
            [f"t{n % 16}" for n in range(320)],
        )
        biases = Bootstrap.over(found, draws=300).group_biases(found)
        plain = per_group_bias(found)
        assert all(one.value == pytest.approx(plain[name]) for name, one in biases.items())
        held += [one.low <= truth <= one.high for one in biases.values()]
    assert np.mean(held) >= 0.94
    # It isn't all there could be.
    assert np.mean([one.high - one.low for one in biases.values()]) < 0.25


def test_of_one_wording_nothing_is_known() -> None:
    table = np.full((6, 3), [0.8, 0.1, 0.1])
    one = Responses(table, ("a", "b", "c"), np.zeros(6, int), [(f"o{n}",) for n in range(6)], ["t"] * 6)
    bias = Bootstrap({f"o{n}" for n in range(6)}, {"t", "u"}).group_biases(one)["o0"]
    assert bias.value == pytest.approx(14 / 15) and (bias.low, bias.high) == (0, pytest.approx(4 / 3))
    assert per_occupation_bias(one) == pytest.approx(14 / 15)


def test_without_scores_a_diff_pairs_groups_by_their_bias(tmp_path: Any) -> None:
    for name in ("a", "b"):
        content = audited(THREE).to_dict()
        for run in content["runs"]:
            for group in run["groups"]:
                group["bias"]["value"] += 0.1 * (name == "b")
        Results.from_dict(content).write(tmp_path / f"{name}.json")
    base = diff(tmp_path / "a.json", tmp_path / "b.json").pairs[0]
    (bias,) = [one for one in base.differences if one.metric == "per_occupation_bias"]
    assert bias.paired == "occupations" and bias.change.value == pytest.approx(0.1)
    assert len(GROUPS) > 4
