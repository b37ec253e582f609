"""From measured mitigations to what a comparison says: each at each KL budget, how they differ, and which to take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..metrics import Candidate, Estimate, best_within
from ..reports import AtBudget, Compared, Comparison, Run
from .bench import Bench
from .estimates import Intervals, Measured
from .progress import Report
from .runs import Contender
from .verdict import verdict

REFERENCE = "dso"


@dataclass(frozen=True, eq=False)
class Candidacy:
    """A contender, how it came about, and the strengths of its curve."""

    contender: Contender
    methods: tuple[str, ...]
    files: tuple[str, ...]
    seconds: float | None
    strengths: tuple[float, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Choice:
    """The strength of each seed within one budget, the candidates that it was chosen from, and what was measured."""

    strengths: Mapping[int, float]
    candidates: Mapping[int, tuple[Candidate, ...]]
    reachable: Mapping[int, bool]
    measured: Measured


def choose(
    bench: Bench, candidacy: Candidacy, seeds: Sequence[int], budgets: Sequence[float], report: Report
) -> list[_Choice]:
    """For each budget the strength of lowest validation bias, found for each seed by itself.

    Held-out items are measured only at the strengths chosen. What one seed validates on, another may hold out, so the
    seeds choose separately.
    """
    mitigations = candidacy.contender.mitigations
    pools = {seed: bench.candidates(mitigations[seed], candidacy.strengths, seed) for seed in seeds}
    found = []
    for number, budget in enumerate(budgets):
        strengths, reachable = {}, {}
        for place, seed in enumerate(seeds):
            report(
                (number + place / len(seeds)) / len(budgets),
                f"choosing the strength of {candidacy.contender.name} for a KL of {budget:g}",
            )
            if candidacy.contender.dial:
                bench.refine(mitigations[seed], pools[seed], budget, seed)
            best = best_within(pools[seed], budget)
            strengths[seed] = 0.0 if best is None else best.strength
            reachable[seed] = any(one.strength > 0 and one.kl <= budget for one in pools[seed])
        measured = bench.measured(
            [mitigations[seed] for seed in seeds], [strengths[seed] for seed in seeds], seeds
        )
        pool = {seed: tuple(sorted(pools[seed], key=lambda one: one.strength)) for seed in seeds}
        found.append(_Choice(strengths, pool, reachable, measured))
    return found


def compare_choices(
    task: str,
    candidacies: Sequence[Candidacy],
    choices: Sequence[Sequence[_Choice]],
    budgets: Sequence[float],
    base: Measured,
    intervals: Intervals,
    runs: Sequence[Run],
) -> Comparison:
    """Everything with intervals: ``choices`` has a row a mitigation, an entry a budget."""
    table: list[list[AtBudget]] = [[] for _ in candidacies]
    best: list[str | None] = []
    for column, budget in enumerate(budgets):
        here = [row[column] for row in choices]
        cells = [
            _at(one, choice, budget, base, intervals) for one, choice in zip(candidacies, here, strict=True)
        ]
        ranked = sorted(
            (place for place, cell in enumerate(cells) if cell.acts and cell.bias is not None),
            key=lambda place: _value(cells[place].bias),
        )
        # Bias that goes with the right answers is not taken away but covered up.
        keeping = [place for place in ranked if cells[place].keeps_accuracy]
        best.append(candidacies[keeping[0]].contender.name if keeping else None)
        for place, cell in enumerate(cells):
            other = next((rival for rival in keeping if rival != place), None)
            wanted = [] if other is None else [other]
            wanted += [
                number
                for number, one in enumerate(candidacies)
                if one.contender.name == REFERENCE and number not in (place, other) and cells[number].metrics
            ]
            if cell.metrics:
                cell = replace(
                    cell,
                    differences={
                        candidacies[rival].contender.name: intervals.bias_change(
                            here[place].measured, here[rival].measured
                        )
                        for rival in wanted
                    },
                    best_other=None if other is None else candidacies[other].contender.name,
                )
            table[place].append(cell)
    compared = tuple(
        _compared(one, row, cells, runs) for one, row, cells in zip(candidacies, choices, table, strict=True)
    )
    found = Comparison(task, tuple(budgets), compared, tuple(best), "")
    return replace(found, verdict=verdict(found, intervals.metrics(base, base)["per_occupation_bias"]))


def _at(one: Candidacy, choice: _Choice, budget: float, base: Measured, intervals: Intervals) -> AtBudget:
    kept = any(choice.reachable.values())
    return AtBudget(
        budget=budget,
        strengths=dict(choice.strengths),
        candidates={
            seed: tuple((c.strength, c.kl, c.bias) for c in pool) for seed, pool in choice.candidates.items()
        },
        reason=_reason(one, choice),
        metrics=intervals.metrics(choice.measured, base) if kept else {},
        changes=intervals.changes(choice.measured, base) if kept else {},
    )


def _reason(one: Candidacy, choice: _Choice) -> str | None:
    idle = [seed for seed, strength in choice.strengths.items() if strength == 0]
    if not idle:
        return None
    beyond = [seed for seed in idle if not choice.reachable[seed]]
    whom = "" if len(idle) == len(choice.strengths) else f"for seed{'s' * (len(idle) > 1)} {_list(idle)} "
    if len(beyond) == len(idle):
        least = min(
            c.kl for seed in beyond for c in choice.candidates[seed] if c.strength > 0 or math.isnan(c.kl)
        )
        if not one.contender.dial:
            return f"{whom}it has no dial, and its KL of {least:.3g} is above the budget"
        return f"{whom}its KL is above the budget at every strength measured, at least {least:.3g}"
    return f"{whom}no strength within the budget lowers bias on validation items: the base model stays"


def _compared(
    one: Candidacy, choices: Sequence[_Choice], cells: Sequence[AtBudget], runs: Sequence[Run]
) -> Compared:
    contender = one.contender
    sizes = [mitigation.size for mitigation in contender.mitigations.values()]
    rises = _rises(contender, runs)
    notes = []
    if not any(sizes) and contender.dial:
        notes.append(
            "fitting found nothing better on validation data than the model itself, so it changes nothing"
        )
    if rises:
        notes.append(f"bias rises beyond chance at λ = {_list(rises)}")
    note = _short_of(one, choices)
    if note:
        notes.append(note)
    return Compared(
        name=contender.name,
        methods=one.methods,
        files=one.files,
        dial=contender.dial,
        size=sum(sizes) / len(sizes),
        seconds=one.seconds,
        rises=rises,
        notes=tuple(notes),
        at=tuple(cells),
        settings=one.settings,
    )


def _rises(contender: Contender, runs: Sequence[Run]) -> tuple[float, ...] | None:
    """The strengths of the grid at which bias rises beyond the paired interval of the step."""
    if not contender.dial:
        return None
    own = [run for run in runs if run.mitigation == contender.name]
    mean = [run for run in own if run.seed is None] or own
    steps = {
        run.strength: run.extra["step"]["per_occupation_bias"]["low"] for run in mean if "step" in run.extra
    }
    return tuple(
        strength for strength, low in steps.items() if strength is not None and low is not None and low > 0
    )


def _short_of(one: Candidacy, choices: Sequence[_Choice]) -> str | None:
    """Whether a wider range of strengths might do more than was seen."""
    if not one.contender.dial or not one.strengths:
        return None
    top, last = one.strengths[-1], choices[-1]
    if not all(strength == top for strength in last.strengths.values()):
        return None
    return f"the strongest λ measured, {top:g}, was chosen within the largest budget: more may do more (--strengths)"


def _value(estimate: Estimate | None) -> float:
    return math.inf if estimate is None or math.isnan(estimate.value) else estimate.value


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
