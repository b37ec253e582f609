"""A comparison's page, figure and table: complete, escaped, self-contained; and its values, read as written."""

import copy
import io
import json
import re
from functools import cache

import pytest
from reports.synthetic import results
from reports.test_page import HOSTILE, Reader
from rich.console import Console

from equipoise.errors import InputError
from equipoise.reports import (
    Comparison,
    Results,
    audit_tables,
    comparison_table,
    figure_comparison,
    render_page,
)
from equipoise.reports.canvas import GLYPHS, MARKERS, SERIES
from equipoise.reports.marks import style

NAMES = ("dso", "caa", "iti", "leace", "mean_projection", "mean_difference", "random", "prompting")


def number(value, spread=0.02):
    return {"value": value, "low": value - spread, "high": value + spread, "n": 400}


def at(name, rank, budget, *, acts=True):
    bias = 0.301 / (1 + 20 * budget) + 0.03 * rank
    entry = {
        "budget": budget,
        "strengths": {"0": 0.5 + budget if acts else 0.0},
        "candidates": {"0": [{"strength": 0.5 + budget, "kl": budget, "validation_bias": bias}]},
        "reason": None,
        "metrics": {},
        "changes": {},
        "differences": {},
        "best_other": None,
    }
    if name == "prompting":
        return {**entry, "reason": "it has no dial, and its KL of 0.594 is above the budget"}
    if not acts:
        entry["reason"] = (
            "no strength within the budget lowers bias on validation items: the base model stays"
        )
    other = "caa" if name == "dso" else "dso"
    return {
        **entry,
        "metrics": {
            "per_occupation_bias": number(bias),
            "kl_to_base": number(0.98 * budget, 0.001),
            "perplexity_ratio": number(1.01, 0.004),
        },
        "changes": {
            "per_occupation_bias": number(bias - 0.31),
            "unambiguous_accuracy": number(-0.011, 0.004),
        },
        "differences": {other: number(-0.03 if name == "dso" else 0.03 * rank, 0.012)},
        "best_other": other,
    }


def compared(names=NAMES, budgets=(0.01, 0.03, 0.1)):
    """A results.json of a comparison; made-up numbers, measured nowhere."""
    content = results(mitigations=names, strengths=(0.0, 0.5, 1.0, 2.0))
    for run in content["runs"]:
        if run["mitigation"] == "prompting":
            run["strength"] = None
    content["runs"] = [
        run
        for place, run in enumerate(content["runs"])
        if run["mitigation"] != "prompting" or content["runs"][place - 1]["mitigation"] != "prompting"
    ]
    del content["generations"]
    content["command"] = "equipoise compare smollm2 --task pronouns --methods dso,caa"
    content["recommendation"] = {
        "mitigation": "dso",
        "strength": 0.53,
        "reason": "Take dso: at a KL of at most 0.03 its bias is the lowest.",
        "budgets": {"kl": 0.03},
    }
    content["comparison"] = {
        "task": "pronouns",
        "budgets": list(budgets),
        "best": ["dso"] * len(budgets),
        "verdict": "Take dso: at a KL of at most 0.03 its bias is the lowest.",
        "mitigations": [
            {
                "name": name,
                "methods": [name],
                "files": [] if name == "prompting" else [f"{name}.safetensors"],
                "dial": name != "prompting",
                "size": 34560 if rank else 12345,
                "fit_seconds": 61.2 / (1 + rank),
                "monotone": None if name == "prompting" else rank != 2,
                "rises": None if name == "prompting" else [1.5] * (rank == 2),
                "notes": ["bias rises beyond chance at λ = 1.5"] * (rank == 2),
                "budgets": [at(name, rank, budget, acts=name != "random") for budget in budgets],
                "settings": {name: {"layer": 12}},
            }
            for rank, name in enumerate(names)
        ],
    }
    return content


@cache
def page():
    return render_page(compared())


def test_the_page_is_well_formed_and_loads_nothing():
    reader = Reader(page())
    assert len(reader.ids) == len(set(reader.ids))
    assert [tag for tag, _ in reader.tags].count("h1") == 1
    for tag, attributes in reader.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        for name in ("src", "href", "action", "poster", "srcset"):
            assert attributes.get(name, "#").startswith("#")
    assert not re.findall(r"url\((?!#)", page()) and "@import" not in page() and "://" not in page()


def test_the_page_tells_the_verdict_the_numbers_and_what_failed():
    reader = Reader(page())
    for expected in (
        "8 ways to lower the bias of SmolLM2-135M-Instruct: dso takes it from 31 to 18.8 points",
        "Take dso",
        "at most 0.01 nats a token",
        "at most 0.1 nats a token",
        "18.8",  # dso at 0.03
        "16.8 to 20.8",
        "−3.0",
        "−4.2 to −1.8, to caa",
        "it has no dial, and its KL of 0.594 is above the budget",
        "the base model stays",
        "bias rises beyond chance at λ = 1.5",
        "12\u202f345".replace("\u202f", " "),
        "61 s",
        "layer",
        "equipoise compare smollm2 --task pronouns",
        "trivial baseline",
    ):
        assert expected in reader.words, expected
    assert page().count("<svg") == 4
    assert page().count('class="chosen"') == 3


def test_every_mitigation_has_its_own_colour_and_marker():
    legend = re.findall(r'<li><i style="color: var\(--series-(\d)\)">(.)</i>(\w+)</li>', page())
    assert [name for _, _, name in legend] == list(NAMES)
    assert len({color for color, _, _ in legend}) == len({glyph for _, glyph, _ in legend}) == len(NAMES)
    drawn = page()[: page().index('<h2 id="budgets">')]
    for color in range(len(NAMES)):
        assert f"stroke: var(--series-{color})" in drawn


def test_the_values_are_read_as_written():
    content = compared()
    typed = Results.from_dict(content)
    comparison = Comparison.of(typed)
    written = json.loads(json.dumps(comparison.to_dict()))
    assert written == content["comparison"]
    assert Comparison.of(Results.from_dict(results())) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("verdict"), "comparison.verdict is missing"),
        (lambda c: c["mitigations"][1].pop("name"), r"mitigations\[1\].name is missing"),
        (lambda c: c["mitigations"][0]["budgets"][0].update(budget="x"), r"budgets\[0\].budget is 'x'"),
        (lambda c: c["mitigations"][0].update(dial=1), "dial is 1, but must be true or false"),
    ],
)
def test_a_wrong_shape_is_refused_with_its_place(change, message):
    content = compared()
    change(content["comparison"])
    with pytest.raises(InputError, match=message):
        render_page(content)


def test_every_text_from_outside_is_escaped():
    content = copy.deepcopy(compared(("dso", "caa")))
    comparison = content["comparison"]
    comparison["verdict"] = content["recommendation"]["reason"] = HOSTILE
    content["recommendation"]["mitigation"] = comparison["best"][0] = HOSTILE
    comparison["task"] = HOSTILE
    content["tasks"] = {HOSTILE: HOSTILE}
    for one in comparison["mitigations"][:1]:
        one["name"], one["notes"], one["methods"] = HOSTILE, [HOSTILE], [HOSTILE]
        one["settings"] = {HOSTILE: {HOSTILE: HOSTILE}}
        one["budgets"][0]["reason"] = HOSTILE
    for run in content["runs"]:
        run["task"] = HOSTILE
        if run["mitigation"] == "dso":
            run["mitigation"] = HOSTILE
    text = render_page(content)
    assert "<script>alert" not in text and Reader(text).words.count("<script>alert('x')</script>") > 10
    figure_comparison(content)


def printed(content, width=130):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(comparison_table(Results.from_dict(content)))
    return console.export_text()


def test_the_terminal_has_a_row_a_mitigation_a_column_a_budget_and_the_verdict():
    text = printed(compared())
    for budget in ("KL ≤ 0.01", "KL ≤ 0.03", "KL ≤ 0.1"):
        assert budget in text
    for name in NAMES:
        assert re.search(rf"^{name} ", text, flags=re.M)
    assert text.count("▸") == 3 and text.count("over it") == 3 and text.count("no effect") == 3
    assert "prompting: KL ≤ 0.01, 0.03, 0.1: it has no dial" in text
    assert "Take dso" in text and "16.8…20.8" in text


def test_one_figure_has_all_panels_and_an_audits_results_have_none():
    picture = figure_comparison(compared()).decode()
    assert picture.count("<svg") == 1
    assert figure_comparison(compared(("dso",)), "png")[:4] == b"\x89PNG"
    with pytest.raises(InputError, match="no comparison"):
        figure_comparison(results())


def test_the_audits_table_reads_a_comparison_too():
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(audit_tables(Results.from_dict(compared())))
    assert "mean_projection" in console.export_text()


def test_no_two_mitigations_look_alike() -> None:
    looks = [(look["color"], look["marker"]) for look in map(style, range(24))]
    assert len(set(looks)) == len(looks)
    assert len(GLYPHS) == len(MARKERS)
    # In words as in figures: the legend of the page counts in the same way.
    assert len({(number % len(SERIES), GLYPHS[number % len(GLYPHS)]) for number in range(24)}) == 24
