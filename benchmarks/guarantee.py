"""How often a guaranteed operating point breaks its limits: simulated problems of which the truth is known.

``python benchmarks/guarantee.py [--problems 1000] [--confidence 0.9]``

A problem: eleven strengths; an occupation's lean shrinks with the strength, at a rate of its own; accuracy and KL
worsen with it. Bias, loss of accuracy and KL of every strength are known from a population of 20,000 occupations. One
problem in two has its bias limit set just below the true bias of one strength, where a wrong choice is easiest.
Calibration: 150 occupations of 8 items and 100 passages; the order of testing comes from 40 and 40 others. Beside it:
the choice by estimates alone on the same calibration data.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from equipoise.metrics import Risk, learn_then_test
from equipoise.metrics.guarantee import KL_CAP

STRENGTHS = np.linspace(0, 1, 11)
ITEMS = 8
POPULATION = 20_000


@dataclass(frozen=True, eq=False)
class Problem:
    """The truth: leans [P, S] of the population's occupations, drops [P, S] of their accuracy, KL [S]."""

    leans: np.ndarray
    drops: np.ndarray
    kl: np.ndarray
    limits: tuple[float, float, float]

    @property
    def breaks(self) -> np.ndarray:
        """[S] whether each strength truly breaks a limit."""
        bias, drop, kl = self.limits
        return (np.abs(self.leans).mean(0) > bias) | (self.drops.mean(0) > drop) | (self.kl > kl)


def problem(generator: np.random.Generator, hard: bool) -> Problem:
    """One problem; a ``hard`` one has its bias limit just below what one of the strengths does."""
    start = np.clip(generator.normal(0.1, 0.35, POPULATION), -0.95, 0.95)[:, None]
    rate = generator.uniform(0.7, 1.0) * np.clip(generator.normal(1, 0.25, POPULATION), 0, 1.6)[:, None]
    leans = start * (1 - rate * STRENGTHS)
    drops = np.clip(generator.normal(0.03, 0.05, POPULATION), 0, 1)[:, None] * STRENGTHS**2
    kl = generator.uniform(0.03, 0.08) * STRENGTHS**2
    truth = np.abs(leans).mean(0)
    if hard:
        bias = float(truth[generator.integers(4, 11)]) - 1e-6
    else:
        bias = float(generator.uniform(0.08, 0.25))
    return Problem(leans, drops, kl, (bias, 0.08, 0.05))


def sample(
    given: Problem, generator: np.random.Generator, occupations: int, passages: int
) -> list[dict[str, Risk]]:
    """The risks of every strength on one sample of occupations and passages, by the definitions of
    :func:`equipoise.metrics.bias_risk`, :func:`accuracy_risk` and :func:`kl_risk`."""
    chosen = generator.choice(POPULATION, occupations, replace=False)
    noise = generator.uniform(-0.1, 0.1, (occupations, ITEMS))
    luck = generator.random((occupations, ITEMS))
    spread = generator.gamma(4, 1 / 4, passages)
    base = luck < 0.95
    bias, drop, kl = given.limits
    found = []
    for place in range(len(STRENGTHS)):
        lean = given.leans[chosen, place][:, None]
        # Symmetric about the lean, and smaller near ±1, so that the mean over items stays the lean.
        answers = lean + noise * (1 - np.abs(lean))
        lost = base & (luck >= 0.95 - given.drops[chosen, place][:, None])
        found.append(
            {
                "bias": Risk(np.abs(answers.mean(1)), bias),
                "accuracy": Risk((1 + lost.mean(1)) / 2, (1 + drop) / 2),
                "kl": Risk(np.clip(given.kl[place] * spread / (KL_CAP * kl), 0, 1), 1 / KL_CAP),
            }
        )
    return found


def run(problems: int, confidence: float, seed: int = 0) -> dict[str, float]:
    """Shares of problems: ``wrong`` and ``chosen`` with the guarantee; ``naive_wrong`` and ``naive_chosen`` without it;
    ``any_wrong``: any certified strength breaks a limit; ``possible``: some strength truly qualifies."""
    generator = np.random.default_rng(seed)
    counts = dict.fromkeys(("wrong", "chosen", "any_wrong", "naive_wrong", "naive_chosen", "possible"), 0)
    for number in range(problems):
        given = problem(generator, hard=number % 2 == 0)
        broken = given.breaks
        guessed = sample(given, generator, 40, 40)
        likely = [max(risk.p_value for risk in each.values()) for each in guessed]
        measured = sample(given, generator, 150, 100)
        order = sorted(range(len(likely)), key=likely.__getitem__)
        found = learn_then_test(measured, order=order, confidence=confidence)
        naive = [
            place
            for place, each in enumerate(measured)
            if all(risk.losses.mean() <= risk.limit for risk in each.values())
        ]
        counts["possible"] += not broken.all()
        counts["any_wrong"] += any(broken[index] for index in found.certified)
        if found.certified:
            counts["chosen"] += 1
            counts["wrong"] += bool(broken[min(found.certified)])
        if naive:
            counts["naive_chosen"] += 1
            counts["naive_wrong"] += bool(broken[min(naive)])
    return {name: count / problems for name, count in counts.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--confidence", type=float, default=0.9)
    arguments = parser.parse_args()
    shares = run(arguments.problems, arguments.confidence)
    error = np.sqrt(arguments.confidence * (1 - arguments.confidence) / arguments.problems)
    print(f"stated: at most {1 - arguments.confidence:.3f}; Monte-Carlo error {error:.4f}")
    for name, share in shares.items():
        print(f"{name:14} {share:.4f}")
