"""DSO's effect on held-out occupations and templates over several seeds, what it costs, and on sets it never saw.

For each seed: fit on the training occupations of a task, then audit the held-out ones: many items at strengths 0 and 1
(and at 1 with the strongest tenth of the entries), fewer at eleven strengths. Transfer is measured at strengths 0 and
1 on other tasks, by the same interventions.

python benchmarks/bias.py [--task TASK] [--seeds N] [--limit ITEMS] [--curve ITEMS] [--text FILE] [--files DIR]
                          [--transfer TASK ...] [--set KEY=VALUE ...]
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from timing import write

import equipoise as eq

STRENGTHS = [round(0.1 * step, 1) for step in range(11)]
KEEP = 0.1
METRICS = (
    "per_occupation_bias",
    "greedy_per_occupation_bias",
    "stereotype_gap",
    "unambiguous_accuracy",
    "abstention_rate",
    "kl_to_base",
    "perplexity",
    "perplexity_ratio",
)


def as_run(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run's estimates as plain numbers: [value, low, high]."""
    found: dict[str, Any] = {key: run[key] for key in ("seed", "strength", "keep", "n")}
    for name in METRICS:
        found[name] = _plain(run["metrics"].get(name))
    found["step"] = _plain(run.get("step", {}).get("per_occupation_bias"))
    return found


def _plain(estimate: Mapping[str, float] | None) -> list[float] | None:
    return None if estimate is None else [round(estimate[key], 5) for key in ("value", "low", "high")]


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """For each setting the mean, least and greatest of the seeds' values."""
    found: dict[str, Any] = {}
    for run in runs:
        name = f"{run['strength']:g}" + ("" if run["keep"] is None else f", strongest {run['keep']:g}")
        same = [
            other
            for other in runs
            if (other["strength"], other["keep"]) == (run["strength"], run["keep"])
            and (other["seed"] is not None or len(runs) == len({(r["strength"], r["keep"]) for r in runs}))
        ]
        found[name] = {
            metric: [round(mean(values), 4), round(min(values), 4), round(max(values), 4)]
            for metric in METRICS
            if (values := [other[metric][0] for other in same if other[metric]])
        }
    return found


def rises(runs: list[dict[str, Any]]) -> list[list[float]]:
    """The [seed, strength] at which bias rose over the next lower strength beyond the paired interval."""
    return [[run["seed"], run["strength"]] for run in runs if run["step"] and run["step"][1] > 0]


def main() -> None:
    parser = argparse.ArgumentParser(description="Bias before and after DSO, over seeds.")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--task", default="pronouns")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--limit", type=int, default=1280, help="held-out items of each part and seed, at 0 and 1"
    )
    parser.add_argument("--curve", type=int, default=320, help="the same at eleven strengths")
    parser.add_argument("--text", help="a text file for KL and perplexity, such as WikiText-2's test set")
    parser.add_argument("--passages", type=int, default=40)
    parser.add_argument(
        "--dtype", default="float32", help="of the audits; bfloat16 takes less than half the time"
    )
    parser.add_argument("--transfer", nargs="*", default=[], help="tasks of other sets, as winobias:PATH")
    parser.add_argument(
        "--files", type=Path, help="a folder in which fitted interventions are kept and found again"
    )
    parser.add_argument("--set", nargs="*", default=[], help="settings of the fit")
    arguments = parser.parse_args()
    loaded, seeds = eq.load(arguments.model), tuple(range(arguments.seeds))
    settings = dict(pair.split("=", 1) for pair in arguments.set)
    fitted: dict[int, Any] = {}
    seconds: list[float | None] = []
    for seed in seeds:
        kept = arguments.files and arguments.files / f"{arguments.task}-{seed}.safetensors"
        if kept and kept.exists():
            fitted[seed] = str(kept)
            seconds.append(None)
            continue
        start = time.perf_counter()
        fitted[seed] = eq.fit(loaded, arguments.task, method="dso", seed=seed, settings=settings, out=kept)
        seconds.append(round(time.perf_counter() - start, 1))
        print(f"seed {seed}: fitted in {seconds[-1]} s", flush=True)
    values = {
        seed: eq.Intervention.load(one) if isinstance(one, str) else one for seed, one in fitted.items()
    }
    shares = [round(one.nonzero / one.size, 4) for one in values.values()]
    # Keeping the strongest tenth of what has no more than a tenth is the whole.
    keep = [] if max(shares) <= KEEP else [KEEP]
    loaded = eq.load(arguments.model, dtype=arguments.dtype)
    common: dict[str, Any] = {"intervention": values, "seeds": seeds}
    text = {"text": arguments.text, "passages": arguments.passages}
    result: dict[str, Any] = {
        "model": arguments.model,
        "task": arguments.task,
        "settings": settings,
        "fit_seconds": seconds,
        "nonzero_shares": shares,
        "audited_in": arguments.dtype,
        "text": arguments.text and arguments.text.rsplit("/", 1)[-1],
        "transfer": {},
    }
    name = f"bias-{arguments.task}"
    ends = eq.audit(
        loaded, arguments.task, strengths=[0.0, 1.0], keep=keep, limit=arguments.limit, **common, **text
    ).to_dict()
    runs = [as_run(run) for run in ends["runs"]]
    result |= {"ends": runs, "summary": summary(runs)}
    for setting, figures in result["summary"].items():
        print(f"λ = {setting}: mean, least, most of the seeds {figures}", flush=True)
    write(name, result)
    curve = eq.audit(
        loaded, arguments.task, strengths=STRENGTHS, limit=arguments.curve, **common, **text
    ).to_dict()
    runs = [as_run(run) for run in curve["runs"]]
    result |= {"curve": runs, "rises": rises(runs), "recommendation": curve["recommendation"]}
    print(f"rises beyond their paired interval: {result['rises']}", flush=True)
    write(name, result)
    for task in arguments.transfer:
        other = eq.audit(loaded, task, strengths=[0.0, 1.0], limit=arguments.curve, **common).to_dict()
        runs = [as_run(run) for run in other["runs"]]
        short = task.split(":")[0]
        result["transfer"][short] = {"runs": runs, "summary": summary(runs)}
        for setting, figures in result["transfer"][short]["summary"].items():
            print(f"{short}, λ = {setting}: {figures}", flush=True)
        write(name, result)


if __name__ == "__main__":
    main()
