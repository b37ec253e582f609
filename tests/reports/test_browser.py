"""The page in a real browser: the dial moves every number, it fits a phone, needs no network, and can be used blind."""

import copy
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser
from reports.synthetic import OCCUPATIONS, results

from equipoise.reports import Results, render_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no Chromium: install one, or set EQUIPOISE_CHROMIUM"
    ),
]

CONTENT = results(tasks=("pronouns", "coreference"), mitigations=("dso", "caa"))
for _run in CONTENT["runs"]:
    _gap = _run["metrics"]["stereotype_gap"]
    _run["strata"] = {"female": _gap, "male": {**_gap, "value": _gap["value"] / 2, "low": -1}}
    _run["groups"][0]["name"] = "=1+1"
CONTENT["side_effects"] = {
    "cells": [
        {
            "task": "crows_pairs",
            "metric": "stereotype_gap",
            "axis": axis,
            "mitigation": "dso",
            "keep": None,
            "strength": strength,
            "change": {"value": value * strength, "low": -1, "high": 1, "n": 90},
            "p_adjusted": p,
            "moved": p < 0.05,
        }
        for axis, value, p in (("race", 0.05, 0.004), ("age", -0.01, 1.0))
        for strength in (0.5, 0.8)
    ]
}
CONTENT["items"] = {"pronouns": {"ambiguous": 400, "unambiguous": 400, "groups": 20, "templates": 24}}
CONTENT["mitigations"] = [
    {"name": "dso", "method": "dso", "sites": ["block.0.norm.0"], "settings": {"steps": 3}}
]
CONTENT["cost"] = {
    "tokens": {"computed": 3000, "unique": 2000},
    "this_run": {"seconds": {"measuring": 12.3}, "kept": 0.25},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_page(CONTENT), encoding="utf-8")
    return path


def run_at(strength: float, mitigation: str | None = "dso", task: str = "pronouns") -> dict[str, Any]:
    wanted = (task, mitigation if strength else None, strength)
    return next(run for run in CONTENT["runs"] if (run["task"], run["mitigation"], run["strength"]) == wanted)


def shown(browser: Browser) -> dict[str, Any]:
    """What the page says at present, in its different places."""
    found: dict[str, Any] = browser.run(
        """(() => {
          const text = (one) => one && one.innerText.trim();
          const seen = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility());
          return {
            lambda: text(document.querySelector("#lambda")),
            bias: seen(".reading .value").map(text)[0],
            rings: [...new Set([...document.querySelectorAll("svg .ring.on")].map((one) => one.dataset.key))],
            figures: document.querySelectorAll("figure svg").length,
            ringed: [...document.querySelectorAll("figure svg")].filter((one) => one.querySelector(".ring.on")).length,
            rows: seen("tr.at").map((one) => one.dataset.key),
            leans: Object.fromEntries(seen(".leans tr[data-name]").reverse()  // the first task's stay
              .map((row) => [row.dataset.name, text(row.querySelector(".now b"))])),
            bar: document.querySelector('tr[data-name="nurse"] i.now').style.cssText,
            live: document.querySelector("#live").textContent,
            effects: seen(".matrix tbody tr").map(text).join(" "),
            hash: location.hash,
          };
        })()"""
    )
    return found


def points(value: float) -> str:
    return f"{100 * value:.1f}".replace("-", "−")


def check(browser: Browser, strength: float, key: str, mitigation: str = "dso") -> None:
    """Every place shows this setting."""
    now, run = shown(browser), run_at(strength, mitigation)
    assert now["lambda"] == f"λ = {strength:g}"
    assert now["bias"].startswith(points(run["metrics"]["per_occupation_bias"]["value"]))
    assert now["rings"] == [key] and now["rows"] == [key, key]
    assert now["ringed"] == now["figures"] == 8
    lean = next(group["p_pro"]["value"] for group in run["groups"] if group["name"] == "nurse")
    assert abs(float(now["leans"]["nurse"].replace("−", "-")) - (200 * lean - 100)) < 0.06
    assert now["leans"]["female"] == points(run["strata"]["female"]["value"])


def test_the_dial_moves_every_figure_and_number_by_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page)
    check(browser, 0.8, "0-0.8")
    before = shown(browser)
    browser.run("document.querySelector('#dial').focus()")
    for _ in range(3):
        browser.press("ArrowLeft", 37)
    check(browser, 0.5, "0-0.5")
    after = shown(browser)
    assert after["bar"] != before["bar"] and after["hash"] == "#lambda=0.5"
    assert "+4.0" in before["effects"] and "+2.5" in after["effects"] and "+4.0" not in after["effects"]
    # What a screen reader is told.
    assert browser.run("document.querySelector('#dial').getAttribute('aria-valuetext')") == "λ = 0.5"
    browser.until("document.querySelector('#live').textContent.includes('λ = 0.5. pronouns: Bias ')")
    browser.press("Home", 36)
    check(browser, 0, "base")
    browser.run("document.querySelector('#back').click()")
    check(browser, 0.8, "0-0.8")


def test_the_address_says_the_strength_and_the_mitigation(browser: Browser, page: Path) -> None:
    browser.open(page, "#lambda=0.3")
    check(browser, 0.3, "0-0.3")
    browser.run("location.hash = '#lambda=0.61&mitigation=caa'")
    browser.until("document.querySelector('#lambda').textContent === 'λ = 0.6'")
    check(browser, 0.6, "1-0.6", "caa")
    browser.run("location.hash = '#lambda=nonsense&mitigation=none'")
    check(browser, 0.6, "1-0.6", "caa")
    browser.open(page, "#elsewhere")
    check(browser, 0.8, "0-0.8")


def test_occupations_can_be_searched_and_sorted(browser: Browser, page: Path) -> None:
    browser.open(page)
    card = "[...document.querySelectorAll('.leans')].find((one) => one.querySelector('input'))"
    names = f"[...{card}.querySelectorAll('tbody tr')].filter((one) => !one.hidden).map((one) => one.dataset.name)"
    assert len(browser.run(names)) == len(OCCUPATIONS)
    browser.run(f"{card}.querySelector('input').value = 'ER'")
    browser.run(f"{card}.querySelector('input').dispatchEvent(new Event('input'))")
    found = browser.run(names)
    assert set(found) == {name for name in OCCUPATIONS if "er" in name}
    assert browser.run(f"{card}.querySelector('.found').textContent") == f"{len(found)} of {len(OCCUPATIONS)}"
    sort = f"{card}.querySelector('th[data-sort=NAME] button').click()"
    browser.run(sort.replace("NAME", "name"))
    assert browser.run(names) == sorted(found)
    browser.run(sort.replace("NAME", "now"))
    browser.run(f"{card}.querySelector('input').value = ''")
    browser.run(f"{card}.querySelector('input').dispatchEvent(new Event('input'))")
    for strength in (0.8, 0.1):  # the order follows the dial
        browser.run(f"location.hash = '#lambda={strength}'")
        browser.until(f"document.querySelector('#lambda').textContent === 'λ = {strength}'")
        leans = {
            group["name"]: round(200 * group["p_pro"]["value"], 2) for group in run_at(strength)["groups"]
        }
        assert [leans[name] for name in browser.run(names)] == sorted(leans.values(), reverse=True)
    assert browser.run(f"{card}.querySelector('th[data-sort=now]').getAttribute('aria-sort')") == "descending"


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_without_a_horizontal_scroll(browser: Browser, page: Path, dark: bool) -> None:
    browser.open(page, width=360, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    wide = """[...document.querySelectorAll('.leans .scroll, .controls')]
      .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => [one.scrollWidth, one.clientWidth])"""
    assert browser.run(wide) == []
    small = """[...document.querySelectorAll('main *')]
      .filter((one) => one.checkVisibility() && !one.closest('svg') && !one.children.length && one.textContent.trim())
      .filter((one) => parseFloat(getComputedStyle(one).fontSize) < 11.5).map((one) => one.outerHTML)"""
    assert browser.run(small) == []


def test_a_phone_takes_long_names_and_no_recommendation(browser: Browser, tmp_path: Path) -> None:
    content = results(recommended=None)
    for run in content["runs"]:
        run["groups"][0]["name"] = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamter"
    path = tmp_path / "report.html"
    path.write_text(render_page(content), encoding="utf-8")
    browser.open(path, width=360)
    assert browser.text(".advice .big") == "No strength is recommended"
    assert browser.run("document.documentElement.scrollWidth") <= 360
    table = "[...document.querySelectorAll('.leans .scroll')]"
    assert browser.run(f"{table}.every((one) => one.scrollWidth <= one.clientWidth + 1)")


def test_without_script_the_recommended_setting_is_there(browser: Browser, page: Path) -> None:
    browser.open(page, script=False)
    # Reading goes through the debugger, which still may run what the page may not.
    seen = "[...document.querySelectorAll('SELECTOR')].filter((one) => one.checkVisibility()).length"
    assert browser.run(seen.replace("SELECTOR", ".controls, button, .search")) == 0
    assert browser.run(seen.replace("SELECTOR", ".dial .setting")) == 1
    assert browser.run(seen.replace("SELECTOR", "figure svg")) == 8
    assert browser.text(".setting .name") == "dso at λ = 0.8"
    assert browser.text('tr[data-name="nurse"] .now b') != "–"


def test_it_asks_for_nothing_from_the_network(browser: Browser, page: Path) -> None:
    browser.requests.clear()
    browser.open(page)
    browser.run("document.querySelector('button.png').click()")
    browser.run("new Promise((done) => setTimeout(done, 100))")
    assert browser.requests and all(
        url.startswith(("file:", "blob:", "data:", "about:")) for url in browser.requests
    )


def test_what_can_be_downloaded_is_all_of_it(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run(
        "window.made = []; URL.createObjectURL = (blob) => { window.made.push(blob); return '#saved'; }"
    )
    browser.run("document.querySelector('#json').click(); document.querySelector('#csv').click()")
    content, table = (browser.run(f"window.made[{number}].text()") for number in (0, 1))
    assert json.loads(content) == json.loads(json.dumps(Results.from_dict(CONTENT).to_dict()))
    rows = list(csv.DictReader(io.StringIO(table.lstrip("\ufeff"))))
    numbers = sum(
        len([one for one in run["metrics"].values() if one]) + len(run["groups"]) + len(run["strata"])
        for run in CONTENT["runs"]
    )
    assert len(rows) == numbers
    one = next(row for row in rows if row["metric"] == "per_occupation_bias" and row["strength"] == "0.5")
    assert float(one["value"]) == run_at(0.5)["metrics"]["per_occupation_bias"]["value"]
    # Nothing that a spreadsheet would run.
    assert {row["metric"] for row in rows if "1+1" in row["metric"]} == {"'=1+1"}
    browser.run("document.querySelector('button.png').click()")
    browser.until("window.made.length === 3")
    head = browser.run("window.made[2].slice(0, 4).arrayBuffer().then((bytes) => [...new Uint8Array(bytes)])")
    assert bytes(head) == b"\x89PNG" and browser.run("window.made[2].size") > 10_000


def test_everything_that_takes_the_focus_has_a_name(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.send("Accessibility.enable")
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    browser.send("Accessibility.disable")

    def focusable(node: dict[str, Any]) -> bool:
        return any(one["name"] == "focusable" and one["value"]["value"] for one in node.get("properties", ()))

    named = {
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in nodes
        if not node["ignored"] and focusable(node) and node["role"]["value"] != "RootWebArea"
    }
    assert all(name for _, name in named), named
    assert ("slider", "Strength") in named and ("searchbox", "Search") in named
    assert {"combobox", "button", "region"} <= {role for role, _ in named}
    pictures = [node for node in nodes if node["role"]["value"] == "image" and not node["ignored"]]
    told = [node["name"]["value"] for node in pictures]
    assert all(told) and len([name for name in told if name != "moved beyond chance"]) == 8


def test_print_is_light_whole_and_without_controls(browser: Browser, page: Path, tmp_path: Path) -> None:
    browser.open(page, dark=True)
    dark = browser.run("getComputedStyle(document.body).backgroundColor")
    browser.send(
        "Emulation.setEmulatedMedia",
        media="print",
        features=[{"name": "prefers-color-scheme", "value": "dark"}],
    )
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)" != dark
    assert browser.run(
        "[...document.querySelectorAll('.controls, button.png, #csv, #back')].every((one) => !one.checkVisibility())"
    )
    heads = "[...document.querySelectorAll('.leans th[data-sort]')].map((one) => one.innerText)"
    assert {"Occupation", "Base", "Now"} <= set(browser.run(heads))
    cut = "[...document.querySelectorAll('.tall')].filter((one) => one.scrollHeight > one.clientHeight + 1).length"
    assert browser.run(cut) == 0
    browser.send("Emulation.setEmulatedMedia", media="")
    browser.printed(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_the_other_pages_share_the_head_and_a_lone_base_model_has_no_dial(
    browser: Browser, tmp_path: Path
) -> None:
    content = copy.deepcopy(results(mitigations=()))
    (tmp_path / "base.html").write_text(render_page(content), encoding="utf-8")
    browser.open(tmp_path / "base.html")
    assert browser.run("document.querySelector('#dial')") is None
    assert browser.run("document.querySelector('#csv').checkVisibility()")


def test_more_than_two_groups_and_suites_follow_the_dial(browser: Browser, tmp_path: Path) -> None:
    content = results(tasks=("people",))
    suites = []
    for run in content["runs"]:
        lam = run["strength"]
        for place, group in enumerate(run["groups"]):
            top = 1 / 3 + (0.5 - 0.4 * lam) * (place + 1) / len(run["groups"])
            group["p_pro"] = None
            rest = {"b": {"value": (1 - top) / 2}, "c": {"value": (1 - top) / 2}}
            shares = (
                {"a": {"value": top}, **rest} if lam < 0.5 else {**rest, "a": rest["b"], "c": {"value": top}}
            )
            group["shares"] = {name: {**share, "low": 0, "high": 1, "n": 9} for name, share in shares.items()}
            bias = 2 * (top - 1 / 3)
            group["bias"] = {"value": bias, "low": bias / 2, "high": 1.5 * bias, "n": 9}
        accuracy = {"accuracy": {"value": 0.9 - 0.1 * lam, "low": 0.7, "high": 1.0, "n": 30}}
        suites.append(
            {**run, "task": "arc", "suite": True, "split": "all", "metrics": accuracy, "groups": []}
        )
    content["runs"] += suites
    path = tmp_path / "report.html"
    path.write_text(render_page(content), encoding="utf-8")
    browser.open(path)
    seen = """(() => {
      const row = document.querySelector('.leans tr[data-name="nurse"]'), text = (one) => one.innerText.trim();
      const tables = [...document.querySelectorAll("section[aria-labelledby=suites] table")];
      const shown = tables.filter((one) => one.checkVisibility());
      const bar = row.querySelector("i.now").style.left;
      return [text(row.querySelector(".now b")), text(row.querySelector(".most")), bar, shown.length,
              text(shown[0].querySelector("tbody td:nth-child(4)"))];
    })()"""
    for strength in (0.8, 0.2):
        position = round(10 * strength)
        browser.run(f"document.querySelector('#dial').value = {position}")
        browser.run("document.querySelector('#dial').dispatchEvent(new Event('input'))")
        bias, most, left, tables, accuracy = browser.run(seen)
        run = next(one for one in content["runs"] if one["strength"] == strength)
        nurse = next(group for group in run["groups"] if group["name"] == "nurse")
        assert bias == points(nurse["bias"]["value"]) and most == ("c" if strength > 0.5 else "a")
        assert left in ("0px", "0%") and tables == 1
        assert accuracy.startswith(f"{0.9 - 0.1 * strength:.3f}")
