"""Compare: several mitigations of one task, each over its strengths, at equal terms."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from ..errors import InputError
from ..files import write_atomic
from ..models import LoadedModel, describe, load
from ..reports import Advice, Comparison, Results, figure_comparison, render_page
from ..tasks import Task, fingerprint
from ..versions import equipoise_version, versions
from .audit import LENGTH, LIMIT, PASSAGES
from .bench import Bench
from .candidacies import candidacy_of, curves, fit_all, warn_of_terms
from .comparison import choose, compare_choices
from .entries import Given, the_entries
from .estimates import Intervals, draw_items, draw_text
from .fits import Fits
from .inputs import (
    Source,
    check_count,
    check_level,
    check_seeds,
    check_strengths,
    free_outputs,
    the_tasks,
    the_text,
)
from .kept import Kept
from .ledger import Ledger
from .measure import Asked, PlainText, Questions
from .progress import Report, part, silent
from .runs import BASE, Subject, make_runs
from .verdict import pick

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GRID = tuple(round(0.25 * step, 2) for step in range(9))
BUDGETS = (0.01, 0.03, 0.1)
OUTPUTS = ("results.json", "report.html", "figure.svg")

# Of the whole: fitting, the curves, choosing strengths, intervals.
_FITTED, _MEASURED, _CHOSEN = 0.45, 0.75, 0.92


def compare(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    task: str | Task,
    methods: str | Sequence[str] | Mapping[str, Source | Mapping[int, Source]],
    *,
    strengths: Sequence[float] = GRID,
    seeds: Sequence[int] = (0,),
    budgets: Sequence[float] = BUDGETS,
    settings: Mapping[str, Mapping[str, str]] | None = None,
    limit: int | None = LIMIT,
    text: str | os.PathLike[str] | Sequence[str] | None = None,
    passages: int = PASSAGES,
    level: float = 0.95,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    resume: bool = False,
    cache: str | os.PathLike[str] | None = None,
    command: str | None = None,
    progress: Report = silent,
) -> Results:
    """Fit methods on ``task``, and measure them and what is given, on the same held-out items and text.

    For each KL budget and seed the strength is the one of lowest bias on *validation* items among those whose KL to
    the base model on the reported text is within the budget: strengths of the grid, one that spends the budget, and
    one where the curve of validation bias should be lowest. What is reported there is held-out.

    Args:
        source: see :func:`equipoise.models.load`.
        task: a name as on the command line, or a task with closed answers.
        methods: ``dso,caa,mine=a.safetensors+b.safetensors``: names of methods, files, and sums of these, each with
            a name of its own if wanted; a list of such pieces; or a mapping from name to a sum, to a value (an
            intervention or another mitigation), or to a mapping from seed to values.
        strengths: λ ≥ 0 of every curve; the base model, λ = 0, is always measured. Without a dial: off and on.
        seeds: each decides a split, its fits, and its strengths. Several give each seed's numbers and their mean.
        budgets: highest KL, nats a token, each above 0.
        settings: texts for the methods' settings, by method or entry.
        limit: at most so many held-out, and so many validation items of each part and seed; None takes all.
        text: a text file, or passages, for KL and perplexity; by default our own, the half that no fit looks at.
        passages: how many of them, 64 tokens each.
        level: coverage of the intervals.
        dtype, device: how to load the model.
        out: a folder for ``results.json``, ``report.html``, ``figure.svg``, ``fits.json`` and a file for each
            intervention fitted, ``NAME.safetensors``, with several seeds ``NAME-seedN.safetensors``. The fits are
            written as soon as they are there.
        force: overwrite them.
        resume: take up what an interrupted comparison has fitted in ``out`` already.
        cache: as :func:`equipoise.workflows.audit` takes it.
        command: what made these results, for the report.
        progress: called with the fraction done and a message.

    Returns:
        results with a run for every strength, and the key ``comparison``: :class:`equipoise.reports.Comparison`.

    Raises :class:`InputError`, before anything long is done and with nothing written, for bad input.
    """
    (chosen,) = the_tasks(task)
    the_seeds, grid = check_seeds(seeds), check_strengths(strengths)
    limits = _check(grid, budgets, level, limit, passages)
    if resume and out is None:
        raise InputError("there is nothing to resume without a folder: give out")
    folder = None if out is None else free_outputs(out, OUTPUTS, force=force or resume)
    entries = the_entries(methods, chosen, the_seeds, settings or {})
    fits = Fits(folder, several=len(the_seeds) > 1, resume=resume)
    fits.free([fit.label for entry in entries for fit in entry.fits], the_seeds, force=force)
    heldout = Questions.of(chosen, the_seeds, limit)
    validation = Questions.of(chosen, the_seeds, limit, "validation")
    texts, text_name = the_text(text, "report")
    fit_texts, _ = the_text(None, "fit")
    item_draws = draw_items(heldout, level)
    progress(0.0, "loading the model")
    loaded = load(source, dtype=dtype, device=device)
    ledger = Ledger(Kept.of(cache, loaded))
    for entry in entries:
        for term in entry.terms:
            for mitigation in term.mitigations.values() if isinstance(term, Given) else ():
                mitigation.check(loaded)
    asked = Asked.of(loaded, heldout)
    plain = PlainText.of(loaded, texts, passages=passages, length=LENGTH)
    intervals = Intervals(*item_draws, draw_text(plain.names, level), chosen.exhaustive)
    bench = Bench(loaded, asked, Asked.of(loaded, validation), plain, ledger)

    fitted = fit_all(loaded, chosen, entries, the_seeds, fits, fit_texts, part(progress, 0.01, _FITTED))
    candidacies = [candidacy_of(entry, the_seeds, fitted, grid) for entry in entries]
    warn_of_terms(entries, fitted, the_seeds[0])
    for one in candidacies:
        for mitigation, _ in one.contender.distinct():
            mitigation.check(loaded)
    measured = curves(bench, candidacies, the_seeds, part(progress, _FITTED, _MEASURED))
    choices = []
    for number, one in enumerate(candidacies):
        share = part(progress, _MEASURED, _CHOSEN)
        own = part(share, number / len(candidacies), (number + 1) / len(candidacies))
        choices.append(choose(bench, one, the_seeds, limits, own))
    subject = Subject(loaded, (asked,), plain, the_seeds, tuple(one.contender for one in candidacies))
    runs, _ = make_runs(subject, measured, [intervals], part(progress, _CHOSEN, 0.99))
    (base,) = measured[BASE]
    comparison = compare_choices(chosen.name, candidacies, choices, limits, base, intervals, runs)
    results = Results(
        model=describe(loaded).as_dict(),
        seeds=the_seeds,
        runs=tuple(runs),
        recommendation=_advice(comparison),
        level=level,
        equipoise=equipoise_version(),
        command=command,
        extra={
            "comparison": comparison.to_dict(),
            "versions": versions(),
            "tasks": {chosen.name: chosen.summary()},
            "data": {
                chosen.name: f"sha256:{fingerprint(heldout.items)}",
                f"{chosen.name}, validation": f"sha256:{fingerprint(validation.items)}",
            },
            "text": f"{plain.reference.passages} passages of {LENGTH} tokens, {text_name}",
        },
    )
    if folder is not None:
        write_comparison(results, folder, force=force or resume)
    progress(1.0, "done")
    return results


def write_comparison(results: Results, folder: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write results.json, report.html and figure.svg into ``folder``; existing ones only with ``force``.

    Page and figure are drawn before anything is written, so that a failure leaves nothing behind.
    """
    target = free_outputs(folder, OUTPUTS, force=force)
    page, figure = render_page(results), figure_comparison(results)
    results.write(target / OUTPUTS[0], force=force)
    write_atomic(target / OUTPUTS[1], page, force=force)
    write_atomic(target / OUTPUTS[2], figure, force=force)


def _check(
    grid: Sequence[float], budgets: Sequence[float], level: float, limit: int | None, passages: int
) -> tuple[float, ...]:
    """The budgets, ascending and each once."""
    if not any(strength > 0 for strength in grid):
        raise InputError("no strength is above 0: give at least one, for example 0:2:0.25")
    if not budgets:
        raise InputError("there is no KL budget: give at least one, for example 0.03")
    for budget in budgets:
        if not 0 < budget < math.inf:
            raise InputError(f"the KL budget {budget:g} must be a number above 0")
    check_level(level)
    check_count(limit, "the limit")
    check_count(passages, "passages")
    return tuple(sorted(set(budgets)))


def _advice(comparison: Comparison) -> Advice:
    found = pick(comparison)
    if found is None:
        return Advice(None, None, comparison.verdict, {"kl": None})
    one, at = found
    change = None if at.best_other is None else at.differences.get(at.best_other)
    seed = next(seed for seed, strength in at.strengths.items() if strength > 0)
    return Advice(
        mitigation=one.name,
        strength=at.strengths[seed] if one.dial else None,
        reason=comparison.verdict,
        budgets={"kl": at.budget},
        extra={
            # Against the next best, at the level of the intervals.
            "certain": change is None or change.high < 0,
            # Every seed has its own fit, and its own strength; the one above is this seed's.
            "seed": seed,
            "strengths": {str(key): value for key, value in at.strengths.items()},
        },
    )
