"""What is compared: methods fitted, sums put together, and their curves measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from ..methods.mitigation import Mitigation, Steering, together
from ..models import LoadedModel
from ..tasks import Task
from .bench import Bench
from .cautions import warn_of_meeting
from .comparison import Candidacy
from .entries import Entry, Given
from .estimates import Measured
from .fits import Fits, Fitted, file_name
from .inputs import SEED_FIELD
from .progress import Report, part
from .runs import BASE, Contender, Setting


def fit_all(
    loaded: LoadedModel,
    task: Task,
    entries: Sequence[Entry],
    seeds: Sequence[int],
    fits: Fits,
    text: Sequence[str],
    report: Report,
) -> dict[tuple[str, int], Fitted]:
    """Every method once a seed, by label and seed."""
    wanted = {fit.label: fit for entry in entries for fit in entry.fits}
    total = len(wanted) * len(seeds)
    found: dict[tuple[str, int], Fitted] = {}
    for seed in seeds:
        for label, fit in wanted.items():
            own = part(report, len(found) / total, (len(found) + 1) / total)
            found[label, seed] = fits.fit(loaded, task, fit, seed, text, own)
    return found


def candidacy_of(
    entry: Entry, seeds: Sequence[int], fitted: Mapping[tuple[str, int], Fitted], grid: Sequence[float]
) -> Candidacy:
    """The entry's sum for each seed; what is one value for all seeds stays one."""
    whole: dict[int, Mitigation] = {}
    known: dict[tuple[int, ...], Mitigation] = {}
    files: dict[str, None] = {}
    seconds = []
    for seed in seeds:
        parts = []
        for term in entry.terms:
            if isinstance(term, Given):
                parts.append(term.mitigations[seed])
                names = [] if term.name is None else [term.name]
            else:
                own = fitted[term.label, seed]
                parts.append(own.mitigation)
                seconds.append(own.seconds)
                names = [] if own.file is None else [own.file]
            files |= dict.fromkeys(names)
        key = tuple(map(id, parts))
        known.setdefault(key, parts[0] if len(parts) == 1 else together(parts))
        whole[seed] = known[key]
    methods = dict.fromkeys(
        term.mitigations[seeds[0]].method if isinstance(term, Given) else term.method for term in entry.terms
    )
    terms = [fitted[term.label, seed] for term in entry.fits for seed in seeds[:1]]
    contender = Contender(entry.name, whole, _called(entry, seeds, fitted))
    return Candidacy(
        contender,
        tuple(methods),
        tuple(files),
        fmean(seconds) * len(entry.fits) if seconds else None,
        contender.strengths(grid),
        {fit.label: _facts(one.mitigation) for fit, one in zip(entry.fits, terms, strict=True)},
    )


def _called(entry: Entry, seeds: Sequence[int], fitted: Mapping[tuple[str, int], Fitted]) -> str | None:
    """The sum of the terms' files, as ``--intervention`` takes it: ``{seed}`` stands where each seed has its own."""
    own = SEED_FIELD if len(seeds) > 1 else None
    names = []
    for term in entry.terms:
        if isinstance(term, Given):
            names.append(term.name)
        elif fitted[term.label, seeds[0]].file is not None:
            names.append(file_name(term.label, own))
    return "+".join(name for name in names if name) or None


def _facts(mitigation: Mitigation) -> dict[str, object]:
    """What a method says about how it found this: its settings, and its choices."""
    instruction = getattr(mitigation, "instruction", None)
    origin = mitigation.intervention if isinstance(mitigation, Steering) else mitigation
    provenance = getattr(origin, "provenance", None)
    said = {} if instruction is None else {"instruction": instruction}
    return said if provenance is None else {**said, **provenance.config}


def warn_of_terms(entries: Sequence[Entry], fitted: Mapping[tuple[str, int], Fitted], seed: int) -> None:
    """Say where terms of a sum edit the same site."""
    for entry in entries:
        terms = [
            (term.name or entry.name, term.mitigations[seed])
            if isinstance(term, Given)
            else (term.label, fitted[term.label, seed].mitigation)
            for term in entry.terms
        ]
        warn_of_meeting(terms)


def curves(
    bench: Bench, candidacies: Sequence[Candidacy], seeds: Sequence[int], report: Report
) -> dict[Setting, list[Measured]]:
    """The base model and every mitigation at every strength of its curve, held-out and validation items alike."""
    total = 1 + sum(len(one.strengths) * len(one.contender.distinct()) for one in candidacies)
    done = 0

    def step(message: str) -> None:
        nonlocal done
        report(done / total, message)
        done += 1

    sets = ("heldout", "validation")
    step("measuring the base model")
    bench.measure(None, 0.0, seeds, sets)
    none: list[Mitigation | None] = [None] * len(seeds)
    found = {BASE: [bench.measured(none, [0.0] * len(seeds), seeds)]}
    for one in candidacies:
        name, distinct = one.contender.name, one.contender.distinct()
        for strength in one.strengths:
            for mitigation, own in distinct:
                of_seed = "" if len(distinct) == 1 else f", seed {', '.join(map(str, own))}"
                step(f"measuring {name} at λ = {strength:g}{of_seed}")
                bench.measure(mitigation, strength, own, sets)
            each = [one.contender.mitigations[seed] for seed in seeds]
            found[Setting(name, None, strength)] = [bench.measured(each, [strength] * len(seeds), seeds)]
    return found
