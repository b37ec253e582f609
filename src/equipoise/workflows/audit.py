"""Audit: bias and its price over a grid of strengths, and the strength to use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..errors import InputError
from ..files import write_atomic
from ..interventions import Intervention, attach
from ..metrics import Budgets, OperatingPoint, Recommendation, recommend
from ..models import LoadedModel, describe, load
from ..reports import Advice, Generation, Results, Run, render_page
from ..tasks import Task, fingerprint
from ..versions import equipoise_version, versions
from .about import about
from .estimates import Intervals, Measured, best_baseline
from .generate import generate, sample_prompts
from .inputs import (
    Source,
    check_seeds,
    check_strengths,
    fraction,
    free_outputs,
    the_interventions,
    the_tasks,
    the_text,
)
from .measure import Answers, Heldout, PlainText, TextMeasure
from .progress import Report, part, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GRID = tuple(round(0.1 * step, 1) for step in range(11))
LIMIT = 160
PASSAGES = 20
LENGTH = 64
OUTPUTS = ("results.json", "report.html")
NEW_TOKENS = 24
TEMPERATURE = 0.8


@dataclass(frozen=True)
class Setting:
    """One mitigation setting: the kept share of its entries (None: all) and λ."""

    keep: float | None
    strength: float


BASE = Setting(None, 0.0)


@dataclass(frozen=True, eq=False)
class _Audit:
    """What an audit is about; everything in it is checked."""

    loaded: LoadedModel
    heldout: tuple[Heldout, ...]
    text: PlainText
    seeds: tuple[int, ...]
    interventions: Mapping[int, Intervention]
    file: str | None
    settings: tuple[Setting, ...]

    @property
    def mitigation(self) -> str | None:
        """The method's name; None for the base model alone."""
        first = next(iter(self.interventions.values()), None)
        return None if first is None else first.provenance.method


def audit(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    tasks: str | Task | Sequence[str | Task],
    *,
    intervention: Source | Mapping[int, Source] | None = None,
    strengths: Sequence[float] = GRID,
    seeds: Sequence[int] = (0,),
    target: float = 0.05,
    kl_budget: float | None = 0.05,
    accuracy_drop: float | None = 0.01,
    keep: Sequence[float] = (),
    limit: int | None = LIMIT,
    text: str | os.PathLike[str] | Sequence[str] | None = None,
    passages: int = PASSAGES,
    level: float = 0.95,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    file: str | None = None,
    command: str | None = None,
    progress: Report = silent,
) -> Results:
    """Measure ``tasks`` on held-out occupations and templates, without and with an intervention.

    Args:
        source: see :func:`equipoise.models.load`.
        tasks: names as on the command line (``pronouns``, ``winobias:PATH``) or tasks.
        intervention: a value, a file, a sum of files, a file name with ``{seed}`` in it, or a mapping from seed to
            any of these (an intervention fitted on each seed's split). None measures the base model alone.
        strengths: λ ≥ 0; the base model, λ = 0, is always measured.
        seeds: each decides a split. Several give each seed's numbers, and their mean as the runs without a seed.
        target, kl_budget, accuracy_drop: what the recommended strength must reach and may cost: per-occupation
            bias, nats a token on plain text, and a drop of unambiguous accuracy. None sets no limit.
        keep: shares in (0, 1]; for each, the intervention with only its strongest entries is measured as well.
        limit: at most so many held-out items of each part and seed; None takes all.
        text: a text file, or passages, for KL and perplexity; by default our own, the half that no fit looks at.
        passages: how many of them, 64 tokens each.
        level: coverage of the intervals.
        dtype, device: how to load the model.
        out: a folder for ``results.json`` and ``report.html``; None writes nothing.
        force: overwrite them.
        file: how to call the intervention's file in the results; by default as it was given.
        command: what made these results, for the report.
        progress: called with the fraction done and a message.

    Raises :class:`InputError`, before anything long is done and with nothing written, for bad input, an intervention
    of another model, too few items for an interval, or existing outputs.
    """
    folder = None if out is None else free_outputs(out, OUTPUTS, force=force)
    budgets = Budgets(
        bias=fraction(target, "the target") or 0.0,
        kl=fraction(kl_budget, "the KL budget", float("inf")),
        accuracy_drop=fraction(accuracy_drop, "the accuracy drop"),
    )
    if not 0 < level < 1:
        raise InputError(f"the level of intervals is {level:g}, but must be between 0 and 1")
    if limit is not None and limit < 1:
        raise InputError(f"the limit is {limit}, but must be at least 1")
    the_seeds = check_seeds(seeds)
    settings = _settings(check_strengths(strengths), keep, intervention is not None)
    found, name = ({}, None) if intervention is None else the_interventions(intervention, the_seeds)
    chosen_tasks = the_tasks(tasks)
    heldout = tuple(Heldout.of(task, the_seeds, limit) for task in chosen_tasks)
    texts, text_name = the_text(text, "report")
    names = [f"passage {number}" for number in range(min(passages, len(texts)))]
    for part_of_task in heldout:
        Intervals.of(part_of_task, names, level)
    progress(0.0, "loading the model")
    loaded = load(source, dtype=dtype, device=device)
    for one in {id(value): value for value in found.values()}.values():
        one.check(loaded)
    for part_of_task in heldout:
        part_of_task.encode(loaded)
    plain = PlainText.of(loaded, texts, passages=passages, length=LENGTH)
    subject = _Audit(loaded, heldout, plain, the_seeds, found, file or name, settings)

    measured = _measure(subject, part(progress, 0.02, 0.85))
    runs, points = _runs(subject, measured, level, part(progress, 0.85, 0.95))
    advice = recommend(points, budgets) if found else None
    progress(0.95, "generating")
    generations, sampling = _generations(subject, advice)
    results = Results(
        model=_model(loaded),
        seeds=the_seeds,
        runs=tuple(runs),
        recommendation=None if advice is None else _advice(advice, subject.mitigation),
        level=level,
        equipoise=equipoise_version(),
        generations=generations,
        command=command,
        extra={
            "versions": versions(),
            "tasks": {task.name: about(task) for task in chosen_tasks},
            "data": {part.task.name: f"sha256:{fingerprint(part.items)}" for part in heldout},
            "text": f"{plain.reference.passages} passages of {LENGTH} tokens, {text_name}",
            "sampling": sampling,
        },
    )
    if folder is not None:
        write_results(results, folder, force=force)
    progress(1.0, "done")
    return results


def write_results(results: Results, folder: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write ``results.json`` and ``report.html`` into ``folder``; an existing one only with ``force``.

    The page is rendered before anything is written, so that a failure leaves nothing behind.
    """
    target = free_outputs(folder, OUTPUTS, force=force)
    page = render_page(results)
    results.write(target / OUTPUTS[0], force=force)
    write_atomic(target / OUTPUTS[1], page, force=force)


def _settings(strengths: Sequence[float], keep: Sequence[float], steered: bool) -> tuple[Setting, ...]:
    if not steered:
        if keep:
            raise InputError("--keep needs an intervention: give --intervention as well")
        return ()
    for share in keep:
        if not 0 < share <= 1:
            raise InputError(f"keep must be a share above 0 and up to 1, not {share:g}")
    shares: list[float | None] = [None, *dict.fromkeys(keep)]
    return tuple(Setting(share, strength) for share in shares for strength in strengths if strength > 0)


def _measure(subject: _Audit, report: Report) -> dict[Setting, list[Measured]]:
    """Every setting, the base model first; for each, one :class:`Measured` a task."""
    distinct = {id(value): value for value in subject.interventions.values()}
    total = 1 + len(subject.settings) * len(distinct)
    done = 0

    def step(message: str) -> None:
        nonlocal done
        report(done / total, message)
        done += 1

    step("measuring the base model")
    answers = [part.measure(subject.loaded) for part in subject.heldout]
    text = subject.text.measure(subject.loaded)
    found = {BASE: [Measured(_in_order(subject, one), (text,)) for one in answers]}
    by_setting: dict[Setting, list[dict[int, Answers]]] = {
        setting: [{} for _ in subject.heldout] for setting in subject.settings
    }
    texts: dict[Setting, list[TextMeasure]] = {setting: [] for setting in subject.settings}
    for key, whole in distinct.items():
        seeds = [seed for seed in subject.seeds if id(subject.interventions[seed]) == key]
        for keep in dict.fromkeys(setting.keep for setting in subject.settings):
            intervention = whole if keep is None else whole.sparsify(keep)
            with attach(subject.loaded, intervention, 0.0) as handle:
                for setting in subject.settings:
                    if setting.keep != keep:
                        continue
                    step(f"measuring λ = {setting.strength:g}{_of_kept(keep)}{_of_seed(seeds, distinct)}")
                    handle.strength = setting.strength
                    for number, part_of_task in enumerate(subject.heldout):
                        by_setting[setting][number] |= part_of_task.measure(
                            subject.loaded, seeds=seeds, attached=handle
                        )
                    texts[setting].append(subject.text.measure(subject.loaded, attached=handle))
    for setting in subject.settings:
        found[setting] = [
            Measured(_in_order(subject, one), tuple(texts[setting])) for one in by_setting[setting]
        ]
    return found


def _of_kept(keep: float | None) -> str:
    return "" if keep is None else f", strongest {100 * keep:g} %"


def _of_seed(seeds: Sequence[int], distinct: Mapping[int, Intervention]) -> str:
    return "" if len(distinct) == 1 else f", seed {', '.join(map(str, seeds))}"


def _in_order(subject: _Audit, answers: Mapping[int, Answers]) -> tuple[Answers, ...]:
    return tuple(answers[seed] for seed in subject.seeds)


def _runs(
    subject: _Audit, measured: Mapping[Setting, Sequence[Measured]], level: float, report: Report
) -> tuple[list[Run], list[OperatingPoint]]:
    """The runs in order of task and setting, and what the recommendation looks at."""
    runs: list[Run] = []
    summaries: dict[Setting, list[Run]] = {setting: [] for setting in measured}
    total = len(subject.heldout) * len(measured)
    for number, heldout in enumerate(subject.heldout):
        intervals = Intervals.of(heldout, subject.text.names, level)
        for setting, of_tasks in measured.items():
            report((len(runs) / (len(subject.seeds) + 1)) / max(total, 1), "computing intervals")
            base, now = measured[BASE][number], of_tasks[number]
            before = _before(setting, measured, number)
            several = len(subject.seeds) > 1
            summary = _run(
                subject,
                heldout,
                setting,
                None if several else subject.seeds[0],
                (now, base, before),
                intervals,
            )
            runs.append(summary)
            summaries[setting].append(summary)
            for index, seed in enumerate(subject.seeds if several else ()):
                parts = tuple(None if m is None else _one(m, index) for m in (now, base, before))
                assert parts[0] is not None and parts[1] is not None
                runs.append(_run(subject, heldout, setting, seed, (parts[0], parts[1], parts[2]), intervals))
    points = [
        _point(setting.strength, of_tasks) for setting, of_tasks in summaries.items() if setting.keep is None
    ]
    return runs, points


def _before(setting: Setting, measured: Mapping[Setting, Sequence[Measured]], number: int) -> Measured | None:
    """The same at the next lower strength; None for the base model."""
    if setting == BASE:
        return None
    lower = [other for other in measured if other.keep == setting.keep and other.strength < setting.strength]
    nearest = max(lower, key=lambda other: other.strength, default=BASE)
    return measured[nearest][number]


def _one(measured: Measured, index: int) -> Measured:
    """One seed of several."""
    return Measured((measured.answers[index],), (measured.texts[min(index, len(measured.texts) - 1)],))


def _run(
    subject: _Audit,
    heldout: Heldout,
    setting: Setting,
    seed: int | None,
    measured: tuple[Measured, Measured, Measured | None],
    intervals: Intervals,
) -> Run:
    now, base, before = measured
    is_base = setting == BASE
    return Run(
        task=heldout.task.name,
        mitigation=None if is_base else subject.mitigation,
        strength=setting.strength,
        n=now.n,
        metrics=intervals.metrics(now, base),
        groups=intervals.groups(now),
        file=None if is_base else subject.file,
        keep=setting.keep,
        seed=seed,
        changes={} if is_base else intervals.changes(now, base),
        baseline=best_baseline(now.judged),
        extra={}
        if before is None
        else {"step": {"per_occupation_bias": intervals.step(now, before).as_dict()}},
    )


def _point(strength: float, runs: Sequence[Run]) -> OperatingPoint:
    biases = {run.task: run.metrics["per_occupation_bias"] for run in runs}
    first = runs[0].metrics
    return OperatingPoint(
        strength=strength,
        bias={task: estimate for task, estimate in biases.items() if estimate is not None},
        kl=first["kl_to_base"],
        # A task without unambiguous items has no accuracy to lose.
        accuracy={run.task: run.metrics["unambiguous_accuracy"] for run in runs},
        perplexity_ratio=first["perplexity_ratio"],
    )


def _advice(advice: Recommendation, mitigation: str | None) -> Advice:
    fields = advice.as_dict()
    return Advice(
        mitigation=None if advice.strength in (None, 0) else mitigation,
        strength=advice.strength,
        reason=advice.reason,
        budgets=fields["budgets"],  # type: ignore[arg-type]
        extra={"certain": advice.certain},
    )


def _generations(subject: _Audit, advice: Recommendation | None) -> tuple[tuple[Generation, ...], str]:
    """A few held-out prompts, greedy and sampled, without and with the intervention at the recommended strength."""
    first = subject.heldout[0]
    rows = first.of_part("ambiguous", subject.seeds[0])
    prompts = sample_prompts([first.items[row] for row in rows], count=6)
    greedy, sampled = prompts[:3], prompts[3:]
    steered = None
    strength = None if advice is None else advice.strength
    if strength:
        steered = subject.interventions[subject.seeds[0]]
    seed = subject.seeds[0]
    found = [
        *generate(
            subject.loaded, greedy, intervention=steered, strength=strength or 0.0, max_new_tokens=NEW_TOKENS
        ),
        *generate(
            subject.loaded,
            sampled,
            intervention=steered,
            strength=strength or 0.0,
            max_new_tokens=NEW_TOKENS,
            temperature=TEMPERATURE,
            seed=seed,
        ),
    ]
    return tuple(
        found
    ), f"generations: the first {len(greedy)} greedy, the others at temperature {TEMPERATURE}, seed {seed}"


def _model(loaded: LoadedModel) -> dict[str, object]:
    info = describe(loaded)
    return {
        "name": info.name,
        "architecture": info.architecture,
        "parameters": info.parameters,
        "dtype": info.dtype,
        "device": info.device,
        "blocks": info.blocks,
        "hidden_size": info.hidden_size,
        "fingerprint": info.fingerprint,
    }
