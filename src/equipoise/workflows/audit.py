"""Audit: bias and its price over a grid of strengths, and the strength to use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from ..files import write_atomic
from ..interventions import attach_tokens
from ..metrics import Budgets, Recommendation, recommend
from ..models import LoadedModel, describe, load
from ..reports import Advice, Results, render_page
from ..tasks import Suite, Task, fingerprint
from ..versions import equipoise_version, versions
from .cards import data_card, mitigation_cards
from .cautions import warn_of_seeds
from .estimates import Intervals, draw_items, draw_text
from .grid import kept_share, measure_settings, the_settings
from .guarantee import certify, check_guarantee, questions_of
from .inputs import (
    Source,
    Token,
    check_axes,
    check_count,
    check_level,
    check_seeds,
    check_strengths,
    free_outputs,
    limited,
    the_mitigations,
    the_subjects,
    the_text,
    the_tokens,
    within,
)
from .item_scores import SCORES, item_scores
from .kept import Kept
from .ledger import Ledger
from .measure import Asked, PlainText, Questions
from .progress import Report, part, silent
from .runs import Contender, Subject, make_runs
from .samples import sampled
from .side_effects import side_effects
from .suite_runs import ask_suites, suite_runs
from .suites import SuiteQuestions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GRID = tuple(round(0.1 * step, 1) for step in range(11))
LIMIT = 160
PASSAGES = 20
LENGTH = 64
OUTPUTS = ("results.json", "report.html", SCORES)


def audit(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    tasks: str | Task | Suite | Sequence[str | Task | Suite],
    *,
    intervention: Source | Mapping[int, Source] | None = None,
    tokens: Token | Sequence[Token] = (),
    strengths: Sequence[float] = GRID,
    seeds: Sequence[int] = (0,),
    target: float = 0.05,
    kl_budget: float | None = 0.05,
    accuracy_drop: float | None = 0.01,
    keep: Sequence[float] = (),
    targeted: Sequence[str] = ("gender",),
    guarantee: float | None = None,
    limit: int | None = LIMIT,
    text: str | os.PathLike[str] | Sequence[str] | None = None,
    passages: int = PASSAGES,
    level: float = 0.95,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    cache: str | os.PathLike[str] | None = None,
    file: str | None = None,
    command: str | None = None,
    progress: Report = silent,
) -> Results:
    """Measure ``tasks`` on held-out occupations and templates, without and with an intervention.

    Args:
        source: see :func:`equipoise.models.load`.
        tasks: names as on the command line (``pronouns``, ``winobias:PATH``, ``bbq:PATH``), tasks or public suites.
            Suites are measured whole (up to ``limit`` of each stratum); what is recommended goes by the tasks alone.
        intervention: a value (or any mitigation, such as :class:`equipoise.methods.Prompting`), a file, a sum of
            files, a file name with ``{seed}`` in it, or a mapping from seed to any of these (an intervention fitted
            on each seed's split). None measures the base model alone.
        tokens: injected tokens or their files, which the tasks' prompts may name.
        strengths: λ ≥ 0; the base model, λ = 0, is always measured.
        seeds: each decides a split. Several give each seed's numbers, and their mean as the runs without a seed.
        target, kl_budget, accuracy_drop: what the recommended strength must reach and may cost: per-occupation
            bias, nats a token on plain text, and a drop of unambiguous accuracy. None sets no limit on what it costs.
        keep: shares in (0, 1]; for each, the intervention with only its strongest entries is measured as well.
        targeted: the axes of bias that the intervention is meant to move; where a suite shows that it moves another,
            ``side_effects`` warns.
        guarantee: a confidence, such as 0.9: two thirds of the held-out occupations and half of the text calibrate, and
            the strength is the weakest of which they say with this confidence that the target and all budgets are kept
            (learn then test, :mod:`equipoise.metrics.guarantee`); what is reported is measured on the rest.
        limit: at most so many held-out items of each part and seed; None takes all.
        text: a text file, or passages, for KL and perplexity; by default our own, the half that no fit looks at.
        passages: how many of them, 64 tokens each.
        level: coverage of the intervals.
        dtype, device: how to load the model.
        out: a folder for ``results.json``, ``report.html`` and ``scores.jsonl``; None writes nothing.
        force: overwrite them.
        cache: a folder where scores are kept as they are measured, so that the same audit, stopped at any time, goes
            on where it was, and equal measurements are made once (:mod:`equipoise.workflows.kept`; the command line
            gives :func:`equipoise.workflows.kept.default_folder`). None keeps nothing. Nothing is kept of a model with
            hooks or offloaded weights, nor of mitigations of your own making.
        file: how to call the intervention's file in the results; by default as it was given.
        command: what made these results, for the report.
        progress: called with the fraction done and a message.

    Raises :class:`InputError`, before anything long is done and with nothing written, for bad input, an intervention
    of another model, too few items for an interval, or existing outputs.
    """
    folder = None if out is None else free_outputs(out, OUTPUTS, force=force)
    budgets = Budgets(
        bias=within(target, "the target"),
        kl=limited(kl_budget, "the KL budget", float("inf")),
        accuracy_drop=limited(accuracy_drop, "the accuracy drop"),
    )
    check_level(level)
    check_count(limit, "the limit")
    check_count(passages, "passages")
    the_seeds = check_seeds(seeds)
    grid = check_strengths(strengths)
    contenders = _contenders(intervention, the_seeds, file)
    settings = the_settings(contenders, grid, keep)
    chosen_tasks, chosen_suites = the_subjects(tasks)
    the_targeted = check_axes(targeted)
    words = the_tokens(tokens)
    heldout: tuple[Questions, ...]
    calibration: tuple[Questions, ...] = ()
    ordering: tuple[Questions, ...] = ()
    if guarantee is None:
        heldout = tuple(Questions.of(task, the_seeds, limit) for task in chosen_tasks)
    else:
        check_guarantee(chosen_tasks, the_seeds, guarantee, steered=bool(contenders))
        heldout, calibration, ordering = questions_of(chosen_tasks, the_seeds[0], limit)
    suites = tuple(SuiteQuestions.of(suite, limit, the_seeds[0]) for suite in chosen_suites)
    texts, text_name = the_text(text, "report")
    item_draws = [draw_items(part_of_task, level) for part_of_task in heldout]
    progress(0.0, "loading the model")
    ledger = Ledger()
    with ledger.part("loading"):
        whole = load(source, dtype=dtype, device=device)
        ledger.kept = Kept.of(cache, whole, words)
    with attach_tokens(whole, words) as loaded:
        for contender in contenders:
            for one, _ in contender.distinct():
                one.check(loaded)
        for suite in suites:
            suite.check(loaded)
        asked = tuple(Asked.of(loaded, part_of_task) for part_of_task in heldout)
        shown = texts if guarantee is None else texts[::2]
        plain = PlainText.of(loaded, shown, passages=passages, length=LENGTH)
        text_draws = draw_text(plain.names, level)
        intervals = [
            Intervals(*draws, text_draws, part_of_task.task.exhaustive)
            for part_of_task, draws in zip(heldout, item_draws, strict=True)
        ]
        subject = Subject(loaded, asked, plain, the_seeds, contenders)

        tasks_done = 0.85 if not suites else 0.4 if heldout else 0.02
        with ledger.part("measuring"):
            measured = measure_settings(subject, settings, ledger, part(progress, 0.02, tasks_done))
            readings = ask_suites(
                subject, settings, suites, kept_share, ledger, part(progress, tasks_done, 0.85)
            )
        with ledger.part("intervals"):
            runs, points = make_runs(subject, measured, intervals, part(progress, 0.85, 0.9))
            of_suites = suite_runs(subject, readings, suites, level, part(progress, 0.9, 0.95))
        advice = recommend(points, budgets) if contenders and heldout else None
        calibrated = None
        if advice is not None and guarantee is not None:
            progress(0.9, "calibrating")
            kept_back = PlainText.of(loaded, texts[1::2], passages=len(texts), length=LENGTH)
            calibrated = certify(
                subject,
                calibration,
                ordering,
                kept_back,
                budgets,
                guarantee,
                lambda one: measure_settings(one, settings, ledger, silent),
            )
            advice = calibrated.advice(budgets)
        progress(0.95, "generating")
        with ledger.part("generating"):
            generations, sampling = sampled(subject, advice, ledger)
        results = Results(
            model=describe(loaded).as_dict(),
            seeds=the_seeds,
            runs=(*runs, *of_suites),
            recommendation=None if advice is None else _advice(advice, contenders[0]),
            level=level,
            equipoise=equipoise_version(),
            generations=generations,
            command=command,
            extra={
                "versions": versions(),
                "tasks": {
                    **{task.name: task.summary() for task in chosen_tasks},
                    **{suite.name: suite.about for suite in chosen_suites},
                },
                "data": {
                    **{part.task.name: f"sha256:{fingerprint(part.items)}" for part in heldout},
                    **{asked.suite.name: asked.data for asked in suites},
                },
                "text": f"{plain.reference.passages} passages of {LENGTH} tokens, {text_name}",
                "sampling": sampling,
                "items": {one.questions.task.name: data_card(one.questions) for one in asked},
                "mitigations": mitigation_cards(contenders),
                "cost": ledger.as_dict(),
                **side_effects(of_suites, the_targeted, level),
                **({} if calibrated is None else {"guarantee": calibrated.as_dict()}),
                **({"tokens": [word.string for word in words]} if words else {}),
            },
        )
        scores = item_scores(subject, measured) if folder is not None and heldout else None
    if folder is not None:
        write_results(results, folder, scores=scores, force=force)
    progress(1.0, "done")
    return results


def write_results(
    results: Results, folder: str | os.PathLike[str], *, scores: str | None = None, force: bool = False
) -> None:
    """Write ``results.json`` and ``report.html``, and ``scores.jsonl`` if given; existing ones only with ``force``.

    The page is rendered before anything is written, so that a failure leaves nothing behind.
    """
    target = free_outputs(folder, OUTPUTS, force=force)
    page = render_page(results)
    if scores is None:
        (target / SCORES).unlink(missing_ok=True)  # of other results
    else:
        write_atomic(target / SCORES, scores, force=force)
    results.write(target / OUTPUTS[0], force=force)
    write_atomic(target / OUTPUTS[1], page, force=force)


def _contenders(
    given: Source | Mapping[int, Source] | None, seeds: tuple[int, ...], file: str | None
) -> tuple[Contender, ...]:
    if given is None:
        return ()
    found, name = the_mitigations(given, seeds)
    warn_of_seeds(name, found)
    return (Contender(found[seeds[0]].method, found, file or name),)


def _advice(advice: Recommendation, contender: Contender) -> Advice:
    fields = advice.as_dict()
    steered = advice.strength not in (None, 0)
    return Advice(
        mitigation=contender.name if steered else None,
        strength=None if steered and not contender.dial else advice.strength,
        reason=advice.reason,
        budgets=fields["budgets"],  # type: ignore[arg-type]
        extra={"certain": advice.certain, "keep": advice.keep},
    )
