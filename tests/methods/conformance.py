"""What the conformance suite knows of each method: settings that make a fit short, and where it may act."""

from typing import Any

from equipoise.interventions import Intervention
from equipoise.methods import METHODS, Adapter, Mitigation, Prompting, Steering, Temperature
from equipoise.models import LoadedModel
from equipoise.tasks import Task
from equipoise.workflows.fit import fitter_of, parse

# A method that isn't named here is fitted with its defaults.
QUICK: dict[str, dict[str, str]] = {
    "dso": {
        "steps": "1",
        "items": "20",
        "unambiguous": "10",
        "passages": "16",
        "passage_tokens": "12",
        "precision": "model",
        "kl": "0.5",
        "kl_unambiguous": "5",
    },
    "caa": {"layer": "1", "multiplier": "0.5", "pairs": "20"},
    "mean_difference": {"layer": "1", "site": "heads", "strength": "0.5", "pairs": "20"},
    "iti": {"heads": "3", "alpha": "2", "pairs": "20", "validation_pairs": "20"},
    "leace": {"layer": "1", "strength": "1", "items": "40", "background": "300"},
    "mean_projection": {"layer": "all", "strength": "0.5", "items": "40", "background": "300"},
    "res_fair": {"lambda1": "0.5", "lambda2": "0.3", "layers": "2", "items": "40", "centre": "text"},
    "temperature": {"temperature": "1.7", "items": "20"},
    "lora": {"steps": "1", "batch": "8", "rank": "2", "learning_rate": "0.01"},
    "dpo": {"steps": "1", "batch": "8", "rank": "2", "learning_rate": "0.01", "reference": "base"},
    "lora_dpo": {"steps": "1", "batch": "8", "rank": "2", "learning_rate": "0.01"},
    "prompting": {"instruction": "The busy nurse and the mechanic are alike.", "items": "20"},
}
# The kinds of site that a method may edit with these settings, and its token scope; others may act anywhere.
ACTS: dict[str, tuple[set[str], str]] = {
    "dso": ({"norm"}, "all"),
    "caa": ({"out"}, "answer"),
    "mean_difference": ({"heads"}, "all"),
    "iti": ({"heads"}, "answer"),
    "leace": ({"out"}, "all"),
    "mean_projection": ({"out"}, "all"),
    "res_fair": ({"out"}, "all"),
    "random": ({"out"}, "answer"),
}


def fitted(
    loaded: LoadedModel, name: str, task: Task, **more: Any
) -> Intervention | Prompting | Temperature | Adapter:
    fit = fitter_of(name, task)
    found: Intervention | Prompting | Temperature | Adapter = fit(
        loaded, task, settings=parse(fit, QUICK.get(name, {})), **more
    )
    return found


def as_mitigation(found: Intervention | Prompting | Temperature | Adapter) -> Mitigation:
    return Steering(found) if isinstance(found, Intervention) else found


NAMES = tuple(METHODS)
