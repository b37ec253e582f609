"""Activations of a batch are those of each text alone, and those that hooks of nobody's see."""

import pytest
import torch
from interventions.samples import intervention
from scoring.samples import model
from tiny import ARCHITECTURES

from equipoise.analysis import activations
from equipoise.errors import InputError
from equipoise.interventions import attach
from equipoise.models import LoadedModel, hidden_of

ROWS = [[5, 9, 30, 41], [7, 8], [11, 60, 12, 13, 90, 44, 21], [7, 8, 9]]


@pytest.fixture(params=ARCHITECTURES)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return model(request.param)


def test_a_batch_gives_what_single_texts_give(loaded: LoadedModel) -> None:
    sites = [name for name in loaded.anatomy.sites() if name.startswith(("block.1", "final"))]
    together = activations(loaded, ROWS, sites)
    for number, row in enumerate(ROWS):
        alone = activations(loaded, [row], sites)
        for name in sites:
            torch.testing.assert_close(together[name][number], alone[name][0], rtol=1e-4, atol=1e-4)


def test_the_last_token_is_the_last_and_the_mean_leaves_the_first_out(loaded: LoadedModel) -> None:
    site = loaded.anatomy.site("block.1.mlp")
    seen: list[torch.Tensor] = []
    handle = site.module.register_forward_hook(lambda *call: seen.append(hidden_of(call[2]).clone()))
    with torch.no_grad():
        loaded.model(input_ids=torch.tensor([ROWS[2]]))
    handle.remove()
    states = seen[0].reshape(len(ROWS[2]), -1)
    found = activations(loaded, ROWS, [site.name])[site.name][2]
    torch.testing.assert_close(found, states[-1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, states[-2], atol=1e-3)
    mean = activations(loaded, ROWS, [site.name], reading="mean")[site.name][2]
    torch.testing.assert_close(mean, states[1:].mean(0), rtol=1e-4, atol=1e-4)


def test_steering_is_seen() -> None:
    loaded = model("Llama")
    base = activations(loaded, ROWS, ["block.2.out"])["block.2.out"]
    with attach(loaded, intervention(loaded)):
        steered = activations(loaded, ROWS, ["block.2.out"])["block.2.out"]
    assert not torch.allclose(base, steered, atol=1e-3)


def test_a_text_without_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="text 1 tokenises to nothing"):
        activations(model("Llama"), [[1], []], ["block.0.out"])


def test_a_text_beyond_the_learned_positions_is_refused() -> None:
    with pytest.raises(InputError, match=r"text 1 has 257 tokens, but .* has 256 positions"):
        activations(model("GPT2"), [[5] * 256, [5] * 257], ["block.0.out"])
    assert len(activations(model("GPT2"), [[5] * 256], ["block.0.out"])["block.0.out"]) == 1
