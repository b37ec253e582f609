"""One short fit of the bundled model."""

import numpy as np
import pytest

from equipoise.interventions import attach
from equipoise.methods.dso import DsoSettings, fit
from equipoise.metrics import Responses, per_occupation_bias
from equipoise.models import load
from equipoise.scoring import score_options
from equipoise.tasks import Pronouns
from equipoise.tasks.task import Split, subsample


@pytest.mark.real
def test_one_step_lowers_held_out_bias_of_the_bundled_model() -> None:
    loaded, task = load("smollm2"), Pronouns()
    settings = DsoSettings(steps=1, items=60, unambiguous=30, passages=32, passage_tokens=16)

    class Small(Pronouns):
        def split(self, seed: int, limit: int | None = None) -> Split:
            return super().split(seed, limit=60)

    fitted = fit(loaded, Small(), settings=settings)
    ambiguous = [item for item in task.split(0).heldout if item.part == "ambiguous"]
    items = subsample(ambiguous, 80, seed=0)

    def bias() -> float:
        scores = score_options(loaded, items)
        order = [[item.outcomes.index(name) for name in task.outcomes] for item in items]
        table = np.take_along_axis(scores.probabilities, np.array(order), 1)
        found = per_occupation_bias(
            Responses(
                table,
                task.outcomes,
                table.argmax(1),
                [item.groups for item in items],
                [item.template for item in items],
            )
        )
        assert found is not None
        return found

    base = bias()
    with attach(loaded, fitted):
        steered = bias()
    assert bias() == base
    assert steered < 0.8 * base
