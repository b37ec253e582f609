"""The page at ``/``, in a real browser."""

import json
import time
from collections.abc import Iterator

import pytest
from browser import CHROMIUM, Browser
from interventions.samples import intervention
from serve.test_app import NEW, Served
from tiny import tiny

from equipoise.interventions import attach
from equipoise.scoring import generate

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no Chromium: install one, or set EQUIPOISE_CHROMIUM"
    ),
]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    loaded = tiny("Llama")
    one = Served(loaded, {"dso": intervention(loaded)})
    yield one
    one.close()


@pytest.fixture(scope="module")
def browser(served: Served) -> Iterator[Browser]:
    with Browser() as one:
        one.open(served.url)
        yield one


def answers(prompt: str, *strengths: float) -> list[str]:
    """What the library says."""
    loaded, found = tiny("Llama"), []
    chat = ({"role": "user", "content": prompt},)
    for strength in strengths:
        with attach(loaded, intervention(loaded), strength):
            found.append(generate(loaded, [chat], max_new_tokens=NEW)[0])
    return found


def ask(browser: Browser, prompt: str, strength: float) -> None:
    browser.run(
        f"""(() => {{
          document.getElementById("prompt").value = {json.dumps(prompt)};
          const dial = document.getElementById("dial");
          dial.value = {strength};
          dial.dispatchEvent(new Event("input", {{ bubbles: true }}));
          document.querySelector("#form button").click();
        }})()"""
    )


def text(browser: Browser, name: str) -> str:
    return str(browser.run(f"document.getElementById({name!r}).textContent"))


def test_the_dial_gives_two_answers_side_by_side(browser: Browser) -> None:
    prompt = "My uncle is the"
    for strength in (0.6, 1.0):
        base, steered = answers(prompt, 0.0, strength)
        assert base != steered
        ask(browser, prompt, strength)
        assert text(browser, "shown") == f"{strength:g}"
        assert text(browser, "title") == f"Steered, λ = {strength:g}"
        wanted = json.dumps([base, steered])
        here = "['base', 'steered'].map((name) => document.getElementById(name).textContent)"
        browser.until(f"JSON.stringify({here}) === JSON.stringify({wanted})")
        assert text(browser, "problem") == ""
    boxes = browser.run(
        "[...document.querySelectorAll('.answers section')].map((one) => one.getBoundingClientRect().top)"
    )
    assert boxes[0] == boxes[1]  # side by side


def test_a_refusal_is_shown_in_words(browser: Browser, served: Served) -> None:
    ask(browser, "x " * 300, 1.0)
    browser.until("document.getElementById('problem').textContent.includes('shorten the prompt')")
    base, steered = answers("Once upon", 0.0, 0.5)
    ask(browser, "x " * 40, 1.0)
    ask(browser, "Once upon", 0.5)  # the first is still being answered: it is given up
    wanted = json.dumps([base, steered])
    here = "['base', 'steered'].map((name) => document.getElementById(name).textContent)"
    browser.until(f"JSON.stringify({here}) === JSON.stringify({wanted})")
    assert text(browser, "problem") == ""
    deadline = time.monotonic() + 60
    while served.engine.running or served.engine.waiting:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_nothing_comes_from_elsewhere(browser: Browser, served: Served) -> None:
    entries = browser.run("performance.getEntriesByType('resource').map((one) => one.name)")
    assert entries and all(str(one).startswith(served.url) for one in entries)
