"""From what was measured to the numbers of a results file: every one with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..errors import InputError
from ..metrics import Bootstrap, Estimate, Judgements, Responses, Statistic, Texts, TooFewClusters
from ..reports import Group
from .measure import Answers, Questions, TextMeasure

Estimates = dict[str, Estimate | None]

# name in results.json -> statistic, and whether it reads what was said rather than chosen among the options.
_ANSWERS: dict[str, tuple[Statistic[Responses], bool]] = {
    "per_occupation_bias": (metrics.per_occupation_bias, False),
    "greedy_per_occupation_bias": (metrics.greedy_per_occupation_bias, False),
    "stereotype_gap": (metrics.stereotype_gap, False),
    "greedy_stereotype_gap": (metrics.greedy_stereotype_gap, False),
    "abstention_rate": (metrics.abstention_rate, False),
    "greedy_abstention_rate": (metrics.greedy_abstention_rate, True),
    "fairness": (metrics.fairness, False),
    "attribute_kl": (metrics.attribute_kl, False),
}
_TWO_WAY = ("stereotype_gap", "greedy_stereotype_gap")
_FAIR_CLASS = ("fairness", "attribute_kl")
_ABSTENTION = ("abstention_rate", "greedy_abstention_rate")


@dataclass(frozen=True, eq=False)
class Measured:
    """One task at one setting: answers and text, one entry a seed, in the seeds' order."""

    answers: tuple[Answers, ...]
    texts: tuple[TextMeasure, ...]

    @property
    def responses(self) -> list[Responses]:
        """The ambiguous answers of every seed."""
        return [answers.responses for answers in self.answers]

    @property
    def judged(self) -> list[Judgements]:
        """The unambiguous answers of every seed that has some."""
        return [answers.judged for answers in self.answers if answers.judged is not None]

    @property
    def n(self) -> int:
        """Ambiguous items, all seeds together."""
        return sum(map(len, self.responses))


@dataclass(frozen=True, eq=False)
class Intervals:
    """The draws behind all intervals of one task, shared by its strengths and seeds.

    ``exhaustive`` is the task's: without it what goes to none of the options is no abstention, and both rates are None.
    """

    answers: Bootstrap
    judged: Bootstrap | None
    text: Bootstrap
    exhaustive: bool

    def metrics(self, now: Measured, base: Measured) -> Estimates:
        """All metrics of a setting."""
        judged = now.judged
        found: Estimates = {
            name: self.answers.estimate(statistic, _read(now, said)) if self._tells(name) else None
            for name, (statistic, said) in _of(now).items()
        }
        found["unambiguous_accuracy"] = self._judged(metrics.accuracy, judged)
        name = metrics.best_baseline(judged)
        found["trivial_accuracy"] = (
            None if name is None else self._judged(metrics.accuracy, [j.baseline(name) for j in judged])
        )
        found["kl_to_base"] = self.text.estimate(metrics.kl_to_base, _divergences(now))
        found["perplexity"] = self.text.estimate(metrics.perplexity, _likelihoods(now))
        ratios = [
            text.likelihood.relative_to(before.likelihood)
            for text, before in zip(now.texts, base.texts, strict=True)
        ]
        found["perplexity_ratio"] = self.text.estimate(metrics.perplexity, ratios)
        return found

    def changes(self, now: Measured, base: Measured) -> Estimates:
        """Paired differences ``now`` minus ``base``, on the same draws."""
        found: Estimates = {
            name: self.answers.difference(statistic, _read(now, said), _read(base, said))
            if self._tells(name)
            else None
            for name, (statistic, said) in _of(now).items()
        }
        found["unambiguous_accuracy"] = (
            self.judged.difference(metrics.accuracy, now.judged, base.judged)
            if self.judged is not None and now.judged
            else None
        )
        found["perplexity"] = self.text.difference(metrics.perplexity, _likelihoods(now), _likelihoods(base))
        return found

    def bias_change(self, now: Measured, before: Measured) -> Estimate:
        """The paired difference of per-occupation bias, ``now`` minus ``before``."""
        return self.answers.difference(metrics.per_occupation_bias, now.responses, before.responses)

    def groups(self, now: Measured) -> tuple[Group, ...]:
        """P(pro | an answer) of every group; where outcomes are others, its bias and the share of each of them."""
        if _two_way(now):
            shares = self.answers.group_shares(now.responses, "pro")
            # Against equal shares the bias is |2 p − 1|; against others p alone doesn't tell it.
            biases = self.answers.group_biases(now.responses) if _has_targets(now) else {}
            return tuple(Group(name, share, share.n, biases.get(name)) for name, share in shares.items())
        outcomes = {
            outcome: self.answers.group_shares(now.responses, outcome)
            for outcome in now.responses[0].outcomes
        }
        return tuple(
            Group(name, None, bias.n, bias, {outcome: of[name] for outcome, of in outcomes.items()})
            for name, bias in self.answers.group_biases(now.responses).items()
        )

    def strata(self, now: Measured, strata: Mapping[str, str]) -> Estimates:
        """The stereotype gap within each stratum of the groups: of items with one group, in strata of enough groups.

        Args:
            now: what was measured.
            strata: group -> the stratum that it belongs to, as :meth:`equipoise.tasks.Task.strata` says it.
        """
        found: Estimates = {}
        for name in sorted(set(strata.values())) if _two_way(now) else ():
            samples = [
                one.take([len(groups) == 1 and strata.get(groups[0]) == name for groups in one.groups])
                for one in now.responses
            ]
            try:
                found[name] = self.answers.estimate(metrics.stereotype_gap, samples)
            except TooFewClusters:
                continue
        return found

    def _tells(self, name: str) -> bool:
        return self.exhaustive or name not in _ABSTENTION

    def _judged(self, statistic: Statistic[Judgements], judged: list[Judgements]) -> Estimate | None:
        return None if self.judged is None or not judged else self.judged.estimate(statistic, judged)


def draw_items(questions: Questions, level: float) -> tuple[Bootstrap, Bootstrap | None]:
    """The draws for ambiguous and for unambiguous items (None if there are none); nothing need be measured for them.

    Raises :class:`InputError` if a seed has too few groups or templates.
    """
    name = f"task {questions.task.name!r}"
    parts = {}
    for part in ("ambiguous", "unambiguous"):
        groups: set[str] = set()
        templates: set[str] = set()
        for seed in questions.rows:
            items = [questions.items[row] for row in questions.of_part(part, seed)]
            if items:
                own_groups = {group for item in items for group in item.groups}
                own_templates = {item.template for item in items}
                _bootstrap(own_groups, own_templates, level, f"{name}, {part} part, seed {seed}", draws=1)
                groups |= own_groups
                templates |= own_templates
        parts[part] = _bootstrap(groups, templates, level, name) if groups else None
    answers = parts["ambiguous"]
    assert answers is not None
    return answers, parts["unambiguous"]


def draw_text(passages: Sequence[str], level: float) -> Bootstrap:
    """The draws for plain text, by the passages' names. Raises :class:`InputError` for too few."""
    remedy = "give longer or more passages (--text, --passages)"
    return _bootstrap(set(passages), set(), level, "the plain text", remedy=remedy)


def _bootstrap(
    groups: set[str],
    templates: set[str],
    level: float,
    what: str,
    draws: int = 1000,
    remedy: str = "give more, or raise --limit",
) -> Bootstrap:
    try:
        return Bootstrap(groups, templates, level=level, draws=draws)
    except TooFewClusters as error:
        raise InputError(f"{what}: {error}; {remedy}") from None


def _two_way(measured: Measured) -> bool:
    return {"pro", "anti"} <= set(measured.responses[0].outcomes)


def _has_targets(measured: Measured) -> bool:
    return any(responses.targets is not None for responses in measured.responses)


def _of(measured: Measured) -> dict[str, tuple[Statistic[Responses], bool]]:
    left_out = () if _two_way(measured) else _TWO_WAY
    if not metrics.has_fair_class(measured.responses[0]):
        left_out = (*left_out, *_FAIR_CLASS)
    return {name: entry for name, entry in _ANSWERS.items() if name not in left_out}


def _read(measured: Measured, said: bool) -> list[Responses]:
    return [answers.said if said else answers.responses for answers in measured.answers]


def _likelihoods(measured: Measured) -> list[Texts]:
    return [text.likelihood for text in measured.texts]


def _divergences(measured: Measured) -> list[Texts]:
    return [text.divergence for text in measured.texts]


def mean_of_shares(
    values: Sequence[float] | NDArray[np.float64], groups: Sequence[str], level: float
) -> Estimate:
    """The mean of values [n] in [0, 1], its interval over ``groups``; without one where these are too few."""
    clipped = np.clip(values, 0.0, 1.0)
    try:
        return Bootstrap(set(groups), level=level).estimate(
            metrics.mean_share, metrics.Shares(clipped, groups)
        )
    except TooFewClusters:
        return Estimate.alone(float(np.mean(values)), len(clipped))
