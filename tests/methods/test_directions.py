"""CAA and ITI against direct NumPy computations, and CAA against the steering-vectors package."""

from typing import Any

import numpy as np
import pytest
import torch
from methods.samples import TEXT, TinyTask
from sklearn.linear_model import LogisticRegression
from tiny import tiny

from equipoise.errors import InputError
from equipoise.interventions import Intervention
from equipoise.methods import caa, iti
from equipoise.methods.batches import balanced
from equipoise.methods.contrast import Contrast
from equipoise.methods.directions import mean_direction
from equipoise.methods.ground import even
from equipoise.methods.heads import probe_heads
from equipoise.models import LoadedModel, hidden_of
from equipoise.tasks import Item

PAIRS = 30


@pytest.fixture(scope="module")
def llama() -> LoadedModel:
    return tiny("Llama")


def pairs_of(seed: int = 0) -> list[Item]:
    items = [item for item in TinyTask().split(seed).train if item.part == "ambiguous"]
    return even([items[i] for i in balanced(items, PAIRS, seed, 0, whole=True)])


def texts(items: list[Item], outcome: str) -> list[str]:
    return [item.prompt + item.options[item.outcomes.index(outcome)] for item in items]


def states(loaded: LoadedModel, site: str, sentences: list[str]) -> Any:
    """[n, d] last-token activations, one forward pass a sentence, by a hook of the test's own."""
    place, found = loaded.anatomy.site(site), []
    if place.where == "input":
        handle = place.module.register_forward_pre_hook(lambda m, args: found.append(args[0].clone()))
    else:
        handle = place.module.register_forward_hook(lambda *call: found.append(hidden_of(call[2]).clone()))
    for sentence in sentences:
        with torch.no_grad():
            loaded.model(input_ids=torch.tensor([loaded.tokenizer(sentence)["input_ids"]]))
    handle.remove()
    return np.stack([one[0, -1].double().numpy() for one in found])


def caa_fit(loaded: LoadedModel, **settings: Any) -> Intervention:
    return caa.fit(
        loaded, TinyTask(), settings=caa.CaaSettings(**{"pairs": PAIRS, "kl": 1.0, **settings}), text=TEXT
    )


def test_caa_is_the_mean_difference_at_the_answer(llama: LoadedModel) -> None:
    found = caa_fit(llama, layer=1, multiplier=0.5)
    items = pairs_of()
    difference = states(llama, "block.1.out", texts(items, "anti")) - states(
        llama, "block.1.out", texts(items, "pro")
    )
    direction = difference.mean(0) / np.linalg.norm(difference.mean(0))
    shift = found.edits["block.1.out"].shift.double().numpy()
    np.testing.assert_allclose(shift / np.linalg.norm(shift), direction, atol=1e-4)
    assert found.scope == "answer" and list(found.edits) == ["block.1.out"]
    # Its length is half the residual stream's median norm over all but first tokens.
    rows = Contrast.of(llama, items).rows[::4]
    norms = []
    for row in rows:
        with torch.no_grad():
            hidden = llama.model(input_ids=torch.tensor([row]), output_hidden_states=True).hidden_states[2]
        norms += hidden[0, 1:].norm(dim=-1).tolist()
    assert np.linalg.norm(shift) == pytest.approx(0.5 * np.median(norms), rel=0.02)


def test_caa_is_what_steering_vectors_trains_on_the_same_pairs(llama: LoadedModel) -> None:
    package = pytest.importorskip("steering_vectors")
    items = pairs_of()
    samples = list(zip(texts(items, "anti"), texts(items, "pro"), strict=True))
    theirs = package.train_steering_vector(llama.model, llama.tokenizer, samples).layer_activations
    found = caa_fit(llama, layer="all", multiplier=0.1)
    assert len(theirs) == len(found.edits) == 3
    for layer, vector in theirs.items():
        shift = found.edits[f"block.{layer}.out"].shift
        torch.testing.assert_close(shift / shift.norm(), vector / vector.norm(), rtol=1e-3, atol=1e-4)
    # The twin: another layer's vector is another one.
    shift = found.edits["block.0.out"].shift
    assert torch.cosine_similarity(shift, theirs[2], dim=0) < 0.99


def test_itis_shift_is_alpha_sigma_times_the_mass_mean_direction(llama: LoadedModel) -> None:
    settings = iti.ItiSettings(heads=5, alpha=3.0, pairs=PAIRS, validation_pairs=20, kl=5.0)
    found = iti.fit(llama, TinyTask(), settings=settings, text=TEXT)
    items = pairs_of()
    chosen = found.provenance.config["ranked_heads"]
    assert len(chosen) == 5
    for site, number, _ in chosen:
        anti, pro = (states(llama, site, texts(items, outcome)) for outcome in ("anti", "pro"))
        place = slice(12 * number, 12 * number + 12)
        anti, pro = anti[:, place], pro[:, place]
        direction = anti.mean(0) - pro.mean(0)
        direction /= np.linalg.norm(direction)
        sigma = np.std(np.concatenate([anti, pro]) @ direction)
        shift = found.edits[site].shift[place].double().numpy()
        np.testing.assert_allclose(shift, 3.0 * sigma * direction, rtol=1e-3, atol=1e-4)
    # Nothing but these heads is touched.
    assert found.nonzero == 5 * 12 and found.scope == "answer"


def test_heads_rank_by_a_probes_accuracy_on_validation_statements(llama: LoadedModel) -> None:
    items = pairs_of()
    held = [item for item in TinyTask().split(0).validation if item.part == "ambiguous"][:30]
    sites = list(llama.anatomy.sites("heads"))
    train = Contrast.of(llama, items).read(llama, sites)
    other = Contrast.of(llama, held).read(llama, sites)
    found = probe_heads(llama, train, other)
    assert [head.accuracy for head in found] == sorted((head.accuracy for head in found), reverse=True)
    best = found[0]
    sides = [
        states(llama, best.site, texts(part, o))[:, best.place]
        for part in (items, held)
        for o in ("anti", "pro")
    ]
    x, y = np.concatenate(sides[:2]), np.repeat([0, 1], [len(sides[0]), len(sides[1])])
    centre, spread = x.mean(0), x.std(0)
    probe = LogisticRegression(max_iter=200).fit((x - centre) / spread, y)
    held_y = np.repeat([0, 1], [len(sides[2]), len(sides[3])])
    expected = probe.score((np.concatenate(sides[2:]) - centre) / spread, held_y)
    assert best.accuracy == pytest.approx(expected, abs=1 / len(held_y) + 1e-9)


def test_a_head_that_carries_the_class_ranks_first(llama: LoadedModel) -> None:
    draw = torch.Generator().manual_seed(0)
    sites = list(llama.anatomy.sites("heads"))

    def sides(planted: bool) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        found = {s: (torch.randn(60, 48, generator=draw), torch.randn(60, 48, generator=draw)) for s in sites}
        if planted:
            found["block.1.heads"][0][:, 24:36] += 3.0
        return found

    best = probe_heads(llama, sides(True), sides(True))[0]
    assert (best.site, best.number) == ("block.1.heads", 2) and best.accuracy > 0.95
    # The twin: with nothing planted no head stands out.
    assert probe_heads(llama, sides(False), sides(False))[0].accuracy < 0.75


def test_a_direction_needs_two_different_means() -> None:
    x = torch.randn(4, 6)
    with pytest.raises(InputError, match="same mean"):
        mean_direction(x, x.clone())
    with pytest.raises(InputError, match="not finite"):
        mean_direction(x, torch.full((2, 6), float("nan")))
    torch.testing.assert_close(mean_direction(torch.eye(2), torch.zeros(1, 2)), torch.full((2,), 0.5**0.5))


def test_every_word_is_favoured_equally_often() -> None:
    items = [item for item in TinyTask().items() if item.part == "ambiguous"]
    uneven = [item for n, item in enumerate(items) if item.outcomes[0] == "pro" or n % 3]
    found = even(uneven)
    sides = [sum(item.outcomes[0] == outcome for item in found) for outcome in ("pro", "anti")]
    assert sides[0] == sides[1] == min(sum(i.outcomes[0] == o for i in uneven) for o in ("pro", "anti"))
    assert set(found) <= set(uneven) and len(found) < len(uneven)
    assert even(items) == items
