"""The protocol, over real HTTP on this machine and with OpenAI's own client."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from interventions.samples import intervention
from tiny import tiny

pytest.importorskip("starlette")
httpx = pytest.importorskip("httpx")
openai = pytest.importorskip("openai")
uvicorn = pytest.importorskip("uvicorn")

from equipoise.interventions import Intervention, attach  # noqa: E402
from equipoise.models import LoadedModel  # noqa: E402
from equipoise.scoring import generate  # noqa: E402
from equipoise.serve import Engine, make_app  # noqa: E402
from equipoise.serve.batch import Batch  # noqa: E402

NEW = 12


class Served:
    """A server on a free port of this machine, with OpenAI's client and a plain one."""

    def __init__(
        self, loaded: LoadedModel, parts: dict[str, Intervention], *, most_bytes: int | None = 20_000
    ) -> None:
        self.loaded = loaded
        self.engine = Engine(loaded, parts, most_rows=8, most_waiting=64, most_tokens=128)
        app = make_app(self.engine, name="tiny", strength=1.0, most_new=NEW, most_bytes=most_bytes)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.02)
        self.client: Any = openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)
        self.http: Any = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    loaded = tiny("Llama")
    one = Served(loaded, {"dso": intervention(loaded)})
    yield one
    one.close()


@pytest.fixture(scope="module")
def expected() -> dict[tuple[str, float], str]:
    """Greedy answers given alone, by an engine of their own."""
    loaded = tiny("Llama")
    part, found = intervention(loaded), {}
    for strength in (0.0, 0.3, 0.6, 1.0):
        with attach(loaded, part, strength):
            for prompt in ("The nurse said", "My uncle is the", "Once upon"):
                found[prompt, strength] = generate(loaded, [prompt], max_new_tokens=NEW)[0]
                chat = ({"role": "user", "content": prompt},)
                found[f"chat {prompt}", strength] = generate(loaded, [chat], max_new_tokens=NEW)[0]
    return found


def complete(served: Served, prompt: str, **more: Any) -> Any:
    return served.client.completions.create(model="tiny", prompt=prompt, temperature=0, **more)


def test_the_official_client_gets_what_the_library_gives(
    served: Served, expected: dict[tuple[str, float], str]
) -> None:
    assert [model.id for model in served.client.models.list()] == ["tiny"]
    prompt = "The nurse said"
    answer = complete(served, prompt, extra_body={"equipoise": {"strength": 0.3}})
    assert answer.choices[0].text == expected[prompt, 0.3]
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert complete(served, prompt).choices[0].text == expected[prompt, 1.0]  # the server's default
    for model in ("tiny:0.6", "tiny:dso=0.6"):
        by_name = served.client.completions.create(model=model, prompt=prompt, temperature=0)
        assert by_name.choices[0].text == expected[prompt, 0.6] and by_name.model == model
    several = served.client.completions.create(
        model="tiny:0", prompt=[prompt, "Once upon"], temperature=0, max_tokens=NEW
    )
    assert [c.text for c in several.choices] == [expected[prompt, 0.0], expected["Once upon", 0.0]]
    assert len({expected[prompt, s] for s in (0.0, 0.3, 0.6, 1.0)}) >= 3


def test_chat_and_streaming(served: Served, expected: dict[tuple[str, float], str]) -> None:
    messages = [{"role": "user", "content": "My uncle is the"}]
    wanted = expected["chat My uncle is the", 0.6]
    extra = {"equipoise": {"strengths": {"dso": 0.6}}}
    whole = served.client.chat.completions.create(
        model="tiny", messages=messages, temperature=0, extra_body=extra
    )
    assert whole.choices[0].message.content == wanted and whole.choices[0].message.role == "assistant"
    stream = served.client.chat.completions.create(
        model="tiny",
        messages=messages,
        temperature=0,
        stream=True,
        extra_body=extra,
        stream_options={"include_usage": True},
    )
    parts = list(stream)
    assert "".join(p.choices[0].delta.content or "" for p in parts if p.choices) == wanted
    assert parts[-1].usage.completion_tokens >= 1 and parts[-2].choices[0].finish_reason in ("stop", "length")
    text = "".join(
        p.choices[0].text
        for p in served.client.completions.create(
            model="tiny:0.3", prompt="Once upon", temperature=0, stream=True, max_tokens=NEW
        )
    )
    assert text == expected["Once upon", 0.3]


def test_mixed_strengths_at_once_are_each_ones_own(
    served: Served, expected: dict[tuple[str, float], str]
) -> None:
    asked = [key for key in expected if not key[0].startswith("chat")] * 3

    def ask(key: tuple[str, float]) -> str:
        answer = complete(served, key[0], extra_body={"equipoise": {"strength": key[1]}})
        return str(answer.choices[0].text)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, asked)) == [expected[key] for key in asked]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "no JSON"),
        (b"[1]", 400, "JSON object"),
        ({"prompt": 3}, 400, "prompt must be"),
        ({"prompt": [99999]}, 400, "vocabulary has 384"),
        ({"prompt": ""}, 400, "prompt is empty"),
        ({"prompt": "x " * 300}, 400, "shorten the prompt"),
        ({"prompt": "x", "max_tokens": 0}, 400, "max_tokens must be"),
        ({"prompt": "x", "temperature": "hot"}, 400, "temperature must be"),
        ({"prompt": "x", "n": 2}, 400, "n is not supported"),
        ({"prompt": "x", "logprobs": 5}, 400, "logprobs is not supported"),
        ({"prompt": "x", "stream": "yes"}, 400, "stream is true or false"),
        ({"prompt": "x", "stop": ["a"] * 5}, 400, "stop must be"),
        ({"prompt": "x", "model": "other"}, 404, "it is 'tiny'"),
        ({"prompt": "x", "model": "tiny:much"}, 404, "append a strength"),
        ({"prompt": "x", "model": "tiny:1", "equipoise": {"strength": 1}}, 400, "choose one"),
        ({"prompt": "x", "equipoise": 0.5}, 400, "equipoise is an object"),
        ({"prompt": "x", "equipoise": {"strength": -1}}, 400, "from 0 to 100"),
        ({"prompt": "x", "equipoise": {"strength": True}}, 400, "from 0 to 100"),
        ({"prompt": "x", "equipoise": {"strength": 10**400}}, 400, "from 0 to 100"),
        ({"prompt": "x", "equipoise": {"strength": float("nan")}}, 400, "from 0 to 100"),
        ({"prompt": "x", "equipoise": {"intervention": ["dso"]}}, 400, "intervention is the name"),
        ({"prompt": "x", "max_completion_tokens": None, "max_tokens": 0}, 400, "max_tokens must be"),
        (
            {"prompt": "x", "equipoise": {"strengths": {"caa": 1}}},
            400,
            "no intervention 'caa' here: there is dso",
        ),
        ({"prompt": "y" * 30_000}, 413, "larger than 20000 bytes"),
    ],
)
def test_a_bad_request_is_refused_in_a_sentence(served: Served, body: Any, status: int, words: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = served.http.post("/v1/completions", content=data)
    assert response.status_code == status
    assert words in response.json()["error"]["message"]


def test_a_limit_of_null_is_none_given(served: Served) -> None:
    body = {"prompt": [40, 50, 60], "temperature": 0, "max_completion_tokens": None, "max_tokens": 3}
    answer = served.http.post("/v1/completions", json=body).json()
    assert answer["usage"]["completion_tokens"] <= 3
    longer = served.http.post("/v1/completions", json={**body, "max_tokens": None}).json()  # the twin
    assert longer["usage"]["completion_tokens"] > 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_that_dies_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: Engine) -> None:
        raise RuntimeError("whatever")

    one = Served(tiny("Llama"), {})
    monkeypatch.setattr(Engine, "_turn", die)
    try:
        for status in (500, 503):  # the one that was waiting, and the next
            response = one.http.post("/v1/completions", json={"prompt": "Once upon"})
            assert response.status_code == status
            assert "the engine has stopped" in response.json()["error"]["message"]
        assert one.http.get("/health").status_code == 503
    finally:
        one.close()


def test_chats_are_checked_too(served: Served) -> None:
    image = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    for messages, words in (
        ([], "at least one"),
        ([{"role": "robot", "content": "x"}], "role"),
        ([{"role": "user", "content": image}], "takes text only"),
        ([{"role": "user", "content": 3}], "must be text"),
    ):
        response = served.http.post("/v1/chat/completions", json={"messages": messages})
        assert response.status_code == 400 and words in response.json()["error"]["message"]


def test_a_client_that_goes_away_is_no_longer_served(served: Served) -> None:
    before = served.engine.counts["cancelled"]
    body = {"prompt": "Once upon", "max_tokens": 120, "temperature": 0, "stream": True}
    with served.http.stream("POST", "/v1/completions", json=body) as response:
        lines = response.iter_lines()
        next(lines)
    deadline = time.monotonic() + 60
    while served.engine.running or served.engine.waiting:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert complete(served, "Once upon").choices[0].text
    # It may have been finished before anyone noticed; either way nobody waits.
    assert served.engine.counts["cancelled"] in (before, before + 1)


def test_a_client_that_goes_away_before_its_whole_answer_frees_its_place(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Batch.step

    def slowly(self: Batch) -> None:
        time.sleep(0.05)
        step(self)

    monkeypatch.setattr(Batch, "step", slowly)
    before = served.engine.counts["cancelled"]
    host, port = served.url.removeprefix("http://").split(":")
    body = json.dumps({"prompt": [40, 50, 60], "max_tokens": 120, "temperature": 0, "stop": ["never said"]})
    with socket.create_connection((host, int(port)), timeout=10) as line:
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        line.sendall((head + body).encode())
        deadline = time.monotonic() + 60
        while not served.engine.running:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    while served.engine.running:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert served.engine.counts["cancelled"] == before + 1


def test_limits_of_time_and_number_have_a_status(
    served: Served, monkeypatch: pytest.MonkeyPatch, expected: dict[tuple[str, float], str]
) -> None:
    body = {"prompt": "Once upon", "max_tokens": 50, "temperature": 0}
    with monkeypatch.context() as limits:
        limits.setattr(served.engine, "patience", 0.0)
        response = served.http.post("/v1/completions", json=body)
        assert response.status_code == 504 and "within 0 seconds" in response.json()["error"]["message"]
        streamed = served.http.post("/v1/completions", json={**body, "stream": True})
        last = json.loads(streamed.text.strip().splitlines()[-1].removeprefix("data: "))
        assert "within 0 seconds" in last["error"]["message"]
    with monkeypatch.context() as limits:
        limits.setattr(served.engine, "most_waiting", 0)
        response = served.http.post("/v1/completions", json=body)
        assert response.status_code == 503 and "try again later" in response.json()["error"]["message"]
        with pytest.raises(openai.InternalServerError):
            complete(served, "Once upon")
    assert complete(served, "Once upon").choices[0].text == expected["Once upon", 1.0]


def test_a_client_that_breaks_off_in_the_middle_of_a_body_harms_nobody(
    served: Served, expected: dict[tuple[str, float], str]
) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    for said in (b'{"prompt": "Once', b""):
        with socket.create_connection((host, int(port)), timeout=10) as line:
            head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: 500\r\n\r\n"
            line.sendall(head.encode() + said)
    assert complete(served, "Once upon").choices[0].text == expected["Once upon", 1.0]
    assert served.http.get("/health").status_code == 200


def test_what_an_operator_looks_at(served: Served) -> None:
    assert served.http.get("/health").json() == {"status": "ok"}
    complete(served, "Once upon")
    text = served.http.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert int(values["equipoise_tokens_total"]) > 0 and values["equipoise_waiting"] == "0"
    page = served.http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert 'type="range"' in page.text and "https://" not in page.text  # nothing is fetched from elsewhere
    assert served.http.get("/v1/models").json()["data"][0]["equipoise"]["interventions"] == ["dso"]
    assert served.http.get("/nowhere").status_code == 404
