"""Public suites at every setting of an audit, and the runs that come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..methods.mitigation import Mitigation
from ..reports import Run
from ..tasks import Readings
from .ledger import Ledger
from .progress import Report
from .runs import BASE, Setting, Subject
from .suites import SuiteIntervals, SuiteQuestions

Asked = Mapping[Setting, Sequence[Sequence[Readings]]]
"""For each setting, for each suite, the readings of each seed's intervention."""


def ask_suites(
    subject: Subject,
    settings: Sequence[Setting],
    suites: Sequence[SuiteQuestions],
    kept: Callable[[Mitigation, float | None], Mitigation],
    ledger: Ledger,
    report: Report,
) -> Asked:
    """Every suite at every setting, the base model first; ``kept`` gives a mitigation as the setting wants it.

    ``ledger`` says where answers are kept.
    """
    if not suites:
        return {}
    loaded, seeds = subject.loaded, subject.seeds
    total = len(suites) * (1 + sum(len(subject.contender(str(s.mitigation)).distinct()) for s in settings))
    done = 0

    def step(suite: SuiteQuestions, strength: float) -> None:
        nonlocal done
        report(done / total, f"asking {suite.suite.name} at λ = {strength:g}")
        done += 1

    base = []
    for suite in suites:
        step(suite, 0.0)
        base.append([suite.ask(loaded, ledger=ledger)] * len(seeds))
    found: dict[Setting, Sequence[Sequence[Readings]]] = {BASE: base}
    for setting in settings:
        by_suite: list[dict[int, Readings]] = [{} for _ in suites]
        for whole, own in subject.contender(str(setting.mitigation)).distinct():
            one = kept(whole, setting.keep)
            with one.attach(loaded, setting.strength):
                for suite, of_seed in zip(suites, by_suite, strict=True):
                    step(suite, setting.strength)
                    of_seed |= dict.fromkeys(own, suite.ask(loaded, one, setting.strength, ledger))
        found[setting] = [[of_seed[seed] for seed in seeds] for of_seed in by_suite]
    return found


def suite_runs(
    subject: Subject, asked: Asked, suites: Sequence[SuiteQuestions], level: float, report: Report
) -> list[Run]:
    """A run for each suite and setting, and with several seeds one for each of them as well."""
    runs = []
    several = len(subject.seeds) > 1
    for number, suite in enumerate(suites):
        base = asked[BASE][number]
        intervals = SuiteIntervals.of(base[0], level)
        for done, (setting, of_suites) in enumerate(asked.items()):
            report((number + done / len(asked)) / len(suites), "computing intervals of suites")
            now = of_suites[number]
            runs.append(_run(subject, suite, setting, None if several else 0, (now, base), intervals))
            for place in range(len(subject.seeds) if several else 0):
                pair = ([now[place]], [base[place]])
                runs.append(_run(subject, suite, setting, place, pair, intervals))
    return runs


def _run(
    subject: Subject,
    suite: SuiteQuestions,
    setting: Setting,
    place: int | None,
    measured: tuple[Sequence[Readings], Sequence[Readings]],
    intervals: SuiteIntervals,
) -> Run:
    now, base = measured
    contender = None if setting.mitigation is None else subject.contender(setting.mitigation)
    extra: dict[str, object] = {
        "suite": True,
        "axes": {name: reading.axis for name, reading in now[0].items()},
        "ideals": {name: reading.ideal for name, reading in now[0].items()},
    }
    if contender is not None:
        p_values = intervals.p_values(now, base)
        extra["p_values"] = {name: None if np.isnan(p) else p for name, p in p_values.items()}
    return Run(
        task=suite.suite.name,
        split="all",
        mitigation=setting.mitigation,
        strength=setting.strength if contender is None or contender.dial else None,
        n=len(suite.drawn) * len(now),
        metrics=intervals.metrics(now),
        file=None if contender is None else contender.file,
        keep=setting.keep,
        seed=None if place is None else subject.seeds[place],
        changes={} if contender is None else intervals.changes(now, base),
        extra=extra,
    )
