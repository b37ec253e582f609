"""From a list of runs to what is drawn and told: one curve for each task and mitigation, from the base model on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..metrics import Estimate
from .results import Group, Results, Run


@dataclass(frozen=True)
class Curve:
    """One mitigation on one task, by strength, the base model (λ = 0) first.

    ``keys`` name the points across the tasks of a page: one key is one setting (mitigation and strength).
    """

    label: str
    points: tuple[Run, ...]
    keys: tuple[str, ...]

    @property
    def has_dial(self) -> bool:
        """Whether the mitigation has a strength."""
        return any(run.strength not in (None, 0) for run in self.points)


@dataclass(frozen=True)
class TaskView:
    """One task: the base model's run, a curve for each mitigation, and the run at the recommended setting."""

    task: str
    base: Run | None
    curves: tuple[Curve, ...]
    chosen: Run | None
    chosen_key: str | None
    target: float | None

    @property
    def runs(self) -> tuple[tuple[str, Run], ...]:
        """Key and run of every setting, the base model first and once."""
        found = [("base", self.base)] if self.base is not None else []
        found += [
            (key, run)
            for curve in self.curves
            for key, run in zip(curve.keys, curve.points, strict=True)
            if run is not self.base
        ]
        return tuple(found)


def task_views(results: Results) -> tuple[TaskView, ...]:
    """The tasks of a results file in order, without public suites. Of several splits the held-out one is shown."""
    return _views(results, [run for run in results.runs if not run.extra.get("suite")])


def suite_views(results: Results) -> tuple[TaskView, ...]:
    """The public suites of a results file, in order; their settings have the keys that they have for tasks."""
    return _views(results, [run for run in results.runs if run.extra.get("suite")])


def _views(results: Results, runs: Sequence[Run]) -> tuple[TaskView, ...]:
    labels = list(dict.fromkeys(label_of(run) for run in results.runs if run.mitigation is not None))
    tasks = dict.fromkeys(run.task for run in runs)
    return tuple(_view(results, task, [run for run in runs if run.task == task], labels) for task in tasks)


def label_of(run: Run) -> str:
    """The mitigation's name for people, with the kept share where not all of it is kept."""
    name = run.mitigation or "base model"
    return name if run.keep is None else f"{name}, strongest {100 * run.keep:g} %"


def _view(results: Results, task: str, runs: Sequence[Run], labels: Sequence[str]) -> TaskView:
    splits = [run.split for run in runs]
    split = "heldout" if "heldout" in splits else splits[0]
    summaries = _over_seeds(run for run in runs if run.split == split)
    base = next((run for run in summaries if run.mitigation is None), None)
    if base is not None:
        base = _from_itself(base, summaries)
    curves = []
    for number, label in enumerate(labels):
        points = [run for run in summaries if run.mitigation is not None and label_of(run) == label]
        if not points:
            continue
        points.sort(key=lambda run: math.inf if run.strength is None else run.strength)
        if base is not None and points[0].strength not in (0, None):
            points.insert(0, base)
        keys = ["base" if run is base else f"{number}-{run.strength}" for run in points]
        curves.append(Curve(label, tuple(points), tuple(keys)))
    chosen = _chosen(results, base, curves)
    advice = results.recommendation
    target = None if advice is None else advice.budgets.get("bias")
    return TaskView(task, base, tuple(curves), *chosen, target)


def _chosen(results: Results, base: Run | None, curves: Iterable[Curve]) -> tuple[Run | None, str | None]:
    advice = results.recommendation
    if advice is None:
        return None, None
    for curve in curves:
        for key, run in zip(curve.keys, curve.points, strict=True):
            own = (run.mitigation, run.keep) == (advice.mitigation, advice.extra.get("keep"))
            if own and _same(_strength(run), advice.strength):
                return run, key
    if base is not None and _same(0, advice.strength):
        return base, "base"
    return None, None


def _strength(run: Run) -> float | None:
    return 0.0 if run.mitigation is None else run.strength


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, abs_tol=1e-9)


def _from_itself(base: Run, runs: Iterable[Run]) -> Run:
    """The base model is 0 nats from itself, which a file need not say; given only where others were measured."""
    if base.metrics.get("kl_to_base") is not None or all(
        run.metrics.get("kl_to_base") is None for run in runs
    ):
        return base
    return replace(base, metrics={**base.metrics, "kl_to_base": Estimate(0.0, 0.0, 0.0, base.n)})


def _over_seeds(runs: Iterable[Run]) -> list[Run]:
    """One run for each setting: the file's own mean over seeds, else the only seed, else a mean without intervals."""
    settings: dict[tuple[str | None, float | None, float | None], list[Run]] = {}
    for run in runs:
        # The base model has no dial; a file may say 0 or null.
        strength = None if run.mitigation is None else run.strength
        settings.setdefault((run.mitigation, strength, run.keep), []).append(run)
    return [
        next((run for run in same if run.seed is None), None)
        or (same[0] if len(same) == 1 else _mean_run(same))
        for same in settings.values()
    ]


def _mean_run(runs: Sequence[Run]) -> Run:
    groups = {group.name: group for run in runs for group in run.groups}
    return replace(
        runs[0],
        seed=None,
        n=sum(run.n for run in runs),
        metrics=_mean_estimates([run.metrics for run in runs]),
        changes=_mean_estimates([run.changes for run in runs]),
        groups=tuple(
            Group(
                name,
                _mean([g.p_pro for g in found]),
                sum(g.n for g in found),
                _mean([g.bias for g in found]),
                _mean_estimates([g.shares for g in found]),
            )
            for name in groups
            if (found := [group for run in runs for group in run.groups if group.name == name])
        ),
    )


def _mean_estimates(rows: Sequence[Mapping[str, Estimate | None]]) -> dict[str, Estimate | None]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _mean([row.get(name) for row in rows]) for name in names}


def _mean(estimates: Sequence[Estimate | None]) -> Estimate | None:
    """Mean of the values, without an interval: that of a mean over seeds can't be had from theirs."""
    known = [estimate for estimate in estimates if estimate is not None and not math.isnan(estimate.value)]
    if not known:
        return None
    value = math.fsum(e.value for e in known) / len(known)
    return Estimate.alone(value, sum(e.n for e in known))
