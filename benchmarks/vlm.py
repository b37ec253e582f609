"""The demo's vision-language model: how well it sees, what every mitigation does to its bias, and where DSO carries.

    python benchmarks/vlm.py sees     [--weights FILE] [--style NAME]... [--limit N]
    python benchmarks/vlm.py probe    [--style NAME]...
    python benchmarks/vlm.py compare  [--style NAME] [--seeds N] [--limit N] [--methods A,B,...]
    python benchmarks/vlm.py transfer [--style NAME]... [--seeds N] [--limit N]
    python benchmarks/vlm.py demos    [--style NAME] [--seeds N]

``demos`` runs ``equipoise demo --vlm`` at several seeds. It, ``compare`` and ``transfer`` keep what they have fitted in
``--folder``. The styles' packages must be installed
(docs/vlm.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawing_style import measure_style
from sklearn.linear_model import LogisticRegression
from timing import write

import equipoise as eq
from equipoise import load
from equipoise.models import LoadedModel
from equipoise.models.quiet import quiet
from equipoise.models.small_vlm import features, parts, small_vlm_folder
from equipoise.reports import Comparison, Results
from equipoise.tasks import Portrait, load_people
from equipoise.tasks.emoji import STYLES
from equipoise.workflows.demo_vlm.demo import SETTINGS, PlantedPairs, demo_vlm
from equipoise.workflows.inputs import parse_strengths

METHODS = "dso,iti,caa,prompting,res_fair,temperature,lora,lora_dpo"
CURVE = ("per_occupation_bias", "unambiguous_accuracy", "kl_to_base", "abstention_rate")
# The training of adapters is cut short, at a higher rate: the paper's ten epochs take an hour of one core.
SHORT = {"steps": "12", "learning_rate": "0.0005"}


def sees(loaded: LoadedModel, given: argparse.Namespace) -> None:
    """Naming, telling apart and leaning, by style."""
    for style in given.style or ["twemoji"]:
        found = measure_style(loaded, style, limit=given.limit)
        print(f"{style}: occupations named {found.naming}; things named {found.things}")
        print(f"  unambiguous pairs {found.unambiguous}")
        for name, lean in (("gender", found.gender), ("skin tone", found.tone)):
            print(f"  {name}: bias {lean.found}, planted {lean.planted:.3f}; slope of log-odds {lean.slope}")
            for role, (planted, share) in sorted(lean.by_role.items(), key=lambda one: one[1]):
                print(f"    {role:20} planted {planted:.2f} found {share:.2f}")


def probe(given: argparse.Namespace) -> None:
    """What a linear probe, trained on the other styles, reads off a style's image features: what can be seen at all."""
    with quiet():
        vision, _, processor = parts()
    styles = given.style or ["twemoji", "openmoji", "noto", "fluent", "fluent-flat"]
    seen: dict[str, Any] = {}
    people = {style: load_people(f"emoji:{style}") for style in styles}
    for style, shown in people.items():
        pixels = processor.image_processor(images=[one.picture.open() for one in shown], return_tensors="pt")[
            "pixel_values"
        ]
        batches = [features(vision, pixels[k : k + 32]).mean(1) for k in range(0, len(pixels), 32)]
        seen[style] = torch.cat(batches).numpy()
    dark = {"light": 0, "medium-light": 0, "medium-dark": 1, "dark": 1}
    wanted: dict[str, Callable[[Portrait], Any]] = {
        "occupation": lambda one: one.concept,
        "gender": lambda one: one.labels["gender"],
        "skin tone": lambda one: dark.get(one.labels["tone"]),
    }
    for left in styles:
        rest = [style for style in styles if STYLES[style].family != STYLES[left].family]
        x, y = (
            np.concatenate([seen[style] for style in rest]),
            [one for style in rest for one in people[style]],
        )
        mean, scale = x.mean(0), x.std(0) + 1e-6
        found = []
        for name, label in wanted.items():
            train = [row for row, one in enumerate(y) if label(one) is not None]
            test = [row for row, one in enumerate(people[left]) if label(one) is not None]
            fitted = LogisticRegression(C=0.01, max_iter=200).fit(
                (x[train] - mean) / scale, [label(y[row]) for row in train]
            )
            right = fitted.score(
                (seen[left][test] - mean) / scale, [label(people[left][row]) for row in test]
            )
            found.append(f"{name} {right:.3f} (n = {len(test)})")
        print(f"{left}: {', '.join(found)}", flush=True)


def compare(loaded: LoadedModel, given: argparse.Namespace) -> None:
    """All mitigations at equal cost, on what is held out of one style."""
    style = (given.style or ["twemoji"])[0]
    settings: dict[str, dict[str, str]] = {"dso": dict(SETTINGS), "lora": SHORT, "lora_dpo": SHORT}
    names = given.methods.split(",")
    methods: dict[str, Any] = {name: name for name in names}
    if given.dso:
        methods["dso"] = given.dso
        del settings["dso"]
    found = eq.compare(
        loaded,
        PlantedPairs(style),
        methods,
        strengths=parse_strengths(given.strengths),
        seeds=tuple(range(given.seeds)),
        budgets=(0.05,),
        settings={name: own for name, own in settings.items() if name in names},
        limit=given.limit,
        passages=12,
        out=Path(given.folder) / f"compare-{style}",
        resume=True,
        progress=_shown(),
    )
    comparison = Comparison.of(found)
    assert comparison is not None
    print(comparison.verdict)
    for run in found.runs:
        if run.seed is None or given.seeds == 1:
            print(run.mitigation, run.strength, _rounded(run.metrics))
    write(
        f"vlm-compare-{style}",
        {
            "style": style,
            "seeds": given.seeds,
            "limit": given.limit,
            "settings": settings,
            "dso fitted by": "demo --vlm" if given.dso else "this run",
            "verdict": comparison.verdict,
            "runs": _runs(found),
        },
    )


def transfer(loaded: LoadedModel, given: argparse.Namespace) -> None:
    """DSO fitted on the first style, measured on the occupations held out of every style."""
    styles = given.style or ["noto", "twemoji", "openmoji"]
    seeds = tuple(range(given.seeds))
    files: dict[int, Any] = {}
    folder = Path(given.folder)
    folder.mkdir(parents=True, exist_ok=True)
    if given.dso:
        files[0] = given.dso
    for seed in () if given.dso else seeds:
        path = folder / f"dso-{styles[0]}-seed{seed}.safetensors"
        if not path.exists():
            eq.fit(
                loaded,
                PlantedPairs(styles[0]),
                settings=dict(SETTINGS),
                seed=seed,
                out=path,
                progress=_shown(),
            )
        files[seed] = str(path)
    told: dict[str, Any] = {}
    for style in styles:
        found = eq.audit(
            loaded,
            PlantedPairs(style),
            intervention=files,
            strengths=parse_strengths(given.strengths),
            seeds=seeds,
            limit=given.limit,
            passages=12,
            progress=_shown(),
        )
        told[style] = _runs(found)
        for run in told[style]:
            print(style, run, flush=True)
    write(
        "vlm-transfer",
        {
            "fitted on": "twemoji, by demo --vlm" if given.dso else styles[0],
            "seeds": given.seeds,
            "limit": given.limit,
            "settings": dict(SETTINGS),
            "styles": told,
        },
    )


def demos(loaded: LoadedModel, given: argparse.Namespace) -> None:
    """What ``demo --vlm`` shows, seed by seed and on average; a seed whose folder has its results isn't run again."""
    style = (given.style or ["twemoji"])[0]
    rows = []
    for seed in range(given.seeds):
        folder = Path(given.folder) / f"demo-{seed}"
        if not (folder / "results.json").exists():
            demo_vlm(folder, seed=seed, style=style, source=loaded, progress=_shown())
        found = Results.read(folder / "results.json")
        for run in found.runs:
            if run.task == "occupation-pairs":
                values = {name: run.metrics[name] for name in CURVE}
                rows.append({"seed": seed, "strength": run.strength, **_rounded(values)})
                rows[-1]["changes"] = _rounded(run.changes)
    means = []
    for strength in sorted({row["strength"] for row in rows}):
        here = [row for row in rows if row["strength"] == strength]
        means.append(
            {"strength": strength}
            | {name: round(float(np.mean([row[name][0] for row in here])), 4) for name in CURVE}
        )
        print(means[-1])
    write("vlm-demo", {"style": style, "settings": dict(SETTINGS), "seeds": rows, "means": means})


def _runs(found: Results) -> list[dict[str, Any]]:
    return [
        {
            "task": run.task,
            "mitigation": run.mitigation,
            "strength": run.strength,
            "n": run.n,
            "metrics": _rounded(run.metrics, suite=run.split == "all"),
            "changes": _rounded(run.changes, suite=run.split == "all"),
        }
        for run in found.runs
        if run.seed is None or len(found.seeds) == 1
    ]


def _rounded(estimates: Any, *, suite: bool = False) -> dict[str, list[float]]:
    """Estimates as [value, low, high]."""
    return {
        name: [round(value, 4) for value in (one.value, one.low, one.high)]
        for name, one in estimates.items()
        if one is not None and (suite or name in CURVE)
    }


def _shown() -> Any:
    last = ""

    def progress(fraction: float, message: str) -> None:
        nonlocal last
        if message != last:
            print(f"{100 * fraction:3.0f} %  {message}", flush=True)
            last = message

    return progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "what", choices=("sees", "probe", "compare", "transfer", "demos"), nargs="?", default="sees"
    )
    parser.add_argument("--weights", help="weights that `equipoise demo --vlm --rebuild` has made")
    parser.add_argument("--style", action="append", help="may be repeated")
    parser.add_argument("--limit", type=int, default=264, help="items of each kind or part")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--strengths", default="0,1,2")
    parser.add_argument(
        "--dso", metavar="FILE", help="what demo --vlm has fitted, in place of a fit; for one seed"
    )
    parser.add_argument("--folder", default="vlm-fits", help="for fits and pages")
    parser.add_argument("--dtype", default="float32")
    given = parser.parse_args()
    if given.what == "probe":
        probe(given)
        return
    loaded = load(small_vlm_folder(given.weights), dtype=given.dtype)
    {"sees": sees, "compare": compare, "transfer": transfer, "demos": demos}[given.what](loaded, given)


if __name__ == "__main__":
    main()
