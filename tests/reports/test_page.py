"""The page: self-contained, escaped, complete, for every shape of results; and the terminal's tables."""

import copy
import io
import re
from functools import cache
from html.parser import HTMLParser

import pytest
from reports.synthetic import OCCUPATIONS, STRENGTHS, results, with_seeds
from rich.console import Console

from equipoise.errors import InputError
from equipoise.reports import Results, audit_tables, render_page

SHAPES = {
    "one task": results(),
    "two tasks, three seeds": with_seeds(results(tasks=("pronouns", "coreference"))),
    "none recommended": results(recommended=None),
    "base model alone": results(mitigations=()),
    "three mitigations": results(mitigations=("dso", "caa", "iti")),
}
_VOID = {"meta", "input", "br", "link", "img", "hr"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and insists that every tag is closed in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.text, self.ids = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    @property
    def words(self):
        return re.sub(r"\s+", " ", " ".join(self.text))


@cache
def rendered(shape):
    return render_page(SHAPES[shape])


@pytest.fixture(params=SHAPES)
def page(request):
    return rendered(request.param)


def test_the_page_is_well_formed_and_its_ids_are_unique(page):
    reader = Reader(page)
    assert len(reader.ids) == len(set(reader.ids))
    assert [tag for tag, _ in reader.tags].count("h1") == 1


def test_the_page_loads_nothing(page):
    reader = Reader(page)
    for tag, attributes in reader.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        for name in ("src", "href", "action", "poster", "srcset"):
            assert attributes.get(name, "#").startswith("#")
    assert not re.findall(r"url\((?!#)", page)
    assert "@import" not in page
    assert "://" not in page


def test_without_script_the_recommended_setting_is_shown_and_the_dial_is_not():
    reader = Reader(rendered("one task"))
    settings = [attributes for tag, attributes in reader.tags if attributes.get("class") == "setting"]
    assert len(settings) == len(STRENGTHS)
    assert [a["data-key"] for a in settings if "hidden" not in a] == ["0-0.8"]
    (controls,) = [attributes for _, attributes in reader.tags if attributes.get("class") == "controls"]
    assert "hidden" in controls
    assert re.findall(r'class="ring on" data-key="([^"]+)"', rendered("one task")) == ["0-0.8"] * 4


def test_the_dial_stops_at_every_measured_strength():
    reader = Reader(rendered("one task"))
    (dial,) = [attributes for _, attributes in reader.tags if attributes.get("type") == "range"]
    keys = ["base", *(f"0-{strength}" for strength in STRENGTHS[1:])]
    assert dial["data-keys"] == str(keys).replace("'", '"')
    assert (dial["min"], dial["max"], dial["value"]) == ("0", "10", "8")


def test_the_numbers_and_intervals_are_there():
    words = Reader(rendered("one task")).words
    for expected in (
        "31.0",
        "25.9 to 37.1",
        "5.5",
        "3.0 to 8.6",
        "97.2",
        "0.029",
        "0.024 to 0.035",
        "always she",
    ):
        assert expected in words
    for occupation in OCCUPATIONS:
        assert occupation in words
    assert "he would have to replace the whole engine" in words
    assert "(unchanged)" in words
    assert "equipoise audit smollm2 --task pronouns" in words
    assert "sha256:4f0c9e" in words
    assert "torch 2.13.0" in words
    assert "256 values" in words


def test_a_paired_change_to_the_base_is_told_with_its_interval():
    content = results()
    assert "change −" not in Reader(rendered("one task")).words
    content["runs"][8]["changes"] = {"per_occupation_bias": {"value": -0.255, "low": -0.301, "high": -0.21}}
    assert "change −25.5 (−30.1 to −21.0)" in Reader(render_page(content)).words


def test_the_recommendation_with_its_budgets():
    words = Reader(rendered("one task")).words
    assert "Recommended: dso" in words
    assert "KL, nats a token: 0.029 of at most 0.050" in words
    missed = results()
    missed["recommendation"]["budgets"]["kl"] = 0.01
    assert 'class="broken"' in render_page(missed)
    assert 'class="broken"' not in rendered("one task")


def test_an_honest_none():
    words = Reader(rendered("none recommended")).words
    assert "No strength is recommended" in words
    assert "the lowest is 4.01 points, at strength 1" in words


def test_the_base_model_alone_has_no_dial_and_nothing_steered():
    text = rendered("base model alone")
    assert 'type="range"' not in text
    words = Reader(text).words
    assert "Recommended" not in words
    assert "steered" not in words.replace("KL(steered ‖ base)", "")
    assert "KL to the base model" not in words


def test_several_seeds_can_be_looked_at_one_by_one():
    assert "Every seed by itself" in rendered("two tasks, three seeds")
    assert "Every seed by itself" not in rendered("one task")


HOSTILE = "<script>alert('x')</script>\"&$^$\\"


def test_every_text_from_outside_is_escaped():
    content = copy.deepcopy(results())
    content["model"]["name"] = f"someone/{HOSTILE}"
    content["command"] = content["recommendation"]["reason"] = HOSTILE
    content["recommendation"]["mitigation"] = HOSTILE
    content["data"] = {HOSTILE: HOSTILE}
    content["tasks"] = {HOSTILE: HOSTILE}
    content["mitigations"] = [{"name": HOSTILE, "settings": {HOSTILE: HOSTILE}}]
    change = {"value": 1, "low": 0, "high": 2}
    cell = {"axis": HOSTILE, "task": HOSTILE, "metric": HOSTILE, "change": change}
    content["side_effects"] = {"cells": [cell]}
    content["generations"] = [{"prompt": HOSTILE, "base": HOSTILE, "steered": HOSTILE}]
    for run in content["runs"]:
        run["task"] = run["baseline"] = HOSTILE
        run["metrics"][HOSTILE] = {"value": 1.0, "low": 0.5, "high": 1.5}
        if run["mitigation"]:
            run["mitigation"] = run["file"] = HOSTILE
        run["groups"][0]["name"] = HOSTILE
    text = render_page(content)
    reader = Reader(text)
    kinds = [attributes.get("type") for tag, attributes in reader.tags if tag == "script"]
    assert kinds.count(None) == 1 and set(kinds) == {None, "application/json"}
    assert "<script>alert" not in text
    assert reader.words.count("<script>alert('x')</script>") > 20
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)


def test_a_wrong_shape_is_refused():
    content = results()
    del content["runs"][0]["metrics"]
    with pytest.raises(InputError, match=r"runs\[0\].metrics is missing"):
        render_page(content)


def printed(content, width=110):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(audit_tables(Results.from_dict(content)))
    return console.export_text()


def test_the_terminals_table_has_a_row_a_strength_and_marks_the_chosen_one():
    text = printed(results())
    assert len(re.findall(r"^(?:▸| ) *(?:0|1|0\.\d)\s+\d", text, flags=re.M)) == len(STRENGTHS)
    assert "▸ 0.8" in text
    assert "25.9…37.1" in text
    assert "Best trivial accuracy (always she): 55.0" in re.sub(r"\s+", " ", text)
    assert "Use dso at λ = 0.8." in text


def test_the_terminals_table_names_mitigations_only_where_there_are_several():
    assert "mitigation" not in printed(results())
    assert {"dso", "caa", "iti"} <= set(printed(results(mitigations=("dso", "caa", "iti"))).split())


def test_the_terminals_table_tells_kept_shares_apart():
    content = results()
    content["runs"] += [{**content["runs"][-1], "keep": keep} for keep in (0.1, 0.5)]
    text = printed(content, width=160)
    for name in ("base model", "dso", "dso, strongest 10 %", "dso, strongest 50 %"):
        assert re.search(rf"^{name}  +(?:▸ )?[\d.]+  ", text, flags=re.M)


def test_the_terminals_table_tells_when_nothing_is_recommended():
    assert "No strength is recommended." in printed(results(recommended=None))
    assert "recommended" not in printed(results(mitigations=()))


def test_the_terminals_table_leaves_out_what_was_not_measured_and_escapes_markup():
    content = results()
    for run in content["runs"]:
        run["metrics"]["perplexity"] = None
        run["task"] = "[red]pronouns[/red]"
    text = printed(content)
    assert "perplexity" not in text
    assert "[red]pronouns[/red]" in text
