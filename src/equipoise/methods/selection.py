"""Choosing where and how strongly to steer, on validation data: coarse to fine, and never more than the budgets allow.

Methods offer candidates (a layer, a number of heads), each an intervention at dial 1 whose effect grows with the dial.
Near the base model the divergence grows with the dial's square, so that one measurement tells how far a candidate may
be turned; what is compared is the bias there and at smaller turns. What is not needed to reject a candidate is not
measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ..errors import InputError
from ..interventions import Intervention
from .settings import require, require_budget
from .validation import Validated, Validation

# Aiming at the budget itself would miss it half the time.
_AIM = 0.85
# Places of a line that are tried first; of several long lines fewer each.
_COARSE = 6
_COARSE_IN_ALL = 8
_NEAR = 1e-9


@dataclass(frozen=True)
class Budget:
    """What steering may cost on validation data: nats a token on plain text, and a drop of unambiguous accuracy."""

    kl: float = 0.05
    accuracy_drop: float = 0.01

    def allows(self, found: Validated, base: Validated) -> bool:
        """Whether both are kept."""
        return found.kl <= self.kl and found.accuracy >= base.accuracy - self.accuracy_drop - _NEAR


@dataclass(eq=False)
class Candidate:
    """One place to steer: how the choice is recorded, and the intervention at dial 1, made when it is needed.

    ``make`` raises :class:`InputError` where there is nothing to steer by; such a place is passed over.
    """

    choice: Mapping[str, Any]
    make: Callable[[], Intervention]

    @cached_property
    def unit(self) -> Intervention:
        """The intervention at dial 1."""
        return self.make()

    def at(self, dial: float) -> Intervention:
        """The intervention at another dial."""
        return self.unit if dial == 1 else dial * self.unit


@dataclass(frozen=True)
class Dial:
    """What a candidate can be turned by.

    Attributes:
        name: the setting's name, in records.
        fixed: the user's value; None to choose one.
        guess: where to begin.
        most: the largest value that means anything; where it is within the budget it is taken.
        fractions: of the largest turn within the budget, what else to try.
    """

    name: str
    fixed: float | None
    guess: float
    most: float = math.inf
    fractions: tuple[float, ...] = (0.5, 0.75, 0.25)


@dataclass(frozen=True, eq=False)
class Chosen:
    """What was chosen, and how it does at λ = 1.

    Attributes:
        within: whether it keeps the budgets; what the user fixed may not, and no candidate need.
        tried: how many candidates were measured.
    """

    choice: Mapping[str, Any]
    intervention: Intervention
    figures: Validated
    base: Validated
    within: bool
    tried: int

    @property
    def better(self) -> bool:
        """Whether it has less bias than the model itself, on validation data."""
        return self.figures.bias < self.base.bias

    def record(self) -> dict[str, Any]:
        """For the provenance."""
        return {
            "chosen": dict(self.choice),
            "validation": {"base": asdict(self.base), "fitted": asdict(self.figures)},
            "within_budget": self.within,
            "better_than_base": self.better,
            "candidates_tried": self.tried,
        }


def require_budgets(method: str, settings: object) -> None:
    """Raise InputError for a KL budget that isn't above 0 or a negative accuracy drop."""
    require_budget(method, settings, "kl")
    require(method, settings, {"accuracy_drop": 0.0})


class Selection:
    """The search; :func:`select` runs it."""

    def __init__(
        self, search: Validation, budget: Budget, dial: Dial, say: Callable[[float, str], None]
    ) -> None:
        self._search, self._budget, self._dial, self._say = search, budget, dial, say
        self._accuracy = search.unambiguous(None)[1]
        self._guess = dial.guess
        self._best: tuple[tuple[float, ...], Candidate, float] | None = None
        self._reach: dict[int, float] = {}
        self._first: InputError | None = None
        self.tried = 0

    def run(self, lines: Sequence[Sequence[Candidate]]) -> tuple[Candidate, float]:
        """The best candidate and its dial; if none can be made, raises what the first of them says."""
        long = sum(len(line) > 1 for line in lines)
        each = min(_COARSE, max(3, _COARSE_IN_ALL // max(1, long)))
        total = sum(min(len(line), each) for line in lines) + 6
        measured: dict[int, tuple[float, ...]] = {}

        def measure(line: int, place: int) -> tuple[float, ...]:
            candidate = lines[line][place]
            if id(candidate) not in measured:
                self._say(min(0.95, self.tried / total), f"trying {_words(candidate.choice)}")
                measured[id(candidate)] = self._measure(candidate, self._dial.fractions[:1])
            return measured[id(candidate)]

        ranked = []
        for number, line in enumerate(lines):
            for place in coarse(len(line), each):
                ranked.append((measure(number, place), number, place))
        if self._best is None:
            ranked = [
                (measure(number, at), number, at)
                for number in range(len(lines))
                for at in range(len(lines[number]))
            ]
        if self._best is None and self._first is not None:
            raise self._first
        _, number, place = min(ranked)
        stride = math.ceil(len(lines[number]) / each)
        while stride > 1:
            stride = math.ceil(stride / 2)
            near = [p for p in (place - stride, place, place + stride) if 0 <= p < len(lines[number])]
            place = min(near, key=lambda p: measure(number, p))
        assert self._best is not None
        _, candidate, _ = self._best
        self._measure(candidate, self._dial.fractions[1:], again=True)
        return self._best[1], self._best[2]

    def _measure(
        self, candidate: Candidate, fractions: Sequence[float], *, again: bool = False
    ) -> tuple[float, ...]:
        """The best key (lower is better) of the candidate over some turns of the dial."""
        if not again:
            try:
                candidate.unit  # noqa: B018
            except InputError as error:
                self._first = self._first or error
                return (math.inf,)
            self.tried += 1
        if self._dial.fixed is not None:
            return self._key(candidate, self._dial.fixed, None) if not again else (math.inf,)
        if again:
            reach = self._reach[id(candidate)]
            return min((self._key(candidate, reach * f, 0.0) for f in fractions), default=(math.inf,))
        reach, kl = self.reach(candidate)
        self._reach[id(candidate)] = reach
        keys = [self._key(candidate, reach, kl)]
        keys += [self._key(candidate, reach * f, kl * f * f) for f in fractions]
        return min(keys)

    def reach(self, candidate: Candidate) -> tuple[float, float]:
        """The largest dial within the KL budget, and the divergence expected there, from one or two measurements."""
        budget = self._budget.kl
        most = self._dial.most
        dial = self._guess if most == math.inf else most
        for _ in range(4):
            kl = self._search.kl(candidate.at(dial))
            if dial == most and kl <= budget:
                return dial, kl
            if kl <= 0:
                wanted = 8 * dial
            else:
                wanted = dial * math.sqrt(_AIM * budget / kl)
            wanted = min(wanted, most)
            # The square law holds near the measurement; far from it another one is worth its price.
            if 0.6 <= wanted / dial <= 1.7:
                break
            dial = min(max(wanted, dial / 16), dial * 16)
        self._guess = wanted
        return wanted, kl * (wanted / dial) ** 2

    def _key(self, candidate: Candidate, dial: float, kl: float | None) -> tuple[float, ...]:
        """(budgets broken, bias): whoever keeps them comes first, then the least bias; among breakers the least KL."""
        intervention = candidate.at(dial)
        if kl is None:
            kl = self._search.kl(intervention)
        if kl > self._budget.kl:
            key: tuple[float, ...] = (2.0, kl)
        else:
            key = (0.0, self._search.bias(intervention))
            # Accuracy is measured only where it can matter.
            if self._best is None or key < self._best[0]:
                accuracy = self._search.unambiguous(intervention)[1]
                if accuracy < self._accuracy - self._budget.accuracy_drop - _NEAR:
                    key = (1.0, self._accuracy - accuracy, key[1])
        if self._best is None or key < self._best[0]:
            self._best = key, candidate, dial
        return key


def select(
    search: Callable[[], Validation],
    final: Callable[[], Validation],
    lines: Sequence[Sequence[Candidate]],
    *,
    budget: Budget,
    dial: Dial,
    say: Callable[[float, str], None],
) -> Chosen:
    """The candidate and dial of the lowest bias within the budgets.

    Args:
        search: makes the validation that candidates are compared on; small. With one candidate at a fixed dial there is
            nothing to compare.
        final: makes the validation whose figures are recorded; larger. What exceeds the KL budget there is turned
            down until it is within, unless the dial is fixed.
        lines: candidates in lines along which neighbours resemble each other: every few are tried, then the
            neighbours of the best.
        budget: what steering may cost.
        dial: see :class:`Dial`.
        say: called with the share done and a message.
    """
    tried = 1
    if dial.fixed is not None and [len(line) for line in lines] == [1]:
        candidate, value = lines[0][0], dial.fixed
    else:
        selection = Selection(search(), budget, dial, say)
        candidate, value = selection.run(lines)
        tried = selection.tried
    say(0.95, f"measuring {_words(candidate.choice)}")
    validation = final()
    base = validation(None)
    found = validation(candidate.at(value))
    for _ in range(3):
        if dial.fixed is not None or found.kl <= budget.kl:
            break
        value *= math.sqrt(_AIM * budget.kl / found.kl)
        found = validation(candidate.at(value))
    for _ in range(3):
        if dial.fixed is not None or budget.allows(found, base):
            break
        value /= 2
        found = validation(candidate.at(value))
    return Chosen(
        {**candidate.choice, dial.name: value},
        candidate.at(value),
        found,
        base,
        budget.allows(found, base),
        tried,
    )


def coarse(count: int, places: int = _COARSE) -> list[int]:
    """At most so many places of ``count``, evenly spread, each the middle of what it stands for."""
    stride = math.ceil(count / places)
    return sorted({min(count - 1, start + stride // 2) for start in range(0, count, stride)})


def _words(choice: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in choice.items())
