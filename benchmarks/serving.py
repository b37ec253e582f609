"""What the server does under load: answers, throughput and memory, with a strength for every request.

The server runs in this process, on a free port; clients are threads that speak HTTP to it. Three parts:

- answers: prompts × strengths, asked by 16 clients at once, against what the library says to each alone. Where two
  answers part, the gap of the two best logits there says whether rounding decided (a tie).
- throughput: tokens a second of 16 clients at mixed strengths, of 16 at one strength, and of one client, in turns.
- memory: resident memory of the process while 1,000 requests are answered, every 100 of them.

python benchmarks/serving.py [--model MODEL] [--rounds N] [--requests N] [--check]
"""

import argparse
import itertools
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from timing import spread, write

from equipoise.interventions import AffineEdit, Intervention, attach
from equipoise.models import LoadedModel, load
from equipoise.scoring import generate_ids, prompt_ids
from equipoise.serve import Engine, make_app

CLIENTS, NEW = 16, 32
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
PROMPTS = (
    "The nurse said that",
    "My uncle is the mechanic, and",
    "Once upon a time there was a developer who",
    "The doctor told the cleaner that",
    "The teacher wrote to the parents because",
    "A good engineer is someone who",
)
_TIE = 1e-3  # of logits of about 20, in float32

Asked = tuple[str, float]


def every_norm(loaded: LoadedModel) -> Intervention:
    """A small random scale and shift at every norm: DSO's shape without its zeros."""
    draw = torch.Generator().manual_seed(0)
    norms = loaded.anatomy.norms
    return Intervention(
        {n.site: AffineEdit(*(0.05 * torch.randn(2, n.width, generator=draw))) for n in norms}
    )


@contextmanager
def serving(loaded: LoadedModel, intervention: Intervention) -> Iterator[str]:
    """The address of a server that runs until the block is left."""
    import uvicorn

    engine = Engine(loaded, {"edit": intervention}, most_rows=CLIENTS, most_waiting=4 * CLIENTS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = make_app(engine, name="model")
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}/v1/completions"
    finally:
        server.should_exit = True
        thread.join()


def ask(address: str, asked: Asked, new: int) -> tuple[str, int]:
    """The answer's text, and how many tokens it has."""
    body = {"prompt": asked[0], "temperature": 0, "max_tokens": new, "equipoise": {"strength": asked[1]}}
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request) as response:
        content = json.load(response)
    return str(content["choices"][0]["text"]), int(content["usage"]["completion_tokens"])


def answers(address: str, intervention: Intervention, alone: LoadedModel) -> dict[str, int]:
    """How many answers of 16 clients at once are those given alone; the rest are ties or wrong."""
    asked = list(itertools.product(PROMPTS, STRENGTHS))
    with ThreadPoolExecutor(CLIENTS) as pool:
        found = [text for text, _ in pool.map(lambda one: ask(address, one, NEW), asked)]
    same = ties = 0
    told = set()
    for (prompt, strength), text in zip(asked, found, strict=True):
        ids = prompt_ids(alone, prompt)
        with attach(alone, intervention, strength), torch.inference_mode():
            (own,) = generate_ids(alone, [ids], max_new_tokens=NEW, temperature=0.0, seed=0)
            told.add((prompt, tuple(own)))
            if text == alone.tokenizer.decode(own, skip_special_tokens=True):
                same += 1
                continue
            parts = [alone.tokenizer.decode(own[: n + 1], skip_special_tokens=True) for n in range(len(own))]
            place = next((n for n, part in enumerate(parts) if not text.startswith(part)), len(own) - 1)
            logits: Any = alone.model(torch.tensor([[*ids, *own[:place]]])).logits[0, -1]
        best = logits.topk(2).values
        ties += float(best[0] - best[1]) < _TIE
    return {"asked": len(asked), "same": same, "ties": ties, "different_answers": len(told)}


def throughput(address: str, rounds: int) -> dict[str, Any]:
    """Tokens a second, in turns."""
    mixed = list(itertools.islice(itertools.cycle(itertools.product(PROMPTS, STRENGTHS)), 2 * CLIENTS))
    ways: dict[str, tuple[int, Sequence[Asked]]] = {
        "16 clients, mixed strengths": (CLIENTS, mixed),
        "16 clients, one strength": (CLIENTS, [(prompt, 1.0) for prompt, _ in mixed]),
        "1 client": (1, mixed[:4]),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (clients, asked) in ways.items():
            start = time.perf_counter()
            with ThreadPoolExecutor(clients) as pool:
                tokens = sum(new for _, new in pool.map(lambda one: ask(address, one, NEW), asked))
            speeds[name].append(tokens / (time.perf_counter() - start))
    ratio = [a / b for a, b in zip(speeds["16 clients, mixed strengths"], speeds["1 client"], strict=True)]
    return {
        "rounds": rounds,
        "tokens_per_second": {name: spread(found) for name, found in speeds.items()},
        "mixed / 1 client": spread(ratio),
    }


def memory(address: str, requests: int) -> dict[str, Any]:
    """Resident MiB after every tenth of the requests; 4 tokens each, prompts of many lengths."""
    step = max(1, requests // 10)
    found = [_resident()]
    for start in range(0, requests, step):
        asked = [
            (" ".join(PROMPTS[: 1 + number % 6]), STRENGTHS[number % 5])
            for number in range(start, min(start + step, requests))
        ]
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda one: ask(address, one, 4), asked))
        found.append(_resident())
    return {"requests": requests, "resident_mib": found, "growth_after_first_tenth_mib": found[-1] - found[1]}


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * 4096 / 2**20, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description="The server under load.")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the throughput's three ways")
    parser.add_argument("--requests", type=int, default=1000, help="requests while memory is watched")
    parser.add_argument("--check", action="store_true", help="compare the answers only; time nothing")
    arguments = parser.parse_args()
    loaded, alone = load(arguments.model), load(arguments.model)
    intervention = every_norm(loaded)
    figures: dict[str, Any] = {"model": arguments.model, "clients": CLIENTS, "new_tokens": NEW}
    with serving(loaded, intervention) as address:
        figures["answers"] = found = answers(address, intervention, alone)
        print(f"answers: {found}", flush=True)
        if arguments.check:
            return
        figures["throughput"] = throughput(address, arguments.rounds)
        print(json.dumps(figures["throughput"], indent=1), flush=True)
        figures["memory"] = memory(address, arguments.requests)
        print(json.dumps(figures["memory"]), flush=True)
    write("serving", figures)


if __name__ == "__main__":
    main()
