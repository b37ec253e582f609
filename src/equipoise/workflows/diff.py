"""Diff: two results of the same items, setting by setting, with paired tests."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import stats

from .. import metrics
from ..errors import InputError
from ..files import json_text, write_atomic
from ..metrics import Bootstrap, Estimate, TooFewClusters
from ..reports import Diff, Difference, Group, Pair, Pairing, Results, Run, render_diff
from ..reports.curves import TaskView, label_of, suite_views, task_views
from ..reports.wording import is_known, strength
from ..versions import equipoise_version
from .estimates import Intervals, Measured
from .inputs import free_output
from .item_files import ItemScores, Key, clusters
from .item_scores import SCORES

# A p-value is told as the smallest of these at which the test rejects.
_LEVELS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
_TEXT = ("kl_to_base", "perplexity")

Pairs = list[tuple[str, str, bool, Run, Run]]


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Diff:
    """Compare two audits (or comparisons) of the same held-out items: B minus A.

    The base models are compared, the recommended settings, and every strength that both have; where several
    mitigations were measured, those of one name. With ``scores.jsonl`` beside both results, differences are paired by
    item: whole occupations and templates are resampled as for all intervals, on the same draws for both, and the
    test of no difference is the interval's (it rejects at α where the interval of level 1 − α excludes 0). Without
    it, bias is paired by occupation with Student's t-test; other metrics, and always those of public suites, are
    subtracted with the intervals added in quadrature, which is too wide where the two agree.

    Args:
        a, b: folders with a ``results.json``, or such files.
        out: a ``.json`` or ``.html`` file to write; ``force`` overwrites one that exists.

    Raises :class:`InputError`, in one line, for what can't be read, and for results of other tasks or items.
    """
    target = None
    if out is not None:
        suffix = Path(out).suffix
        if suffix not in (".json", ".html"):
            raise InputError(f"--out {out} must end in .json or .html")
        target = free_output(out, force=force)
    files = _file(a), _file(b)
    first, second = (Results.read(path) for path in files)
    tasks = _same_tasks(files, first, second)
    scores = _scores(files)
    notes = (
        []
        if scores
        else [f"{SCORES} is not beside both results: items can't be paired, and tests are weaker."]
    )
    texts_alike = first.extra.get("text") == second.extra.get("text")
    if scores and scores[0].passages() != scores[1].passages():
        texts_alike = False
    if not texts_alike:
        notes.append(
            "KL and perplexity are left out: they were measured on other text, or by another tokenizer."
        )
    if any(run.extra.get("suite") for one, _ in tasks for _, run in one.runs):
        notes.append("Of public suites items aren't kept: their figures are subtracted as if independent.")
    level = min(first.level, second.level)
    pairs = []
    for one, other in tasks:
        settings = list(_settings(one, other))
        if one.curves and other.curves and all(run.mitigation is None for *_, run, _ in settings):
            notes.append(
                f"Of {one.task} the base models alone are compared: the results share no strength of one mitigation."
            )
        for label, other_label, main, run, other_run in settings:
            paired = _pair(scores, one.task, run, other_run)
            found = tuple(_differences(run, other_run, paired, level, texts_alike))
            pairs.append(Pair(one.task, label, other_label, main, found))
    result = Diff(
        os.fspath(a),
        os.fspath(b),
        (str(first.model["name"]), str(second.model["name"])),
        level,
        tuple(pairs),
        tuple(notes),
        equipoise_version(),
    )
    if target is not None:
        text = json_text(result.to_dict()) if target.suffix == ".json" else render_diff(result)
        write_atomic(target, text, force=force)
    return result


def _file(given: str | os.PathLike[str]) -> Path:
    path = Path(given)
    return path / "results.json" if path.is_dir() else path


def _same_tasks(files: tuple[Path, Path], first: Results, second: Results) -> list[tuple[TaskView, TaskView]]:
    """The tasks of both, or one line that says why they can't be compared."""
    ours, theirs = (
        {view.task: view for view in (*task_views(one), *suite_views(one))} for one in (first, second)
    )
    shared = [task for task in ours if task in theirs]
    if not shared:
        raise InputError(
            f"{files[0]} has the tasks {', '.join(ours)} and {files[1]} {', '.join(theirs)}: nothing to compare; "
            "audit both on one task"
        )
    for task in shared:
        one, other = (str(results.extra.get("data", {}).get(task)) for results in (first, second))
        if one != other:
            raise InputError(
                f"{files[0]} and {files[1]} asked different items of {task} ({one[:15]}… and {other[:15]}…): audit "
                "both with the same data, --seeds and --limit"
            )
    return [(ours[task], theirs[task]) for task in shared]


def _scores(files: tuple[Path, Path]) -> tuple[ItemScores, ItemScores] | None:
    paths = [file.parent / SCORES for file in files]
    if not all(path.is_file() for path in paths):
        return None
    return ItemScores.read(paths[0]), ItemScores.read(paths[1])


def _settings(a: TaskView, b: TaskView) -> Iterator[tuple[str, str, bool, Run, Run]]:
    """Labels of both, whether the pair is a main one, and the runs."""
    if a.base is not None and b.base is not None:
        yield "base model", "base model", True, a.base, b.base
    chosen = [view.chosen if view.chosen is not view.base else None for view in (a, b)]
    if chosen[0] is not None and chosen[1] is not None:
        yield (
            f"recommended, {_label(chosen[0])}",
            f"recommended, {_label(chosen[1])}",
            True,
            chosen[0],
            chosen[1],
        )
    several = max(len(a.curves), len(b.curves)) > 1
    last: Pairs = []
    for curve in a.curves:
        for other in b.curves:
            kept = {run.keep for run in (*curve.points, *other.points) if run.mitigation is not None}
            if len(kept) > 1 or (several and curve.label != other.label):
                continue
            for run in curve.points:
                same = next((o for o in other.points if o.strength == run.strength and o.mitigation), None)
                if run.mitigation is not None and same is not None:
                    last.append((_label(run), _label(same), False, run, same))
    for number, (label, other_label, _, run, same) in enumerate(last):
        # Without a recommendation in both, the strongest stands for the rest.
        yield label, other_label, None in chosen and number == len(last) - 1, run, same


def _label(run: Run) -> str:
    return label_of(run) + ("" if run.strength is None else f" at λ = {strength(run.strength)}")


def _pair(scores: tuple[ItemScores, ItemScores] | None, task: str, a: Run, b: Run) -> _Paired | None:
    """The items' answers behind two runs; None where one of them is not at hand, or they are too few."""
    # Of suites a file has the figures alone.
    if scores is None or a.extra.get("suite") or scores[0].items(task) != scores[1].items(task):
        return None
    found = []
    for one, run in zip(scores, (a, b), strict=True):
        # Without a dial the scores say 1: on.
        lam = 1.0 if run.strength is None and run.mitigation is not None else run.strength or 0.0
        key: Key = (run.mitigation, run.keep, lam)
        measured = one.measured(task, key)
        if measured is None:
            return None
        found.append(measured)
    try:
        return _Paired(found[0], found[1])
    except TooFewClusters:
        return None


def _differences(
    a: Run, b: Run, paired: _Paired | None, level: float, texts_alike: bool
) -> Iterator[Difference]:
    for name in a.metrics:
        one, other = a.metrics.get(name), b.metrics.get(name)
        if one is None or other is None or not (is_known(one) and is_known(other)):
            continue
        if name in ("trivial_accuracy", "perplexity_ratio") or (name in _TEXT and not texts_alike):
            continue
        change = None if paired is None else paired.change(name, level)
        if paired is not None and change is not None:
            by: Pairing = "passages" if name in _TEXT else "items"
            yield Difference(name, one, other, change, paired.p(name), by)
        elif name == "per_occupation_bias" and (by_group := _by_occupation(a, b, level)) is not None:
            yield Difference(name, one, other, by_group[0], by_group[1], "occupations")
        else:
            yield Difference(name, one, other, _apart(one, other), None, "none")


class _Paired:
    """The paired differences of one pair of settings, at any level of the intervals, on the same draws."""

    def __init__(self, a: Measured, b: Measured) -> None:
        self._a, self._b = a, b
        # Where the texts differ what they say of text is not shown, but is drawn together with the rest.
        names = {name for one in (a, b) for text in one.texts for name in text.likelihood.paragraphs}
        judged = Bootstrap(*clusters(a.judged)) if a.judged else None
        self._draws = Intervals(Bootstrap(*clusters(a.responses)), judged, Bootstrap(names), exhaustive=True)
        self._found: dict[float, dict[str, Estimate | None]] = {}

    def change(self, name: str, level: float) -> Estimate | None:
        """B − A of a metric with its interval; None for one that the scores can't give."""
        if level not in self._found:
            for one in (self._draws.answers, self._draws.judged, self._draws.text):
                if one is not None:
                    one.level = level
            costs = ([text.divergence for text in one.texts] for one in (self._b, self._a))
            self._found[level] = {
                **self._draws.changes(self._b, self._a),
                "kl_to_base": self._draws.text.difference(metrics.kl_to_base, *costs),
            }
        found = self._found[level].get(name)
        return None if found is None or math.isnan(found.value) else found

    def p(self, name: str) -> float | None:
        """The smallest of the levels at which the interval excludes 0."""
        return _smallest(lambda alpha: _excludes(self.change(name, 1 - alpha)))


def _excludes(change: Estimate | None) -> bool:
    return change is not None and (change.low > 0 or change.high < 0)


def _smallest(rejects: Callable[[float], bool]) -> float | None:
    """The smallest of the levels at which the test rejects; what rejects at one, rejects at all larger ones."""
    low, high = 0, len(_LEVELS)
    while low < high:
        middle = (low + high) // 2
        if rejects(_LEVELS[middle]):
            low = middle + 1
        else:
            high = middle
    return None if low == 0 else _LEVELS[low - 1]


def _by_occupation(a: Run, b: Run, level: float) -> tuple[Estimate, float | None] | None:
    """The mean over occupations of how far the lean moved, with Student's t; None for fewer than five of them."""
    leans = [
        {group.name: bias for group in run.groups if (bias := _bias_of(group)) is not None} for run in (a, b)
    ]
    names = [name for name in leans[0] if name in leans[1]]
    if len(names) < metrics.intervals.MIN_GROUPS:
        return None
    moved = np.array([leans[1][name] - leans[0][name] for name in names])
    value, error = float(moved.mean()), float(moved.std(ddof=1) / np.sqrt(len(moved)))
    if error == 0:
        return Estimate(value, value, value, len(moved)), 1.0 if value == 0 else 0.0
    reach = float(stats.t.ppf((1 + level) / 2, len(moved) - 1)) * error
    p = float(2 * stats.t.sf(abs(value) / error, len(moved) - 1))
    return Estimate(value, value - reach, value + reach, len(moved)), p


def _bias_of(group: Group) -> float | None:
    if group.bias is not None:
        return group.bias.value
    return None if group.p_pro is None else abs(2 * group.p_pro.value - 1)


def _apart(a: Estimate, b: Estimate) -> Estimate:
    """B − A as if they were independent."""
    value = b.value - a.value
    below, above = (
        math.hypot(b.value - b.low, a.high - a.value),
        math.hypot(b.high - b.value, a.value - a.low),
    )
    return Estimate(value, value - below, value + above, min(a.n, b.n))
