"""Streams: Δ₁ is what the block reads, Δ₂ what its MLP adds to, and the lens at the end is the model itself."""

from dataclasses import replace

import pytest
import torch
from methods.samples import TinyTask
from models.test_variants import SMALL, built
from tiny import ARCHITECTURES, tiny

from equipoise.analysis import FirstTokens, lens, read_streams
from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention, attach, capture
from equipoise.methods.adapter import injected
from equipoise.scoring import encode_all, prompt_ids
from equipoise.tasks import Item

ITEMS = [item for item in TinyTask().items() if item.part == "ambiguous"][:5]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_streams_are_the_models_own_on_every_architecture(name: str) -> None:
    loaded = tiny(name)
    encoded = encode_all(loaded, ITEMS)
    found = read_streams(loaded, encoded)
    blocks = loaded.anatomy.blocks
    for at in range(1, len(blocks)):
        torch.testing.assert_close(found.before[at], found.after[at - 1], rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        logits = [
            loaded.model(input_ids=torch.tensor([prompt_ids(loaded, i.prompt)])).logits[0, -1] for i in ITEMS
        ]
    torch.testing.assert_close(
        lens(loaded, found.after[-1]), torch.stack(logits).log_softmax(-1), rtol=1e-3, atol=2e-3
    )
    # Block input + what attention adds + what the MLP adds = block output; in Gemma both go through norms.
    for block in blocks:
        sites = [f"block.{block.index}.attn", f"block.{block.index}.mlp"]
        with torch.no_grad(), capture(loaded, sites) as captured:
            loaded.model(input_ids=torch.tensor([prompt_ids(loaded, ITEMS[0].prompt)]))
        attn, mlp = (captured[site][-1].reshape(-1, loaded.anatomy.hidden_size)[-1] for site in sites)
        if name.startswith("Gemma"):
            attn, mlp = block.norms[1].module(attn), block.norms[3].module(mlp)
        here = found.before[block.index, 0]
        torch.testing.assert_close(found.middle[block.index, 0], here + attn, rtol=1e-3, atol=1e-3)
        if mlp.shape == attn.shape:
            torch.testing.assert_close(found.after[block.index, 0], here + attn + mlp, rtol=1e-3, atol=1e-3)


def test_what_a_norm_after_attention_gives_is_what_joins_the_stream() -> None:
    loaded = replace(tiny("Llama"), model=built("Olmo2", **SMALL))
    found = read_streams(loaded, encode_all(loaded, ITEMS))
    for block in loaded.anatomy.blocks:
        attn, norm = loaded.anatomy.site(f"block.{block.index}.attn"), block.norms[0]
        with torch.no_grad(), capture(loaded, [attn.name]) as captured:
            loaded.model(input_ids=torch.tensor([prompt_ids(loaded, ITEMS[0].prompt)]))
        added = captured[attn.name][-1].reshape(-1, loaded.anatomy.hidden_size)[-1]
        middle, here = found.middle[block.index, 0], found.before[block.index, 0]
        torch.testing.assert_close(middle, here + norm.module(added), rtol=1e-3, atol=1e-3)
        assert not torch.allclose(middle, here + added, rtol=1e-2, atol=1e-2)


def test_streams_are_read_as_steering_leaves_them() -> None:
    loaded = tiny("Llama")
    encoded, vector = encode_all(loaded, ITEMS), torch.ones(48)
    base = read_streams(loaded, encoded)
    with attach(loaded, Intervention({"block.0.out": AffineEdit(shift=vector)}), 0.5):
        found = read_streams(loaded, encoded)
    assert torch.equal(found.before[0], base.before[0]) and torch.equal(found.middle[0], base.middle[0])
    torch.testing.assert_close(found.before[1], base.before[1] + 0.5, rtol=1e-4, atol=1e-4)


def test_first_tokens_by_class() -> None:
    def item(options: tuple[str, ...], outcomes: tuple[str, ...]) -> Item:
        return Item("x", "Who is it:", options, outcomes, "ambiguous", None, ("g",), "t")

    loaded = tiny("Llama")
    one = item((" he", " she", " they"), ("a", "b", "a"))
    encoded = encode_all(loaded, [one])
    logp = torch.randn(1, 400).log_softmax(1)
    table = FirstTokens.of([one], encoded, ("a", "b")).read(logp)
    first = [option[0] for option in encoded[0].options]
    assert len(set(first)) == 3
    torch.testing.assert_close(table[0, 0], logp[0, [first[0], first[2]]].exp().sum())
    torch.testing.assert_close(table[0, 1], logp[0, first[1]].exp())
    # "qa" and "qb" begin alike: the token counts for both in part; if nothing else is there, it tells nothing.
    two = item(("qa", "qb", "xa"), ("a", "b", "b"))
    encoded = encode_all(loaded, [two])
    table = FirstTokens.of([two], encoded, ("a", "b")).read(logp)
    shared, own = encoded[0].options[0][0], encoded[0].options[2][0]
    torch.testing.assert_close(table[0, 0], logp[0, shared].exp() / 2)
    torch.testing.assert_close(table[0, 1], logp[0, shared].exp() / 2 + logp[0, own].exp())
    three = item(("qa", "qb"), ("a", "b"))
    with pytest.raises(InputError, match="begin with one token"):
        FirstTokens.of([three], encode_all(loaded, [three]), ("a", "b"))


def test_the_lens_of_an_offloaded_model_is_the_same() -> None:
    accelerate = pytest.importorskip("accelerate", reason="offloading needs accelerate")
    loaded = tiny("Llama")
    states = torch.randn(3, loaded.anatomy.hidden_size, generator=torch.Generator().manual_seed(0))
    before = lens(loaded, states)
    accelerate.cpu_offload(loaded.model)
    torch.testing.assert_close(lens(loaded, states), before)
    with (
        pytest.raises(InputError, match="offloaded"),
        injected(loaded, ["model.layers.0.mlp.up_proj"], 2, 2.0),
    ):
        pass
