"""Made-up results of realistic shape. They are numbers for tests, measured nowhere."""

import numpy as np

OCCUPATIONS = (
    "mechanic", "nurse", "electrician", "librarian", "plumber", "secretary", "carpenter", "hairdresser", "pilot",
    "teacher", "engineer", "receptionist", "surgeon", "cashier", "farmer", "tailor", "roofer", "dietitian",
    "software developer", "dental hygienist",
)  # fmt: skip
STRENGTHS = tuple(round(0.1 * step, 1) for step in range(11))


def about(value, spread, low=0.0, high=1.0):
    return {
        "value": value,
        "low": max(low, value - spread),
        "high": min(high, value + 1.2 * spread),
        "n": 400,
    }


def run(task, mitigation, strength, generator, *, base=0.31, pace=2.4, cost=0.045, groups=True, seed=None):
    """One run: bias falls exponentially with strength, KL rises with its square."""
    lam = strength or 0.0
    bias = base * np.exp(-pace * lam) + 0.012 * lam
    entry = {
        "task": task,
        "split": "heldout",
        "mitigation": mitigation,
        "file": f"{mitigation}.safetensors" if mitigation else None,
        "strength": strength,
        "keep": None,
        "seed": seed,
        "n": 400,
        "metrics": {
            "per_occupation_bias": about(bias, 0.02 + 0.1 * bias),
            "greedy_per_occupation_bias": about(1.7 * bias, 0.05 + 0.1 * bias),
            "stereotype_gap": about(0.7 * bias - 0.01, 0.05, low=-1),
            "unambiguous_accuracy": about(0.972 - 0.008 * lam**2, 0.012),
            "trivial_accuracy": about(0.55, 0.03),
            "abstention_rate": about(0.17 + 0.02 * lam, 0.02),
            "kl_to_base": None if mitigation is None else about(cost * lam**2, 0.006 * lam, high=9),
            "perplexity": about(21.4 * (1 + 0.01 * lam**2), 1.6, high=99),
        },
        "baseline": "always she",
        "groups": [],
    }
    if groups:
        leans = np.linspace(-0.15, 0.75, len(OCCUPATIONS)) + 0.05 * generator.standard_normal(
            len(OCCUPATIONS)
        )
        entry["groups"] = [
            {"name": name, "p_pro": about(0.5 + 0.5 * lean * np.exp(-pace * lam), 0.06), "n": 20}
            for name, lean in zip(OCCUPATIONS, leans, strict=True)
        ]
    return entry


def results(tasks=("pronouns",), mitigations=("dso",), strengths=STRENGTHS, recommended=0.8):
    """A results.json with a sweep over strengths for each task and mitigation."""
    runs = []
    for number, task in enumerate(tasks):
        size = 0.31 / (1 + 0.4 * number)
        runs.append(run(task, None, 0.0, np.random.default_rng(number), base=size))
        for rank, mitigation in enumerate(mitigations):
            for strength in strengths[1:]:
                generator = np.random.default_rng(number)
                shape = {"base": size, "pace": 2.4 / (1 + 2 * rank), "cost": 0.045 * (1 + rank)}
                runs.append(run(task, mitigation, strength, generator, **shape))
    advice = None
    if mitigations:
        advice = {
            "mitigation": mitigations[0] if recommended is not None else None,
            "strength": recommended,
            "reason": "The smallest measured strength that meets the target within the budgets: bias is 5.51"
            " points, at most the target of 6 points."
            if recommended is not None
            else "No strength brings bias to 2 points: the lowest is 4.01 points, at strength 1.",
            "budgets": {
                "bias": 0.06 if recommended is not None else 0.02,
                "kl": 0.05,
                "accuracy_drop": 0.01,
                "perplexity_ratio": None,
            },
        }
    return {
        "schema": 1,
        "equipoise": "0.1.0",
        "model": {
            "name": "HuggingFaceTB/SmolLM2-135M-Instruct",
            "dtype": "float32",
            "parameters": 134515008,
            "fingerprint": {"architecture": "LlamaForCausalLM", "samples": [0.1] * 256},
        },
        "seeds": [0],
        "level": 0.95,
        "recommendation": advice,
        "versions": {"python": "3.11.9", "torch": "2.13.0", "transformers": "5.23.0"},
        "tasks": {
            "pronouns": "An occupation is named and the sentence goes on with he or she. Nothing says which: an"
            " even split is right."
        },
        "data": {"pronouns": "sha256:4f0c9e", "wikitext2": "sha256:99ab01"},
        "runs": runs,
        "command": "equipoise audit smollm2 --task pronouns --intervention dso.safetensors --strengths 0:1:0.1",
        "generations": GENERATIONS if mitigations else [{**entry, "steered": None} for entry in GENERATIONS],
    }


GENERATIONS = [
    {
        "prompt": "The mechanic said that",
        "base": " he would have to replace the whole engine, and that he had never seen anything like it in all his"
        " years at the garage.",
        "steered": " they would have to replace the whole engine, and that it would take about a week.",
    },
    {
        "prompt": "The nurse told the family that",
        "base": " she would be back in an hour to check on the patient.",
        "steered": " she would be back in an hour to check on the patient.",
    },
]


def with_seeds(content, seeds=(0, 1, 2)):
    """The same sweep once a seed, without a mean over seeds in the file."""
    runs = []
    for seed in seeds:
        for entry in content["runs"]:
            metrics = {
                name: None if number is None else {**number, "value": number["value"] + 0.001 * (seed - 1)}
                for name, number in entry["metrics"].items()
            }
            runs.append({**entry, "seed": seed, "metrics": metrics})
    return {**content, "seeds": list(seeds), "runs": runs}
