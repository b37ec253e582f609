"""The choice on validation data: an oracle whose best layer and strength are known is found, within its budgets."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch

from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention
from equipoise.methods.selection import Budget, Candidate, Chosen, Dial, coarse, select
from equipoise.methods.validation import Validated


class Oracle:
    """Stands for a Validation: KL = cost · dial², and a bias that each layer lowers to its own least value.

    An intervention of ``layer`` at dial m has the shift [layer, m].
    """

    def __init__(
        self, least: Sequence[float], best_dial: float = 1.0, harmful: frozenset[int] = frozenset()
    ) -> None:
        self.least, self.best_dial, self.harmful = least, best_dial, harmful
        self.cost, self.asked = 0.04, 0

    def _read(self, intervention: Intervention | None) -> tuple[int, float]:
        if intervention is None:
            return 0, 0.0
        ((site, edit),) = intervention.edits.items()
        assert edit.shift is not None
        return int(site.split(".")[1]), float(edit.shift[0])

    def kl(self, intervention: Intervention | None) -> float:
        self.asked += 1
        return self.cost * self._read(intervention)[1] ** 2

    def bias(self, intervention: Intervention | None) -> float:
        self.asked += 1
        layer, dial = self._read(intervention)
        return 0.3 - (0.3 - self.least[layer]) * (1 - (dial / self.best_dial - 1) ** 2)

    def unambiguous(self, intervention: Intervention | None) -> tuple[float, float]:
        layer, dial = self._read(intervention)
        return 0.0, 0.9 - (0.1 * dial if layer in self.harmful else 0.0)

    def __call__(self, intervention: Intervention | None) -> Validated:
        return Validated(self.bias(intervention), self.kl(intervention), *self.unambiguous(intervention))


def run(oracle: Any, layers: int, budget: Budget, empty: Sequence[int] = (), **dial: Any) -> Chosen:
    def make(i: int) -> Intervention:
        if i in empty:
            raise InputError(f"block {i}: no direction")
        return Intervention({f"block.{i}.out": AffineEdit(shift=torch.ones(1))})

    line = [Candidate({"layer": i}, partial(make, i)) for i in range(layers)]
    values = {"fixed": None, "guess": 0.1, **dial}
    return select(
        lambda: oracle, lambda: oracle, [line], budget=budget, dial=Dial("m", **values), say=lambda *_: None
    )


def valley(layers: int, best: int) -> list[float]:
    return [0.05 + 0.02 * abs(i - best) for i in range(layers)]


@pytest.mark.parametrize("best", [0, 7, 13, 29])
def test_the_best_layer_is_found_without_trying_all(best: int) -> None:
    oracle = Oracle(valley(30, best))
    found = run(oracle, 30, Budget(kl=0.05))
    assert abs(found.choice["layer"] - best) <= 1
    assert found.tried < 16
    assert found.better and found.within


def test_the_dial_goes_as_far_as_the_budget() -> None:
    # The best dial, 3, costs 0.36 nats; 0.05 allows 1.118.
    found = run(Oracle(valley(6, 2), best_dial=3.0), 6, Budget(kl=0.05))
    assert 0.9 * math.sqrt(0.05 / 0.04) <= found.choice["m"] <= math.sqrt(0.05 / 0.04)
    assert found.figures.kl <= 0.05
    further = run(Oracle(valley(6, 2), best_dial=3.0), 6, Budget(kl=0.2))
    assert further.choice["m"] > 1.5 * found.choice["m"]


def test_what_overshoots_is_turned_down() -> None:
    found = run(Oracle(valley(6, 2), best_dial=0.8), 6, Budget(kl=0.1))
    assert abs(found.choice["m"] - 0.8) < 0.25


def test_a_layer_that_costs_accuracy_is_passed_over() -> None:
    assert run(Oracle([0.2, 0.01, 0.2]), 3, Budget()).choice["layer"] == 1
    harmed = run(Oracle([0.2, 0.01, 0.2], harmful=frozenset({1})), 3, Budget())
    assert harmed.choice["layer"] != 1 and harmed.within
    # The twin: with accuracy to spare it is taken.
    spared = run(Oracle([0.2, 0.01, 0.2], harmful=frozenset({1})), 3, Budget(accuracy_drop=0.5))
    assert spared.choice["layer"] == 1


@pytest.mark.parametrize("dial", [{}, {"fixed": 1.0}])
def test_a_place_where_there_is_nothing_to_steer_by_is_passed_over(dial: dict[str, float]) -> None:
    found = run(Oracle(valley(6, 2)), 6, Budget(), empty=[0, 2], **dial)
    assert found.choice["layer"] in (1, 3) and found.tried == 4
    # Those that are tried first may be the ones without; what is between them is tried then.
    sparse = run(Oracle(valley(12, 4)), 12, Budget(), empty=coarse(12), **dial)
    assert sparse.choice["layer"] in set(range(12)) - set(coarse(12))
    first = coarse(12)[0]
    with pytest.raises(InputError, match=f"block {first}: no direction"):
        run(Oracle(valley(12, 4)), 12, Budget(), empty=range(12), **dial)


def test_a_fixed_dial_stays_even_beyond_the_budget_and_that_is_said() -> None:
    found = run(Oracle([0.2]), 1, Budget(kl=0.05), fixed=5.0)
    assert found.choice["m"] == 5.0 and not found.within
    assert found.record()["within_budget"] is False


def test_what_is_all_fixed_is_only_measured_once() -> None:
    oracle = Oracle([0.2])
    assert run(oracle, 1, Budget(), fixed=1.0).tried == 1
    once = oracle.asked
    other = Oracle([0.2])
    run(other, 1, Budget())
    assert other.asked > once


def test_what_makes_bias_worse_is_called_so() -> None:
    found = run(Oracle([0.6]), 1, Budget(kl=0.05))
    assert not found.better and found.record()["better_than_base"] is False


def test_an_eraser_is_whole_where_it_can_be() -> None:
    whole = run(Oracle([0.1]), 1, Budget(kl=0.041), guess=1.0, most=1.0, fractions=())
    assert whole.choice["m"] == 1.0
    part = run(Oracle([0.1]), 1, Budget(kl=0.01), guess=1.0, most=1.0, fractions=())
    assert 0.4 < part.choice["m"] <= 0.5 and part.within


@pytest.mark.parametrize("count", [1, 2, 6, 7, 12, 30, 48, 96])
def test_coarse_places_are_few_and_spread(count: int) -> None:
    found = coarse(count)
    assert 1 <= len(found) <= 6 and found == sorted(set(found)) and found[0] >= 0 and found[-1] < count
    widest = max(b - a for a, b in zip([-1, *found], [*found, count], strict=True))
    assert widest <= 2 * math.ceil(count / 6)
