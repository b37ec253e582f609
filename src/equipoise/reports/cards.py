"""What was asked, what acted and what it cost, as pairs of names and values for the page's cards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .flat import flat
from .results import Results

Facts = list[tuple[str, str]]
_SITES = 4
# Keys of results.json that the report places elsewhere, and those that an audit's cards show.
PLACED = frozenset({"versions", "tasks", "comparison", "items", "mitigations", "cost", "side_effects"})
CARDED = frozenset({"data", "text", "sampling"})


def data_card(results: Results, task: str) -> Facts:
    """One task: what it asks, how many items, and which."""
    extra = results.extra
    about = _of(extra.get("tasks"), task)
    found = [("asks", str(about))] if about else []
    found += [(name, text) for name, text in flat(_of(extra.get("items"), task) or {})]
    found += [("hash", str(value))] if (value := _of(extra.get("data"), task)) else []
    return found


def text_card(results: Results) -> Facts:
    """What else was read and written."""
    extra = results.extra
    tasks = set(extra.get("tasks", {})) | {run.task for run in results.runs}
    found = [("plain text, for KL and perplexity", str(extra["text"]))] if extra.get("text") else []
    found += [("examples", str(extra["sampling"]))] if extra.get("sampling") else []
    others = extra.get("data")
    if isinstance(others, Mapping):
        found += [(f"hash, {name}", str(value)) for name, value in others.items() if name not in tasks]
    return found


def method_cards(results: Results) -> list[tuple[str, Facts]]:
    """Each mitigation: its method, settings, sites, size and origin."""
    entries = results.extra.get("mitigations")
    cards = []
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, Mapping):
            facts = {**entry}
            sites = facts.pop("sites", None)
            if isinstance(sites, list) and sites:
                more = f" and {len(sites) - _SITES} more" if len(sites) > _SITES else ""
                facts["acts at"] = ", ".join(map(str, sites[:_SITES])) + more
            name = str(facts.pop("name", "mitigation"))
            cards.append((name, [(key.replace("_", " "), text) for key, text in flat(facts)]))
    return cards


def cost_card(results: Results) -> Facts:
    """Tokens and time, where they were counted."""
    cost = results.extra.get("cost")
    if not isinstance(cost, Mapping):
        return []
    tokens, run = cost.get("tokens"), cost.get("this_run")
    found: Facts = []
    if isinstance(tokens, Mapping) and tokens.get("unique"):
        computed, unique = int(tokens["computed"]), int(tokens["unique"])
        found.append(("tokens computed", f"{computed:,}"))
        found.append(("tokens in unique prefixes", f"{unique:,} ({computed / unique:.2f} computed for each)"))
    if isinstance(run, Mapping):
        seconds = run.get("seconds")
        if isinstance(seconds, Mapping):
            found += [(f"time, {name}", f"{value:.1f} s") for name, value in seconds.items()]
        if run.get("kept"):
            found.append(("taken from earlier runs", f"{100 * run['kept']:.0f} % of the scores"))
    return found


def _of(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None
