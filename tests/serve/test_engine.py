"""The engine: what is answered together is what would be answered alone, whoever joins, leaves or fails meanwhile."""

import threading
import time
from typing import Any

import pytest
import torch
from interventions.samples import intervention
from tiny import tiny

from equipoise import InputError
from equipoise.interventions import attach
from equipoise.models import LoadedModel
from equipoise.scoring.generation import generate_ids
from equipoise.serve import Busy, Down, Engine, batch
from equipoise.serve.batch import Event, Row, Sampling
from equipoise.serve.text import Text

LONG = 16


class Client:
    """Collects one answer."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.done = threading.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if event.finish is not None:
            self.done.set()

    @property
    def text(self) -> str:
        assert self.done.wait(120)
        return "".join(event.text for event in self.events)

    @property
    def end(self) -> Event:
        assert self.done.wait(120)
        return self.events[-1]


def alone(loaded: LoadedModel, prompt: list[int], parts: list[Any], strengths: tuple[float, ...]) -> str:
    with attach(loaded, parts, [list(strengths)]):
        (ids,) = generate_ids(loaded, [prompt], max_new_tokens=LONG, temperature=0.0, seed=0)
    return str(loaded.tokenizer.decode(ids, skip_special_tokens=True))


@pytest.mark.parametrize("architecture", ["Llama", "GPT2", "BLOOM", "Gemma3"])
def test_answers_written_together_are_those_given_alone(architecture: str) -> None:
    loaded = tiny(architecture)
    parts = [intervention(loaded), intervention(loaded, ("mlp",), seed=1, scope="answer")]
    generator = torch.Generator().manual_seed(0)
    asked = []
    for index in range(10):
        length = int(torch.randint(2, 12, (1,), generator=generator))
        prompt = torch.randint(10, 300, (length,), generator=generator).tolist()
        asked.append((prompt, ((index % 4) / 4, (index % 3) / 2)))
    wanted = [alone(loaded, prompt, parts, strengths) for prompt, strengths in asked]
    engine = Engine(loaded, {"a": parts[0], "b": parts[1]}, most_rows=4, most_tokens=64)
    engine.start()
    try:
        clients = [Client() for _ in asked]
        for client, (prompt, strengths) in zip(clients, asked, strict=True):
            engine.submit(prompt, strengths, client, most=LONG)
            time.sleep(0.003)  # so that they join while others are being written
        assert [client.text for client in clients] == wanted
        assert len(set(wanted)) > 5  # the twin: the answers differ, so a mix-up would show
    finally:
        engine.stop()
    assert not engine.alive


def test_a_strength_that_reached_the_wrong_row_would_show() -> None:
    loaded = tiny("Llama")
    part = intervention(loaded)
    prompt = [40, 50, 60]
    texts = {strength: alone(loaded, prompt, [part], (strength,)) for strength in (0.0, 0.5, 1.0)}
    assert len(set(texts.values())) == 3
    engine = Engine(loaded, {"a": part}, most_rows=3, most_tokens=64)
    clients = {strength: Client() for strength in texts}
    for strength, client in clients.items():
        engine.submit(prompt, [strength], client, most=LONG)
    engine.start()
    try:
        assert {strength: client.text for strength, client in clients.items()} == texts
    finally:
        engine.stop()


@pytest.mark.parametrize("leak", ["strengths", "cache"])
def test_a_leak_between_answers_would_be_caught(leak: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("Llama")
    part = intervention(loaded)
    asked = [([40, 50, 60], 1.0, 6), ([70, 71], 0.0, LONG), ([80, 81, 82, 83], 0.5, LONG)]
    turn, keep = batch.Dial.turn, batch.Batch.keep

    def first_for_all(self: Any, rows: Any, starts: Any) -> None:
        turn(self, [rows[0]] * len(rows), starts)

    def anothers(self: Any, rows: Any) -> None:
        keep(self, rows)
        if len(self.rows) == 2:
            for layer in self._cache.layers:
                layer.keys, layer.values = layer.keys.flip(0), layer.values.flip(0)

    if leak == "strengths":
        monkeypatch.setattr(batch.Dial, "turn", first_for_all)
    else:
        monkeypatch.setattr(batch.Batch, "keep", anothers)
    engine = Engine(loaded, {"a": part}, most_rows=3, most_tokens=64)
    clients = [Client() for _ in asked]
    for client, (prompt, strength, most) in zip(clients, asked, strict=True):
        engine.submit(prompt, [strength], client, most=most)
    engine.start()
    try:
        found = [client.text for client in clients]
    finally:
        engine.stop()
    wanted = [alone(loaded, prompt, [part], (strength,)) for prompt, strength, _ in asked[1:]]
    assert found[1:] != wanted


def test_stopping_ends_every_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    step = batch.Batch.step

    def slowly(self: batch.Batch) -> None:
        time.sleep(0.05)
        step(self)

    monkeypatch.setattr(batch.Batch, "step", slowly)
    engine = Engine(tiny("Llama"), {}, most_rows=1, most_tokens=250)
    running, waiting = Client(), Client()
    engine.submit([40, 50, 60], [], running, most=240, stops=["never said"])
    engine.submit([70, 71], [], waiting, most=240, stops=["never said"])
    engine.start()
    while not running.events:
        time.sleep(0.001)
    engine.stop()
    for one in (running, waiting):
        assert one.end.finish == "error" and "stopping" in str(one.end.error)
    assert not engine.alive and engine.waiting == 0


def test_who_leaves_makes_room_and_disturbs_nobody() -> None:
    loaded = tiny("Llama")
    part = intervention(loaded)
    engine = Engine(loaded, {"a": part}, most_rows=2, most_tokens=200)
    stay, leave, later = Client(), Client(), Client()
    engine.submit([40, 50, 60], [0.5], stay, most=LONG)
    gone = engine.submit([70, 71], [1.0], leave, most=190)
    engine.submit([80, 81, 82, 83], [0.0], later, most=LONG)
    gone.cancelled = True
    wanted = [alone(loaded, [40, 50, 60], [part], (0.5,)), alone(loaded, [80, 81, 82, 83], [part], (0.0,))]
    engine.start()
    try:
        assert [stay.text, later.text] == wanted
    finally:
        engine.stop()
    assert not leave.done.is_set() and engine.counts["cancelled"] == 1


def test_limits_are_said() -> None:
    loaded = tiny("Llama")
    engine = Engine(loaded, {}, most_rows=2, most_waiting=2, most_tokens=32, patience=0.0)
    with pytest.raises(InputError, match="empty"):
        engine.submit([], [], Client())
    with pytest.raises(InputError, match="30 tokens and 3 may follow, more than this server's 32"):
        engine.submit([40] * 30, [], Client(), most=3)
    late = Client()
    engine.submit([40], [], late, most=3)
    engine.submit([40], [], Client(), most=3)
    with pytest.raises(Busy, match="2 requests are waiting"):
        engine.submit([40], [], Client(), most=3)
    engine.start()
    try:
        assert late.end.finish == "error" and "within 0 seconds" in str(late.end.error)
    finally:
        engine.stop()


def test_a_pass_that_fails_ends_its_answers_and_nothing_else() -> None:
    loaded = tiny("Llama")
    engine = Engine(loaded, {"a": intervention(loaded)}, most_tokens=64)
    fine = loaded.model.model.forward
    broken, after = Client(), Client()

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("out of memory")

    loaded.model.model.forward = fail
    engine.submit([40, 50], [0.5], broken, most=LONG)
    engine.start()
    try:
        assert broken.end.error == "the model failed (RuntimeError)"
        loaded.model.model.forward = fine
        engine.submit([40, 50], [0.5], after, most=LONG)
        assert after.end.error is None and after.text
    finally:
        engine.stop()


@pytest.mark.parametrize("plain", [True, False])
def test_a_token_that_cannot_be_chosen_ends_its_row_alone(
    plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = Row.choose

    def fail(self: Row, logits: torch.Tensor) -> int:
        return choose(self, logits * float("nan") if self.sampling.seed == 13 and self.new[1:] else logits)

    monkeypatch.setattr(Row, "choose", fail)
    monkeypatch.setattr(batch, "_plain", lambda cache: plain)  # other caches compute on what has left
    loaded = tiny("Llama")
    part = intervention(loaded)
    wanted = alone(loaded, [40, 50, 60], [part], (0.5,))
    engine = Engine(loaded, {"a": part}, most_tokens=64)
    fine, broken = Client(), Client()
    engine.submit([40, 50, 60], [0.5], fine, most=LONG)
    engine.submit([70, 71], [0.0], broken, most=LONG, sampling=Sampling(1.0, seed=13))
    engine.start()
    try:
        assert broken.end.error == "no token can be chosen (RuntimeError)"
        assert fine.text == wanted and fine.end.error is None
    finally:
        engine.stop()


def test_tokens_beyond_the_embedding_are_refused_before_they_reach_a_pass() -> None:
    loaded = tiny("Llama")
    loaded.model.resize_token_embeddings(300)
    engine = Engine(loaded, {}, most_tokens=64)
    with pytest.raises(InputError, match=r"prompt 0 has the token 350, but the embedding of .* has 300 rows"):
        engine.submit([40, 350], [], Client(), most=LONG)
    assert engine.waiting == 0
    engine.submit([40, 299], [], Client(), most=LONG)


def test_what_cannot_be_attached_is_said_at_the_start() -> None:
    loaded = tiny("Llama")
    engine = Engine(loaded, {"a": intervention(loaded), "b": intervention(loaded)})
    with pytest.raises(InputError, match="already attached"):
        engine.start()
    assert not engine.alive
    attach(loaded, intervention(loaded)).detach()  # nothing has been left behind


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_that_has_stopped_takes_no_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: Engine) -> None:
        raise RuntimeError("whatever")

    loaded = tiny("Llama")
    engine = Engine(loaded, {"a": intervention(loaded)}, most_tokens=64)
    with monkeypatch.context() as broken:
        broken.setattr(Engine, "_turn", die)
        engine.submit([40], [0.5], Client(), most=2)
        engine.start()
        assert engine._thread is not None
        engine._thread.join(60)
        with pytest.raises(Down, match="has stopped"):
            engine.submit([40], [0.5], Client(), most=2)
    engine.start()  # the twin: once it works again, it answers
    client = Client()
    engine.submit([40], [0.5], client, most=2)
    assert client.end.error is None
    engine.stop()
    with pytest.raises(Down, match="has stopped"):
        engine.submit([40], [0.5], Client(), most=2)


def test_seeds_repeat_and_nucleus_narrows() -> None:
    loaded = tiny("Llama")
    engine = Engine(loaded, {}, most_tokens=64)
    engine.start()
    try:

        def ask(**sampling: Any) -> str:
            client = Client()
            engine.submit([40, 50], [], client, sampling=Sampling(**sampling), most=LONG)
            return client.text

        assert ask(temperature=1.0, seed=3) == ask(temperature=1.0, seed=3) != ask(temperature=1.0, seed=4)
        assert ask(temperature=5.0, top_p=1e-6, seed=1) == ask(temperature=0.0)
        # A nucleus of nothing still has the most probable token, and what is that cold is greedy.
        assert ask(temperature=5.0, top_p=0.0, seed=1) == ask(temperature=0.0)
        assert ask(temperature=1e-39, seed=1) == ask(temperature=0.0)
    finally:
        engine.stop()


def test_stopping_ends_all_and_detaches() -> None:
    loaded = tiny("Llama")
    before = loaded.model(torch.tensor([[40, 50]])).logits
    engine = Engine(loaded, {"a": intervention(loaded)}, most_tokens=250)
    client = Client()
    engine.submit([40, 50], [1.0], client, most=240)
    engine.start()
    engine.stop()
    assert client.end.finish is not None
    assert torch.equal(loaded.model(torch.tensor([[40, 50]])).logits, before)


def test_text_never_shows_half_a_character_or_part_of_a_stop() -> None:
    tokenizer = tiny("Llama").tokenizer
    ids = tokenizer("naïve café ☕ END of it", add_special_tokens=False).input_ids
    text = Text(tokenizer)
    pieces = [text.push(token) for token in ids]
    assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) + text.finish() == "naïve café ☕ END of it"
    stopping = Text(tokenizer, ["END", "nothing"])
    pieces = []
    for token in ids:
        pieces.append(stopping.push(token))
        if stopping.stopped:
            break
    assert "".join(pieces) + stopping.finish() == "naïve café ☕ "
    held = Text(tokenizer, ["it is"])
    assert "".join(held.push(token) for token in ids) == "naïve café ☕ END of "
    assert held.finish() == "it" and not held.stopped
