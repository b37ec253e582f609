"""The settings of an audit, every strength of every kept share, and measuring tasks at each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import InputError
from ..methods.mitigation import Mitigation, Steering
from .estimates import Measured
from .ledger import Ledger
from .measure import Acting, Answers, TextMeasure, measure_at
from .progress import Report
from .runs import BASE, Contender, Setting, Subject


def the_settings(
    contenders: Sequence[Contender], grid: Sequence[float], keep: Sequence[float]
) -> tuple[Setting, ...]:
    """Every strength of every kept share of every contender. Raises :class:`InputError` for a share that can't be."""
    if keep and not contenders:
        raise InputError("--keep needs an intervention: give --intervention as well")
    for share in keep:
        if not 0 < share <= 1:
            raise InputError(f"keep must be a share above 0 and up to 1, not {share:g}")
    if keep and not all(isinstance(one, Steering) for each in contenders for one, _ in each.distinct()):
        raise InputError(
            "--keep ranks the entries of edits of activations of one token scope, and this has several scopes, "
            "or a part that is no such edit: leave --keep out, or audit the files one by one"
        )
    shares: list[float | None] = [None, *dict.fromkeys(keep)]
    return tuple(
        Setting(each.name, share, strength)
        for each in contenders
        for share in shares
        for strength in each.strengths(grid)
    )


def measure_settings(
    subject: Subject, settings: Sequence[Setting], ledger: Ledger, report: Report
) -> dict[Setting, list[Measured]]:
    """Every setting, the base model first; for each, one :class:`Measured` a task."""
    total = 1 + sum(len(subject.contender(str(each.mitigation)).distinct()) for each in settings)
    done = 0

    def step(message: str) -> None:
        nonlocal done
        report(done / total, message)
        done += 1

    step("measuring the base model")
    plain = Acting(ledger)
    answers = [one.questions.measure(subject.loaded, one.encoded, acting=plain) for one in subject.asked]
    unsteered = dict.fromkeys(subject.seeds, subject.text.measure(subject.loaded, acting=plain))
    found = {BASE: [_measured(subject, one, unsteered) for one in answers]}
    for setting in settings:
        by_task: list[dict[int, Answers]] = [{} for _ in subject.asked]
        texts: dict[int, TextMeasure] = {}
        distinct = subject.contender(str(setting.mitigation)).distinct()
        for whole, seeds in distinct:
            of_seed = "" if len(distinct) == 1 else f", seed {', '.join(map(str, seeds))}"
            step(f"measuring λ = {setting.strength:g}{_of_kept(setting.keep)}{of_seed}")
            answers, text = measure_at(
                subject.loaded,
                subject.asked,
                subject.text,
                kept_share(whole, setting.keep),
                setting.strength,
                seeds,
                ledger,
            )
            for number, of_task in enumerate(answers):
                by_task[number] |= of_task
            texts |= dict.fromkeys(seeds, text)
        found[setting] = [_measured(subject, of_task, texts) for of_task in by_task]
    return found


def kept_share(whole: Mitigation, keep: float | None) -> Mitigation:
    """The mitigation with this share of its entries, the strongest; None is all of them."""
    if keep is None or not isinstance(whole, Steering):
        return whole
    return Steering(whole.intervention.sparsify(keep))


def _of_kept(keep: float | None) -> str:
    return "" if keep is None else f", strongest {100 * keep:g} %"


def _measured(subject: Subject, answers: Mapping[int, Answers], texts: Mapping[int, TextMeasure]) -> Measured:
    seeds = subject.seeds
    return Measured(tuple(answers[seed] for seed in seeds), tuple(texts[seed] for seed in seeds))
