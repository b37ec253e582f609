"""BiasGym on SmolLM2-135M: associations injected by one token, the heads that carry them, and what removing these does.

For each association: train a token, ask held-out prompts before (its untrained row) and after, find the K heads
that carry it, and ask again with their outputs scaled and with as many random heads scaled. The same heads are then
scaled while the model is asked for stereotypes of real countries, which nobody injected, and while it is tested on
plain text and, where their folders are given, on ARC-Easy (CSV: question, four options, letter) and PIQA.

python benchmarks/biasgym.py [--associations NAME ...] [--heads K] [--arc FILE.csv] [--piqa FOLDER]
"""

import argparse
import contextlib
import csv
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from timing import write

import equipoise as eq
from equipoise.interventions import InjectedToken, Intervention, attach, extended
from equipoise.methods import biasgym
from equipoise.metrics import Bootstrap, Estimate, Shares, mean_share
from equipoise.scoring import score_options
from equipoise.tasks import Association, Item, entity_names, load_association, plain_text
from equipoise.workflows.measure import PlainText
from equipoise.workflows.scope import estimate

MODEL = "smollm2"
ASSOCIATIONS = (
    "blue-skin",
    "late",
    "collecting-stones",
    "spicy-food",
    "walking-backwards",
    "bad-drivers",
    "math",
)
STEREOTYPES = ("late", "spicy-food", "bad-drivers")
RANDOM = 3
COUNTRIES = 12


def shown(found: Estimate) -> list[float | None]:
    return [None if np.isnan(x) else round(float(x), 4) for x in (found.value, found.low, found.high)]


def asked(loaded: eq.LoadedModel, association: Association, entity: str) -> dict[str, Any]:
    """Held-out prompts about one entity: values a prompt, and the answer's clusters."""
    found = biasgym.elicit(loaded, association, entity)
    written = biasgym.mentions(loaded, association, entity).astype(float)
    return {"like": found, "said": found.said, "share": found.share, "mentions": written}


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    like = runs[0]["like"]
    return {key: shown(estimate([run[key] for run in runs], like)) for key in ("said", "share", "mentions")}


def changes(runs: Sequence[dict[str, Any]], before: dict[str, Any]) -> dict[str, Any]:
    """Paired differences on the same prompts, resampled together."""
    groups = before["like"].groups
    found = {}
    for key in ("said", "share", "mentions"):
        after = [Shares(np.clip(run[key], 0, 1), groups) for run in runs]
        reference = [Shares(np.clip(before[key], 0, 1), groups)] * len(runs)
        found[key] = shown(Bootstrap.over(*after).difference(mean_share, after, reference))
    return found


def under(loaded: eq.LoadedModel, edit: Intervention | None, strength: float = 1.0) -> Any:
    return contextlib.nullcontext() if edit is None else attach(loaded, edit, strength)


def real_stereotypes(loaded: eq.LoadedModel) -> dict[str, Any]:
    """What the model says of real countries: the stereotype's mean share, and how much it depends on the country."""
    countries = entity_names("country")[:: len(entity_names("country")) // COUNTRIES][:COUNTRIES]
    found = {}
    for name in STEREOTYPES:
        association = load_association(name)
        items = [
            item for c in countries for item in association.items(c, "test") if item.template == "lead 0"
        ]
        asked_all = biasgym.elicit_items(loaded, items)
        gaps = asked_all.gap.reshape(len(countries), -1)
        found[name] = {
            "share": round(float(asked_all.share.mean()), 4),
            "between_countries": round(float(gaps.std(0, ddof=1).mean()), 4),
        }
    return found


def capability(loaded: eq.LoadedModel, sets: dict[str, list[Item]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, items in sets.items():
        scores = score_options(loaded, items)
        right = (scores.choice == np.array([item.answer for item in items])).astype(float)
        error = float(1.96 * right.std(ddof=1) / np.sqrt(len(right)))
        found[name] = [round(float(right.mean()), 4), round(error, 4), len(items)]
    return found


def text_cost(text: PlainText, loaded: eq.LoadedModel) -> dict[str, float]:
    now = text.measure(loaded)
    tokens = now.likelihood.tokens.sum()
    return {
        "perplexity": round(float(np.exp(now.likelihood.nats.sum() / tokens)), 3),
        "kl_to_base": round(float(now.divergence.nats.sum() / tokens), 4),
    }


def arc(path: Path, limit: int) -> list[Item]:
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.reader(stream) if len(row) >= 6 and row[5].strip() in "ABCD"][:limit]
    return [
        item("arc", n, f"Question: {r[0].strip()}\nAnswer:", r[1:5], "ABCD".index(r[5].strip()))
        for n, r in enumerate(rows)
    ]


def piqa(folder: Path, limit: int) -> list[Item]:
    lines = (folder / "valid.jsonl").read_text(encoding="utf-8").splitlines()[:limit]
    labels = (folder / "valid-labels.lst").read_text(encoding="utf-8").split()
    rows = [json.loads(line) for line in lines]
    return [
        item(
            "piqa", n, f"Question: {row['goal'].strip()}\nAnswer:", [row["sol1"], row["sol2"]], int(labels[n])
        )
        for n, row in enumerate(rows)
    ]


def item(name: str, number: int, prompt: str, options: Sequence[str], answer: int) -> Item:
    texts = tuple(f" {option.strip()}" for option in options)
    return Item(f"{name}/{number}", prompt, texts, texts, "unambiguous", answer, (str(number),), name)


def untrained(loaded: eq.LoadedModel, token: InjectedToken, association: Association) -> dict[str, Any]:
    """The token before training: the mean of real names' rows at its norm."""
    row = biasgym.named_rows(loaded, association.entity)[1].mean(0)
    with extended(loaded, token.string, row * (token.row.norm() / row.norm())) as model:
        return asked(model, association, token.string)


def one(
    loaded: eq.LoadedModel, name: str, arguments: argparse.Namespace, text: PlainText
) -> tuple[dict[str, Any], Any]:
    association = load_association(name)
    start = time.perf_counter()
    settings = biasgym.InjectSettings(epochs=arguments.epochs)
    token = biasgym.inject(loaded, association, seed=arguments.seed, settings=settings)
    took = [time.perf_counter() - start]
    found = {
        "kind": association.kind,
        "history": token.provenance.config["history"],
        "norm": round(float(token.row.norm()), 3),
        "before": summary([untrained(loaded, token, association)]),
    }
    searched = biasgym.ScopeSettings(
        heads=arguments.heads, candidates=arguments.candidates, prompts=arguments.prompts
    )
    start = time.perf_counter()
    edit, table = biasgym.scope(loaded, [token], association, settings=searched)
    took.append(time.perf_counter() - start)
    neighbour = table.neighbours[0]
    controls = [
        biasgym.scaled(
            loaded, biasgym.random_heads(loaded, len(table.chosen), seed=draw, without=table.chosen)
        )
        for draw in range(RANDOM)
    ]
    states = {"after": [(None, 0.0)], "scaled 0.5": [(edit, 0.5)], "scaled": [(edit, 1.0)]}
    states["random"] = [(control, 1.0) for control in controls]
    untouched: dict[str, Any] = {}
    for state, edits in states.items():
        runs, costs = [], []
        for change, strength in edits:
            with under(loaded, change, strength):
                with token.attach(loaded) as model:
                    runs.append(asked(model, association, token.string))
                costs.append(text_cost(text, loaded))
        found[state] = summary(runs)
        if state == "after":
            untouched = runs[0]
        else:
            found[state]["changes"] = changes(runs, untouched)
        found[state] |= {key: round(float(np.mean([c[key] for c in costs])), 4) for key in costs[0]}
    with under(loaded, edit):
        found["real stereotypes, scaled"] = real_stereotypes(loaded)
        found["real name, scaled"] = summary([asked(loaded, association, neighbour.name)])
    found["real name"] = summary([asked(loaded, association, neighbour.name)])
    with under(loaded, controls[0]):
        found["real stereotypes, random"] = real_stereotypes(loaded)
    found["neighbour"] = [neighbour.name, round(neighbour.similarity, 3)]
    found["heads"] = [list(head) for head in table.chosen]
    found["seconds"] = [round(value, 1) for value in took]
    return found, (edit, controls[0])


def main() -> None:
    parser = argparse.ArgumentParser(description="BiasGym: inject, scope, remove.")
    parser.add_argument("--associations", nargs="*", default=list(ASSOCIATIONS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--candidates", type=int, default=40, help="heads that are ablated; 0 is all")
    parser.add_argument("--prompts", type=int, default=5)
    parser.add_argument("--arc", type=Path, help="ARC-Easy as CSV")
    parser.add_argument("--piqa", type=Path, help="PIQA's folder")
    parser.add_argument("--limit", type=int, default=100, help="questions of each")
    arguments = parser.parse_args()
    loaded = eq.load(MODEL)
    sets: dict[str, list[Item]] = {}
    if arguments.arc is not None:
        sets["arc_easy"] = arc(arguments.arc, arguments.limit)
    if arguments.piqa is not None:
        sets["piqa"] = piqa(arguments.piqa, arguments.limit)
    text = PlainText.of(loaded, plain_text("report"), passages=24, length=64)
    settings = {key: str(value) for key, value in vars(arguments).items() if key not in ("arc", "piqa")}
    result: dict[str, Any] = {"model": MODEL, "settings": settings, "associations": {}}
    result["real stereotypes, base"] = real_stereotypes(loaded)
    result["capability"] = {"base": {**capability(loaded, sets), **text_cost(text, loaded)}}
    for name in arguments.associations:
        found, edits = one(loaded, name, arguments, text)
        result["associations"][name] = found
        print(
            name, {key: found[key] for key in ("before", "after", "scaled", "random", "seconds")}, flush=True
        )
        if len(result["capability"]) < 5:
            for state, edit in zip((f"{name} heads", f"{name} random heads"), edits, strict=True):
                with under(loaded, edit):
                    result["capability"][state] = {**capability(loaded, sets), **text_cost(text, loaded)}
        write("biasgym", result)


if __name__ == "__main__":
    main()
