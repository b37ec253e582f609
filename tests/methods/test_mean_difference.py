"""The vector between statements: the difference of their last tokens' means, in units of the activation's norm."""

import numpy as np
import pytest
import torch
from interventions.samples import model
from methods.samples import TEXT, TinyTask
from scoring.test_memory import recurrent
from tiny import tiny

from equipoise.errors import InputError
from equipoise.interventions import attach, capture
from equipoise.methods.leace import LeaceSettings
from equipoise.methods.leace import fit as fit_leace
from equipoise.methods.mean_difference import MeanDifferenceSettings, fit, from_statements
from equipoise.models import hidden_of
from equipoise.scoring import text_ids

NEUTRAL = ("The nurse is busy.", "My uncle, the mechanic, likes the idea", "Once upon a time she left")
BIASED = ("The mechanic argued.", "He did not like her plan at all")


def by_hand(loaded, site, texts):
    """Each text's activations [T, d], one forward pass a text through a hook of the test's own."""
    found = []
    for text in texts:
        place = loaded.anatomy.site(site)
        handle = place.module.register_forward_hook(lambda *call: found.append(hidden_of(call[2]).clone()))
        with torch.no_grad():
            loaded.model(input_ids=torch.tensor([text_ids(loaded.tokenizer, text)]))
        handle.remove()
    return [one.reshape(-1, one.shape[-1]).double().numpy() for one in found]


@pytest.mark.parametrize("name", ["Llama", "GPT2", "OPT"])
def test_it_is_the_difference_of_means_in_units_of_the_norm(name):
    loaded, site = model(name), "block.1.out"
    rows = [[text_ids(loaded.tokenizer, text) for text in texts] for texts in (NEUTRAL, BIASED)]
    found = from_statements(loaded, *rows, site, strength=0.3)
    neutral, biased = (by_hand(loaded, site, texts) for texts in (NEUTRAL, BIASED))
    difference = np.mean([one[-1] for one in neutral], 0) - np.mean([one[-1] for one in biased], 0)
    norms = np.sort(np.concatenate([np.linalg.norm(one[1:], axis=1) for one in (*neutral, *biased)]))
    median = norms[(len(norms) - 1) // 2]
    expected = 0.3 * median * difference / np.linalg.norm(difference)
    shift = found.edits[site].shift
    np.testing.assert_allclose(shift.numpy(), expected, rtol=1e-3, atol=1e-4)
    assert found.scope == "all" and found.provenance.method == "mean_difference"
    # The twin: the sides exchanged give the opposite vector.
    opposite = from_statements(loaded, *rows[::-1], site, strength=0.3)
    torch.testing.assert_close(opposite.edits[site].shift, -shift, rtol=1e-4, atol=1e-5)


def test_it_is_added_to_every_token():
    loaded, site = model("Llama"), "block.1.out"
    rows = [[text_ids(loaded.tokenizer, text) for text in texts] for texts in (NEUTRAL, BIASED)]
    found = from_statements(loaded, *rows, site)
    ids = torch.tensor([rows[0][1]])
    states = []
    for strength in (0.0, 1.0):
        with attach(loaded, found, strength), capture(loaded, [site]) as captured, torch.no_grad():
            loaded.model(input_ids=ids)
        states.append(captured[site][-1][0])
    moved = states[1] - states[0]
    torch.testing.assert_close(moved, found.edits[site].shift.expand_as(moved), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("neutral", "biased", "site", "strength", "words"),
    [
        ([], [[5, 6]], "block.0.out", 0.1, "at least one neutral"),
        ([[5, 6]], [], "block.0.out", 0.1, "at least one neutral"),
        ([[5, 6]], [[]], "block.0.out", 0.1, "tokenises to nothing"),
        ([[5, 6]], [[5, 6]], "block.0.out", 0.1, "same mean"),
        ([[5, 6]], [[7, 8]], "block.9.out", 0.1, "no site"),
        ([[5, 6]], [[7, 8]], "block.0.out", 0.0, "above 0"),
        ([[5]], [[7]], "block.0.out", 0.1, "two or more tokens"),
    ],
)
def test_what_makes_no_vector_is_refused(neutral, biased, site, strength, words):
    with pytest.raises(InputError, match=words) as error:
        from_statements(model("Llama"), neutral, biased, site, strength=strength)
    assert "\n" not in str(error.value)


def test_without_attention_the_papers_other_site_remains():
    # A fixed layer and strength measure once: what counts is where it acts.
    settings = {"layer": 1, "strength": 0.1, "pairs": 8}
    found = fit(recurrent("Mamba"), TinyTask(), settings=MeanDifferenceSettings(**settings), text=TEXT)
    assert list(found.edits) == ["block.1.out"]
    with pytest.raises(InputError, match="setting site=heads: block 1 of Mamba has no site"):
        fit(recurrent("Mamba"), TinyTask(), settings=MeanDifferenceSettings(site="heads", **settings))


@pytest.mark.parametrize("method", ["mean_difference", "leace"])
def test_a_block_whose_means_are_equal_is_passed_over(method):
    loaded = tiny("Llama", num_hidden_layers=2)
    # Every answer's last token is the same at the first norm: it sees tokens, not what came before them.
    task = TinyTask((" he was busy", " she was busy"))
    if method == "leace":
        given = LeaceSettings(site="norm.0", strength=0.5, items=20, background=0, concept="statement")
        found = fit_leace(loaded, task, settings=given, text=TEXT)
        fixed = LeaceSettings(
            site="norm.0", layer=0, strength=0.5, items=20, background=0, concept="statement"
        )
        with pytest.raises(InputError, match="means don't differ"):
            fit_leace(loaded, task, settings=fixed, text=TEXT)
    else:
        given = MeanDifferenceSettings(site="norm.0", strength=0.1, pairs=20)
        found = fit(loaded, task, settings=given, text=TEXT)
        fixed = MeanDifferenceSettings(site="norm.0", layer=0, strength=0.1, pairs=20)
        with pytest.raises(InputError, match="same mean activation"):
            fit(loaded, task, settings=fixed, text=TEXT)
        together = MeanDifferenceSettings(site="norm.0", layer="all", strength=0.1, pairs=20)
        assert list(fit(loaded, task, settings=together, text=TEXT).edits) == ["block.1.norm.0"]
    assert list(found.edits) == ["block.1.norm.0"]
