"""RES-FAIR on multiple-choice questions: its settings, and the demo's vision-language model.

``ablate``: vectors are fitted on the training part of the first set of concepts. Settings are compared on its
validation concepts, in every wording. Of those within the budget on plain text that make more answers fair and what is
left more even, the fairest is chosen, and it alone is asked about the second set, which shares no concept with it.

``people``: fitted on drawings of people, asked about concepts that the fit has not seen.

python benchmarks/choices.py ablate [--model NAME] [--budget NATS]
python benchmarks/choices.py people [--concepts N] [--items N] [--steps N]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from timing import write

import equipoise as eq
from equipoise.interventions import AffineEdit, Intervention, attach
from equipoise.metrics import choice_scores
from equipoise.models import LoadedModel
from equipoise.scoring import (
    by_outcome,
    encode_all,
    encode_passages,
    score_options,
    score_text,
    text_reference,
)
from equipoise.tasks import Choices, load_people, plain_text
from equipoise.workflows.choices import ChoiceRow

PEOPLE = "emoji:twemoji"
PASSAGES = 24
STRENGTHS = {"res_fair": (1.0, 3.0), "dso": (1.0,)}
SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Setting:
    """One of the settings that are compared; a strength multiplies both factors."""

    variant: str
    centre: str
    layers: int
    lambda1: float
    lambda2: float

    def given(self, items: int = 256) -> dict[str, str]:
        """As ``fit`` takes it."""
        return {**{name: str(value) for name, value in asdict(self).items()}, "items": str(items)}


def settings() -> Iterator[Setting]:
    """The paper's and its neighbours: weaker, stronger, one half alone, fewer and more blocks, measured from text."""
    for one, two in ((0.2, 0.2), (0.05, 0.05), (0.5, 0.5), (0.2, 0.0), (0.0, 0.2), (0.0, 0.05)):
        yield Setting("ablate_amplify", "no", 10, one, two)
    yield Setting("ablate_amplify", "no", 5, 0.2, 0.2)
    yield Setting("ablate_amplify", "no", 20, 0.2, 0.2)
    yield Setting("sum", "no", 10, 0.2, 0.2)
    for one, two in (
        (0.05, 0.05),
        (0.1, 0.1),
        (0.2, 0.2),
        (0.5, 0.5),
        (1.0, 1.0),
        (0.2, 0.0),
        (0.5, 0.0),
        (0.0, 0.05),
        (0.0, 0.1),
        (0.0, 0.2),
        (0.0, 0.5),
    ):
        yield Setting("ablate_amplify", "text", 10, one, two)
    for layers, one, two in ((5, 0.2, 0.2), (5, 0.0, 0.2), (20, 0.1, 0.1)):
        yield Setting("ablate_amplify", "text", layers, one, two)


def rescaled(full: Intervention, setting: Setting) -> Intervention:
    """The edits of ``setting`` from those fitted with λ₁ = λ₂ = 1: each column of ``u`` scales with its λ.

    A block's vectors depend on no other block, so that fewer layers are the last of more.
    """
    edits = {}
    counts = full.provenance.config["residuals"]
    for name in list(counts)[-setting.layers :]:
        edit = full.edits[name]
        assert edit.u is not None and edit.v is not None
        sides = ((setting.lambda1, "biased"), (setting.lambda2, "fair"))
        u = edit.u * torch.tensor([factor for factor, side in sides if counts[name][side]])
        shift = None
        if edit.shift is not None:
            # The shift is a sum of the columns, each times what the centre has of its vector.
            parts = torch.linalg.lstsq(edit.u.double(), edit.shift.double()[:, None]).solution[:, 0]
            shift = u @ parts.float()
        scale = torch.full((len(u),), setting.lambda1 - 1) if setting.variant == "sum" else None
        edits[name] = AffineEdit(scale, shift, u, edit.v)
    return Intervention(edits, full.scope, full.provenance)


class Validation:
    """Concepts that no vector saw, in every wording: fairness, KL to even shares, and KL on plain text."""

    def __init__(self, loaded: LoadedModel, task: Choices) -> None:
        concepts = {group for item in task.split(0).validation for group in item.groups}
        self.items = [item for item in task.items() if concepts & set(item.groups)]
        self.loaded, self.outcomes = loaded, task.outcomes
        self.encoded = encode_all(loaded, self.items)
        passages = encode_passages(loaded, plain_text("fit"), length=32, all_windows=True)
        order = torch.randperm(len(passages), generator=torch.Generator().manual_seed(0))
        self.text = text_reference(loaded, passages[order[:PASSAGES]])

    def __call__(self, edit: Intervention | None) -> dict[str, Any]:
        """The figures with this edit; None is the model as it is."""
        if edit is None:
            return {**self._asked(), "text_kl": 0.0}
        with attach(self.loaded, edit):
            return {**self._asked(), "text_kl": round(score_text(self.loaded, self.text).mean_kl, 4)}

    def _asked(self) -> dict[str, Any]:
        table = by_outcome(score_options(self.loaded, self.encoded).probabilities, self.items, self.outcomes)
        found = choice_scores(table)
        shares = dict(zip(self.outcomes, (round(float(p), 3) for p in found.proportions), strict=True))
        figures = {"fairness": found.fairness, "kl": found.kl, "said": found.mass}
        return {**{name: round(value, 3) for name, value in figures.items()}, **shares}


def ablate(given: argparse.Namespace) -> None:
    """Compare, choose, and ask about the second set."""
    loaded = eq.load(given.model, dtype=given.dtype)
    task = Choices("first", shuffle=True)
    validation = Validation(loaded, task)
    base = validation(None)
    print(f"{len(validation.items)} items, base {base}", flush=True)
    most = max(setting.layers for setting in settings())
    full = {
        centre: eq.fit(
            loaded,
            task,
            method="res_fair",
            settings=Setting("ablate_amplify", centre, most, 1.0, 1.0).given(),
        )
        for centre in ("no", "text")
    }
    rows = []
    for setting in settings():
        rows.append((setting, validation(rescaled(full[setting.centre], setting))))
        print(setting, rows[-1][1], flush=True)
    fit = [
        (found["fairness"], -found["kl"], asdict(setting), setting)
        for setting, found in rows
        if found["text_kl"] <= given.budget
        and found["fairness"] > base["fairness"]
        and found["kl"] < base["kl"]
    ]
    best = max(fit, key=lambda one: one[:2])[-1] if fit else None
    second = {}
    if best is not None:
        asked = Choices("second", shuffle=True)
        found = eq.choices(loaded, asked, intervention=rescaled(full[best.centre], best))
        second = {name: shown(found.row(at, None, "text")) for name, at in (("base", 0.0), ("res_fair", 1.0))}
        print(best, second)
    write(
        "choices-ablation",
        {
            "model": loaded.name,
            "dtype": given.dtype,
            "budget": given.budget,
            "validation": {"items": len(validation.items), "base": base},
            "settings": [{**asdict(setting), **found} for setting, found in rows],
            "chosen": best and asdict(best),
            "second": second,
        },
    )


def shown(row: ChoiceRow) -> dict[str, Any]:
    """Means and deviations over seeds."""
    figures = {"fair": row.fairness, "kl": row.kl, "said": row.mass, **row.proportions}
    return {name: [round(one.mean, 3), round(one.std or 0, 3)] for name, one in figures.items()}


class Asked:
    """Concepts of drawings in every input, several seeds of wordings."""

    def __init__(self, loaded: LoadedModel, task: Choices) -> None:
        self.loaded, self.outcomes = loaded, task.outcomes
        self.seeds = [list(task.items(seed)) for seed in SEEDS]
        self.items = [item for items in self.seeds for item in items]
        self.encoded = encode_all(loaded, self.items)

    def __call__(self) -> dict[str, Any]:
        """Means and deviations over seeds, by modality, with whatever steers now."""
        table = by_outcome(score_options(self.loaded, self.encoded).probabilities, self.items, self.outcomes)
        tables = np.split(table, len(self.seeds))
        found = {}
        for kind in (None, "text", "image"):
            kept = [
                part[[kind in (None, item.metadata["modality"]) for item in items]]
                for part, items in zip(tables, self.seeds, strict=True)
            ]
            scores = [choice_scores(part) for part in kept]
            figures = {"fair": [one.fairness for one in scores], "kl": [one.kl for one in scores]}
            figures["said"] = [one.mass for one in scores]
            for place, name in enumerate(self.outcomes[1:], 1):
                figures[name] = [float(one.proportions[place]) for one in scores]
            # Answers of the fair class are few; its share of what is said moves sooner.
            figures["share of fair"] = [float((part[:, 0] / part.sum(1)).mean()) for part in kept]
            found[kind or "all"] = {
                name: [round(float(np.mean(values)), 3), round(float(np.std(values, ddof=1)), 3)]
                for name, values in figures.items()
            }
        return found


def people(given: argparse.Namespace) -> None:
    """Fit on drawings and words, ask about held-out concepts."""
    loaded = eq.load("emoji-vlm", dtype=given.dtype)
    drawn = load_people(PEOPLE)
    task = Choices(drawn, shuffle=True)
    unseen = sorted({group for item in task.split(0).heldout for group in item.groups})[: given.concepts]
    asked = Asked(loaded, Choices([one for one in drawn if one.concept in unseen], shuffle=True))
    answers = {"base": asked()}
    print(unseen, len(asked.items), answers["base"], flush=True)
    methods = {
        "res_fair": Setting("ablate_amplify", "text", 10, 0.0, 0.1).given(given.items),
        "dso": {"items": f"{given.items}", "steps": f"{given.steps}"},
    }
    fits: dict[str, Any] = {}
    for name, chosen in methods.items():
        edit = eq.fit(loaded, task, method=name, settings=chosen)
        fits[name] = {"settings": chosen, "validation": edit.provenance.config["validation"]}
        print(fits[name], flush=True)
        for strength in STRENGTHS[name]:
            with attach(loaded, edit, strength):
                answers[f"{name}, {strength:g}"] = asked()
            print(name, strength, answers[f"{name}, {strength:g}"], flush=True)
    write(
        "choices-people",
        {
            "concepts": unseen,
            "people": PEOPLE,
            "answers a seed": len(asked.seeds[0]),
            "fits": fits,
            "answers": answers,
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("ablate", "people"))
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--budget", type=float, default=0.05)
    parser.add_argument("--concepts", type=int, default=3)
    parser.add_argument("--items", type=int, default=48)
    parser.add_argument("--steps", type=int, default=2)
    given = parser.parse_args()
    {"ablate": ablate, "people": people}[given.what](given)


if __name__ == "__main__":
    main()
