"""DSO's effect on held-out occupations and templates over several seeds, what it costs, and on sets it never saw.

For each seed: fit on the training occupations of a task, then audit the held-out ones at eleven strengths. Transfer
is measured at strengths 0 and 1 on other tasks, by the same interventions.

python benchmarks/bias.py [--task TASK] [--seeds N] [--limit ITEMS] [--text FILE] [--transfer TASK ...]
"""

import argparse
import time
from statistics import mean
from typing import Any

from timing import write

import equipoise as eq

MODEL = "smollm2"
STRENGTHS = [round(0.1 * step, 1) for step in range(11)]
METRICS = ("per_occupation_bias", "stereotype_gap", "unambiguous_accuracy", "kl_to_base", "perplexity")


def figures(run: Any) -> dict[str, Any]:
    """A run's estimates as plain numbers: [value, low, high]."""
    found = {}
    for name in METRICS:
        estimate = run["metrics"].get(name)
        found[name] = estimate and [round(estimate[key], 5) for key in ("value", "low", "high")]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Bias before and after DSO, over seeds.")
    parser.add_argument("--task", default="pronouns")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=320, help="held-out items of each part and seed")
    parser.add_argument("--text", help="a text file for KL and perplexity, such as WikiText-2's test set")
    parser.add_argument("--passages", type=int, default=40)
    parser.add_argument("--transfer", nargs="*", default=[], help="tasks of other sets, as winobias:PATH")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the fit")
    arguments = parser.parse_args()
    loaded, seeds = eq.load(MODEL), tuple(range(arguments.seeds))
    settings = dict(pair.split("=", 1) for pair in arguments.set)
    fitted, seconds = {}, []
    for seed in seeds:
        start = time.perf_counter()
        fitted[seed] = eq.fit(loaded, arguments.task, method="dso", seed=seed, settings=settings)
        seconds.append(round(time.perf_counter() - start, 1))
        print(f"seed {seed}: fitted in {seconds[-1]} s", flush=True)
    common = {"intervention": fitted, "seeds": seeds, "limit": arguments.limit}
    text = {"text": arguments.text, "passages": arguments.passages}
    found = eq.audit(loaded, arguments.task, strengths=STRENGTHS, **common, **text).to_dict()
    runs = [
        {"seed": run["seed"], "strength": run["strength"], "n": run["n"], **figures(run)}
        for run in found["runs"]
    ]
    summary = {}
    for strength in (0.0, 1.0):
        here = [run for run in runs if run["strength"] == strength and run["seed"] is not None]
        summary[str(strength)] = {
            name: [round(mean(values), 4), round(min(values), 4), round(max(values), 4)]
            for name in METRICS
            if (values := [run[name][0] for run in here if run[name]])
        }
        print(f"λ = {strength}: mean (least, most) over seeds {summary[str(strength)]}", flush=True)
    result: dict[str, Any] = {
        "model": MODEL,
        "task": arguments.task,
        "settings": settings,
        "fit_seconds": seconds,
        "text": arguments.text and arguments.text.rsplit("/", 1)[-1],
        "recommendation": found["recommendation"],
        "summary": summary,
        "runs": runs,
        "transfer": {},
    }
    write(f"bias-{arguments.task}", result)
    for task in arguments.transfer:
        other = eq.audit(loaded, task, strengths=[0.0, 1.0], **common).to_dict()
        name = task.split(":")[0]
        result["transfer"][name] = [
            {"seed": run["seed"], "strength": run["strength"], "n": run["n"], **figures(run)}
            for run in other["runs"]
        ]
        for strength in (0.0, 1.0):
            values = [
                run["per_occupation_bias"][0]
                for run in result["transfer"][name]
                if run["strength"] == strength and run["seed"] is not None
            ]
            print(f"{name}: λ = {strength}: bias {mean(values):.3f} over seeds {values}", flush=True)
        write(f"bias-{arguments.task}", result)


if __name__ == "__main__":
    main()
