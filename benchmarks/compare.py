"""Every method at equal cost, over seeds: the comparison of docs/benchmarks.md, for one model and task after the other.

What was fitted stays in a folder for each model and task, so that an interrupted run goes on from there; a comparison
that is finished is only read again.

python benchmarks/compare.py [--models M ...] [--tasks T ...] [--methods A,B,...] [--seeds N] [--limit ITEMS]
"""

import argparse
import time
from pathlib import Path
from typing import Any

from timing import write

import equipoise as eq
from equipoise.methods import METHODS
from equipoise.reports import Comparison, Results
from equipoise.workflows.inputs import parse_strengths

MODELS = ("smollm2", "gemma3-270m")
TASKS = ("pronouns", "coreference")
CURVE = ("per_occupation_bias", "unambiguous_accuracy", "kl_to_base", "perplexity", "abstention_rate")


def rounded(estimates: dict[str, Any]) -> dict[str, Any]:
    """Estimates as [value, low, high]."""
    return {
        name: one and [round(one[key], 5) for key in ("value", "low", "high") if one[key] is not None]
        for name, one in estimates.items()
        if name in CURVE
    }


def shown(message: str, started: float) -> None:
    print(f"{(time.perf_counter() - started) / 60:6.1f} min  {message}", flush=True)


def run(model: str, task: str, arguments: argparse.Namespace) -> Results:
    """One comparison, from its folder if it is finished."""
    folder = Path(arguments.folder) / f"{model}-{task}"
    if (folder / "results.json").exists() and not arguments.force:
        print(f"{model}, {task}: read from {folder}")
        return Results.read(folder / "results.json")
    started, last = time.perf_counter(), ""

    def progress(fraction: float, message: str) -> None:
        nonlocal last
        what = message.split(":")[0]
        if what != last:
            shown(f"{100 * fraction:3.0f} %  {what}", started)
            last = what

    seeds = tuple(range(arguments.seeds))
    methods: dict[str, Any] = {name: name for name in arguments.methods.split(",")}
    if arguments.dso:
        methods["dso"] = {seed: str(Path(arguments.dso) / f"{task}-{seed}.safetensors") for seed in seeds}
    return eq.compare(
        model,
        task,
        methods,
        strengths=parse_strengths(arguments.strengths),
        seeds=seeds,
        limit=arguments.limit or None,
        text=arguments.text,
        passages=arguments.passages,
        dtype=arguments.dtype,
        out=folder,
        resume=True,
        progress=progress,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Every method at equal cost, over seeds.")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=160, help="items of each part and seed; 0 takes all")
    parser.add_argument("--strengths", default="0:2:0.25")
    parser.add_argument("--text", help="a text file for KL and perplexity, such as WikiText-2's test set")
    parser.add_argument("--passages", type=int, default=20)
    parser.add_argument("--dtype", default="float32", help="bfloat16 takes less than half the time")
    parser.add_argument("--dso", help="a folder of DSO fits, as benchmarks/bias.py --files keeps them")
    parser.add_argument("--folder", default="comparisons", help="for fits and pages")
    parser.add_argument("--force", action="store_true", help="measure finished comparisons again")
    arguments = parser.parse_args()
    for model in arguments.models:
        for task in arguments.tasks:
            found = run(model, task, arguments)
            comparison = Comparison.of(found)
            assert comparison is not None
            print(f"{model}, {task}: {comparison.verdict}", flush=True)
            content = found.to_dict()
            for one in content["comparison"]["mitigations"]:
                for at in one["budgets"]:
                    del at["candidates"]  # they are in the folder's results.json
            write(
                f"compare-{model}-{task}",
                {
                    "model": model,
                    "task": task,
                    "seeds": list(found.seeds),
                    "limit": arguments.limit,
                    "text": arguments.text and Path(arguments.text).name,
                    "comparison": content["comparison"],
                    "curves": [
                        {
                            "mitigation": entry["mitigation"],
                            "strength": entry["strength"],
                            "n": entry["n"],
                            **rounded(entry["metrics"]),
                        }
                        for entry in content["runs"]
                        if entry["seed"] is None or len(found.seeds) == 1
                    ],
                },
            )


if __name__ == "__main__":
    main()
