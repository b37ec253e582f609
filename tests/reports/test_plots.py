"""Figures: every measured point is there, once; what was not measured is not drawn; one look everywhere."""

import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import pytest
from reports.synthetic import STRENGTHS, results

from equipoise.reports import Results, figure_tradeoff
from equipoise.reports.canvas import new_figure, svg
from equipoise.reports.curves import task_views
from equipoise.reports.marks import by_block
from equipoise.reports.plots import accuracy_figure, bias_figure, kl_figure, tradeoff_figure


def view_of(content):
    return task_views(Results.from_dict(content))[0]


def rings(text):
    return re.findall(r'<g class="(ring(?: on)?)" data-key="([^"]*)">', text)


@pytest.mark.parametrize("figure", [bias_figure, accuracy_figure, kl_figure, tradeoff_figure])
@pytest.mark.parametrize("mitigations", [("dso",), ("dso", "caa", "iti")])
def test_every_setting_has_its_point(figure, mitigations):
    view = view_of(results(mitigations=mitigations))
    text = svg(figure(view).figure, "f", active=view.chosen_key)
    keys = [key for _, key in rings(text)]
    # The base model belongs to every mitigation's curve, any other setting to one.
    assert sorted(set(keys)) == sorted(key for key, _ in view.runs)
    assert len(keys) == len(mitigations) * len(STRENGTHS)
    assert [key for state, key in rings(text) if state == "ring on"] == [view.chosen_key]


def test_points_lie_where_the_numbers_say():
    view = view_of(results())
    line = tradeoff_figure(view).figure.axes[0].lines[0]
    assert list(line.get_xdata()) == [run.metrics["kl_to_base"].value for run in view.curves[0].points]
    assert list(line.get_ydata()) == [
        100 * run.metrics["per_occupation_bias"].value for run in view.curves[0].points
    ]


def test_points_that_were_not_measured_are_not_drawn():
    content = results()
    content["runs"][4]["metrics"]["per_occupation_bias"] = None
    view = view_of(content)
    assert len(bias_figure(view).figure.axes[0].lines[0].get_xdata()) == len(STRENGTHS) - 1
    assert len(rings(svg(tradeoff_figure(view).figure, "f"))) == len(STRENGTHS) - 1


def test_figures_without_data_are_left_out():
    content = results()
    for run in content["runs"]:
        run["metrics"] = {"per_occupation_bias": run["metrics"]["per_occupation_bias"]}
        run["groups"] = []
    view = view_of(content)
    assert [f(view) for f in (accuracy_figure, kl_figure, tradeoff_figure)] == [None] * 3


def test_missing_intervals_leave_no_band_and_break_nothing():
    content = results()
    for run in content["runs"]:
        for number in run["metrics"].values():
            if number:
                number.update(low=None, high=None)
    text = svg(bias_figure(view_of(content)).figure, "f")
    assert len(rings(text)) == len(STRENGTHS)
    assert "nan" not in text.lower()


def test_a_mitigation_without_a_dial_is_a_level_line():
    content = results()
    content["runs"].append({**content["runs"][-1], "mitigation": "prompting", "strength": None})
    axes = bias_figure(view_of(content)).figure.axes[0]
    (level,) = [line for line in axes.lines if line.get_label() == "prompting (no dial)"]
    assert set(level.get_ydata()) == {100 * content["runs"][-1]["metrics"]["per_occupation_bias"]["value"]}


def test_the_trade_off_has_a_band_and_marks_the_recommended_point():
    view = view_of(results())
    axes = tradeoff_figure(view).figure.axes[0]
    (band,) = axes.collections
    ends = {tuple(point.round(6)) for point in band.get_paths()[0].vertices}
    for run in view.curves[0].points:
        x, bias = run.metrics["kl_to_base"].value, run.metrics["per_occupation_bias"]
        assert {(round(x, 6), round(100 * end, 6)) for end in (bias.low, bias.high)} <= ends
    (star,) = [line for line in axes.lines if line.get_label() == "recommended"]
    chosen = view.chosen.metrics
    assert list(star.get_xdata()) == [chosen["kl_to_base"].value]
    assert list(star.get_ydata()) == [100 * chosen["per_occupation_bias"].value]
    none = tradeoff_figure(view_of(results(recommended=None))).figure.axes[0]
    assert "recommended" not in [line.get_label() for line in none.lines]


def test_svg_for_a_page_follows_the_pages_colours_and_keeps_its_ids_to_itself():
    figure = bias_figure(view_of(results())).figure
    one, other = svg(figure, "one"), svg(figure, "other")
    ElementTree.fromstring(one)
    assert "var(--series-0)" in one
    assert not re.search(r"#[0-9a-f]{6}\b", one)
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (one, other)]
    assert all(ids)
    assert not ids[0] & ids[1]
    for target in re.findall(r'(?:href="#|url\(#)([^")]+)', one):
        assert target in ids[0]
    assert "<text" in one


def test_the_same_results_give_the_same_bytes():
    assert figure_tradeoff(results()) == figure_tradeoff(results())


def test_the_readme_picture_comes_in_two_forms():
    ElementTree.fromstring(figure_tradeoff(results()))
    assert figure_tradeoff(results(), "png").startswith(b"\x89PNG")
    two = results(tasks=("pronouns", "coreference"))
    assert figure_tradeoff(two, task="coreference") != figure_tradeoff(two)


def test_the_programs_own_matplotlib_settings_neither_matter_nor_change():
    view = view_of(results())
    plain = svg(bias_figure(view).figure, "f")
    with matplotlib.rc_context({"axes.grid": False, "font.size": 30}):
        before = dict(matplotlib.rcParams)
        assert svg(bias_figure(view).figure, "f") == plain
        assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("blocks", [2, 3, 30])
def test_blocks_are_counted_in_whole_numbers(blocks):
    _, axes = new_figure()
    axes.plot(range(blocks), range(blocks))
    by_block(axes)
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
