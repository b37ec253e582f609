"""Requests with images: answered as if alone, whatever is asked beside them."""

import base64
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from interventions.samples import intervention
from serve.test_app import NEW, Served
from vlms import picture, tiny_vlm

pytest.importorskip("PIL")

from equipoise.interventions import attach
from equipoise.models import LoadedModel
from equipoise.scoring import generate
from equipoise.serve import engine, pictures
from equipoise.tasks import Picture
from equipoise.tasks import picture as as_picture

KINDS = ("LLaVA", "Qwen2-VL", "Gemma-3", "BLIP-2")
ASKED = (("Who is this?", 0), ("Who is this?", 1), ("The nurse said", None), ("What does she do?", 1))
STRENGTHS = (0.0, 0.4, 1.0)


def url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def message(text: str, image: int | None) -> dict[str, Any]:
    if image is None:
        return {"role": "user", "content": text}
    shown = {"type": "image_url", "image_url": {"url": url(picture(image))}}
    return {"role": "user", "content": [shown, {"type": "text", "text": text}]}


def alone(loaded: LoadedModel, text: str, image: int | None, strength: float) -> str:
    prompt = ({"role": "user", "content": text if image is None else f"<image>{text}"},)
    shown = [[] if image is None else [as_picture(picture(image))]]
    with attach(
        loaded, [intervention(loaded), intervention(loaded, ("mlp",), seed=1, scope="answer")], strength
    ):
        return generate(loaded, [prompt], max_new_tokens=NEW, images=shown)[0]


@pytest.fixture(scope="module", params=KINDS)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    loaded = tiny_vlm(request.param)
    parts = {"dso": intervention(loaded), "iti": intervention(loaded, ("mlp",), seed=1, scope="answer")}
    one = Served(loaded, parts, most_bytes=None)
    yield one
    one.close()


def ask(served: Served, text: str, image: int | None, strength: float, **more: Any) -> str:
    answer = served.client.chat.completions.create(
        model="tiny",
        messages=[message(text, image)],
        temperature=0,
        extra_body={"equipoise": {"strength": strength}},
        **more,
    )
    return str(answer.choices[0].message.content)


def another(served: Served) -> LoadedModel:
    """The same model, which nobody serves."""
    return tiny_vlm(served.loaded.name.split("-", 1)[1].rpartition("-")[0])


def test_every_answer_is_the_one_given_alone(served: Served) -> None:
    own = another(served)
    cases = [(text, image, strength) for text, image in ASKED for strength in STRENGTHS]
    wanted = {case: alone(own, *case) for case in cases}
    # The twin: images and strengths that were mixed up would show.
    assert wanted["Who is this?", 0, 0.4] != wanted["Who is this?", 1, 0.4]
    assert wanted["Who is this?", 0, 0.4] != wanted["Who is this?", 0, 1.0]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda case: ask(served, *case), cases))
    assert dict(zip(cases, found, strict=True)) == wanted


def slow_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token of an answer about an image takes a while."""
    see = engine.generate_seeing

    def slowly(*given: Any, before_pass: Any, **more: Any) -> None:
        def wait() -> None:
            time.sleep(0.05)
            before_pass()

        see(*given, before_pass=wait, **more)

    monkeypatch.setattr(engine, "generate_seeing", slowly)


def test_text_is_answered_while_an_image_is(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_to_see(monkeypatch)
    order: list[str] = []

    def long() -> None:
        ask(served, "Who is this?", 0, 0.4, max_tokens=60, stop=["never in it"])
        order.append("image")

    thread = threading.Thread(target=long)
    thread.start()
    deadline = time.monotonic() + 60
    while not served.engine.running and thread.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    ask(served, "The nurse said", None, 1.0, max_tokens=1)
    order.append("text")
    thread.join(120)
    assert not thread.is_alive() and order == ["text", "image"]


def test_streams_have_images_too(served: Served) -> None:
    parts = served.client.chat.completions.create(
        model="tiny:0.4", messages=[message("Who is this?", 0)], temperature=0, stream=True
    )
    text = "".join(part.choices[0].delta.content or "" for part in parts)
    assert text == ask(served, "Who is this?", 0, 0.4)


def test_bad_images_are_refused_in_a_sentence(served: Served) -> None:
    def part(address: Any) -> list[Any]:
        return [{"role": "user", "content": [{"type": "image_url", "image_url": address}]}]

    many = [{"role": "user", "content": [message("x", 0)["content"][0]] * 9}]
    marked = [
        {"role": "user", "content": [message("x", 0)["content"][0], {"type": "text", "text": "<image>"}]}
    ]
    for messages, words in (
        (part({"url": "https://example.org/a.png"}), "this server fetches nothing"),
        (part({"url": "data:image/png;base64,@@@"}), "its base64 is damaged"),
        (part({"url": "data:image/png;base64,AAAA"}), "image 1 is no image"),
        (part({"url": url(picture(0)[:60])}), "image 1"),
        (part(3), "this server fetches nothing"),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "parts are text or image_url"),
        (many, "at most 8 images"),
        (marked, "can't say <image>"),
    ):
        response = served.http.post("/v1/chat/completions", json={"messages": messages})
        assert response.status_code == 400 and words in response.json()["error"]["message"], words
    assert ask(served, "The nurse said", None, 0.0)


def test_who_goes_away_while_an_image_is_looked_at_frees_the_server(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_to_see(monkeypatch)
    before = served.engine.counts["cancelled"]
    body = {"messages": [message("Who is this?", 0)], "max_tokens": 90, "temperature": 0, "stream": True}
    with served.http.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = response.iter_lines()  # to let go of it is to hang up, perhaps before the engine has begun
        next(lines)
        deadline = time.monotonic() + 60
        while not served.engine.running:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    while served.engine.running or served.engine.waiting:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert served.engine.counts["cancelled"] == before + 1
    assert ask(served, "Who is this?", 1, 0.4) == alone(another(served), "Who is this?", 1, 0.4)


def test_a_picture_is_measured_before_it_is_decoded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_PIXELS", 16)
    monkeypatch.setattr(Picture, "open", lambda _: pytest.fail("it was decoded"))
    response = served.http.post("/v1/chat/completions", json={"messages": [message("x", 0)]})
    assert response.status_code == 400 and "make it smaller" in response.json()["error"]["message"]
