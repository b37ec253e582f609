"""What the page's tables say: leans, words that differ, side effects, cards; and colours that can be read."""

import re
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports.synthetic import OCCUPATIONS, results

from equipoise.errors import InputError
from equipoise.reports import Results, render_page
from equipoise.reports.cards import cost_card, data_card, method_cards
from equipoise.reports.curves import task_views
from equipoise.reports.generations import differing
from equipoise.reports.occupations import occupation_table, strata_table
from equipoise.reports.side_effects import side_effects


def view_of(content):
    return task_views(Results.from_dict(content))[0]


def test_every_occupation_has_its_lean_before_and_now_strongest_first():
    content = results()
    table = occupation_table(view_of(content), "0-0.8")
    base, now = (
        {group["name"]: 200 * group["p_pro"]["value"] - 100 for group in content["runs"][number]["groups"]}
        for number in (0, 8)
    )
    assert {row.name for row in table.rows} == set(OCCUPATIONS)
    assert [abs(base[row.name]) for row in table.rows] == sorted(map(abs, base.values()), reverse=True)
    for row in table.rows:
        assert float(row.base.replace("−", "-")) == pytest.approx(base[row.name], abs=0.051)
        assert float(row.now.replace("−", "-")) == pytest.approx(now[row.name], abs=0.051)
    assert set(table.data["keys"]) == {key for key, _ in view_of(content).runs}
    assert table.data["keys"]["0-0.8"]["nurse"][0] == pytest.approx(now["nurse"], abs=0.006)


def test_a_bar_begins_in_the_middle_and_is_as_long_as_the_lean():
    table = occupation_table(view_of(results()), "base")
    for row in table.rows:
        value = table.data["keys"]["base"][row.name][0]
        left, width = (float(x) for x in re.findall(r"[\d.]+", row.places["now"]))
        end = left if value < 0 else left + width
        assert end == pytest.approx(50 + 50 * value / table.data["reach"], abs=0.11)
        assert (left + width if value < 0 else left) == pytest.approx(50, abs=0.11)


def test_without_leans_there_are_no_tables():
    content = results()
    assert strata_table(view_of(content), "base") is None
    for run in content["runs"]:
        run["groups"] = []
    assert occupation_table(view_of(content), "base") is None
    assert 'class="card leans"' not in render_page(content)


WORDS = st.text(st.sampled_from("ab .\n"), max_size=24)


@given(WORDS, WORDS)
def test_both_texts_are_whole_and_only_what_differs_is_marked(one, other):
    left, right = differing(one, other)
    assert "".join(text for text, _ in left) == one and "".join(text for text, _ in right) == other
    same = ["".join(text for text, differs in side if not differs).split() for side in (left, right)]
    assert same[0] == same[1]
    assert all(text == text.strip() for side in (left, right) for text, differs in side if differs)
    if one.split() == other.split():
        assert not any(differs for _, differs in (*left, *right))


def test_one_changed_word_is_one_mark():
    left, right = differing("he would go home", "they would go home")
    assert left == (("he", True), (" would go home", False))
    assert right == (("they", True), (" would go home", False))


def effect(axis="race", metric="stereotype_gap", value=0.05, moved=True, p=0.004, strength=0.8):
    change = {"value": value, "low": value - 0.02, "high": value + 0.02}
    return {
        "task": "bbq",
        "metric": metric,
        "axis": axis,
        "mitigation": "dso",
        "keep": None,
        "strength": strength,
        "targeted": axis == "gender",
        "change": change,
        "p_adjusted": p,
        "moved": moved,
    }


def test_the_matrix_has_a_cell_for_every_effect_and_names_what_moved():
    age = [effect("age", "icat.age", 1.5, None, None), effect("age", value=-0.01, moved=False, p=1.0)]
    cells = [effect(), *age, effect("gender", "icat.gender", 2.0, None), effect(None, "accuracy", 0.0, False)]
    (matrix,) = side_effects({"cells": cells}, [view_of(results())])
    assert matrix.key == "0-0.8" and matrix.label == "dso at λ = 0.8"
    assert matrix.columns == (("bbq", "Stereotype gap"), ("bbq", "icat"), ("bbq", "accuracy"))
    rows = {axis: (targeted, cells) for axis, targeted, cells in matrix.rows}
    assert {axis: targeted for axis, (targeted, _) in rows.items()} == {
        "race": False,
        "age": False,
        "gender": True,
        "capability": False,
    }
    moved, empty, _ = rows["race"][1]
    assert (moved.change, moved.interval, moved.p, moved.moved) == ("+5.0", "3.0 to 7.0", "p = 0.004", True)
    assert empty is None
    small, other, _ = rows["age"][1]
    assert (small.change, other.change, other.p) == ("−1.0", "+1.50", "")
    assert matrix.moved == ("race (bbq, Stereotype gap: +5.0)",)


def test_every_setting_of_the_dial_has_its_matrix_and_what_the_dial_has_not_is_left_out():
    views = [view_of(results())]
    found = side_effects({"cells": [effect(strength=strength) for strength in (0.3, 0.8, 7.0)]}, views)
    assert [matrix.key for matrix in found] == ["0-0.3", "0-0.8"]
    # Suites alone have no dial: the strongest stands for all.
    (alone,) = side_effects({"cells": [effect(strength=strength) for strength in (0.3, 7.0)]}, [])
    assert alone.key is None and alone.label == "dso at λ = 7"
    page = render_page({**results(), "side_effects": {"cells": [effect()]}})
    assert "Moved beyond chance:" in page and "▲" in page
    assert "Side effects" not in render_page(results())


def test_a_matrix_without_a_test_does_not_say_that_nothing_moved():
    untested = effect("race", moved=None, p=None) | {"change": None}
    page = render_page({**results(), "side_effects": {"cells": [untested]}})
    assert "Nothing was tested" in page and "Nothing that was not targeted moved" not in page
    stayed = effect("age", moved=False, p=1.0)
    assert "Nothing that was not targeted moved" in render_page(
        {**results(), "side_effects": {"cells": [untested, stayed]}}
    )


@pytest.mark.parametrize(
    "wrong",
    [
        [effect()],
        {},
        "text",
        {"cells": "text"},
        {"cells": [{"axis": "race"}]},
        {"cells": [1]},
        {"cells": [{**effect(), "change": 3}]},
    ],
)
def test_side_effects_of_another_shape_are_refused(wrong):
    with pytest.raises(InputError, match=r"side_effects|results: change"):
        side_effects(wrong, [])


def test_cards_say_what_was_asked_what_acted_and_what_it_cost():
    content = results()
    content["items"] = {"pronouns": {"ambiguous": 160, "groups": 20}}
    content["mitigations"] = [
        {"name": "dso", "sites": [f"block.{n}.norm.0" for n in range(9)], "settings": {"steps": 3}}
    ]
    content["cost"] = {
        "tokens": {"computed": 300, "unique": 200},
        "this_run": {"seconds": {"measuring": 1.5}},
    }
    typed = Results.from_dict(content)
    assert ("ambiguous", "160") in data_card(typed, "pronouns")
    ((name, facts),) = method_cards(typed)
    assert name == "dso" and ("settings steps", "3") in facts
    assert dict(facts)["acts at"].endswith("block.3.norm.0 and 5 more")
    assert ("tokens in unique prefixes", "200 (1.50 computed for each)") in cost_card(typed)
    assert cost_card(Results.from_dict(results())) == [] == method_cards(Results.from_dict(results()))


def _variables(css):
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", css))


def _luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_words_stand_out_from_what_is_behind_them_in_light_dark_and_print():
    """WCAG 2.2: at least 4.5 : 1 for text, 3 : 1 for curves."""
    css = (files("equipoise.reports") / "templates" / "style.css").read_text()
    blocks = re.findall(r":root \{([^}]*)\}", css)
    light, dark, paper = (_variables(block) for block in blocks)
    assert len(light) > 15
    for colours in (light, {**light, **dark}, {**light, **paper}):

        def contrast(one, other, colours=colours):
            a, b = sorted((_luminance(colours[one]), _luminance(colours[other])), reverse=True)
            return (a + 0.05) / (b + 0.05)

        for text in ("ink", "muted", "accent", "warn", "good"):
            for behind in ("page", "card", "soft"):
                assert contrast(text, behind) >= 4.5, (text, behind)
        for number in range(8):
            assert contrast(f"series-{number}", "card") >= 3, number
