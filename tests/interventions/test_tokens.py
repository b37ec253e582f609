"""Which tokens are edited: the answer scope, padding on both sides, kept caches, packed batches."""

import pytest
import torch
from interventions.samples import intervention, logits, model, padded, tokens
from tiny import ARCHITECTURES
from torch import Tensor

from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention, attach, capture
from equipoise.models import LoadedModel

SITE = "block.1.out"


def flag(loaded: LoadedModel, site: str = SITE) -> Intervention:
    """Adds 1000 to everything at one site, so that the edited tokens can be read off."""
    width = loaded.anatomy.site(site).width
    return Intervention({site: AffineEdit(shift=torch.full((width,), 1000.0))}, "answer")


def edited(seen: list[Tensor]) -> list[list[list[bool]]]:
    return [(tensor.mean(-1) > 500).tolist() for tensor in seen]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("form", ["plain", "boolean", "additive"])
def test_the_answer_starts_at_the_last_token_that_is_not_padding(side: str, form: str) -> None:
    loaded = model("Llama")
    rows = [tokens(1, length)[0] for length in (3, 5, 4)]
    ids, mask, positions = padded(rows, side)
    if form != "plain":
        mask = mask[:, None, None].bool() & torch.ones(5, 5).tril().bool()
        mask = mask if form == "boolean" else torch.where(mask, 0.0, torch.finfo(torch.float32).min)
    with attach(loaded, flag(loaded)), capture(loaded, [SITE]) as seen:
        logits(loaded, ids, attention_mask=mask, position_ids=positions)
    expected = {"left": [[0, 0, 0, 0, 1]] * 3, "right": [[0, 0, 1, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 1, 1]]}
    assert edited(seen[SITE]) == [[[bool(x) for x in row] for row in expected[side]]]


@pytest.mark.parametrize("name", ["Llama", "Gemma3", "GPT2", "OPT", "BLOOM", "Falcon"])
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generation_edits_the_last_prompt_token_and_everything_after(name: str, cache: str) -> None:
    loaded = model(name)
    if cache == "static" and not getattr(loaded.model, "_can_compile_fullgraph", True):
        pytest.skip("no static cache for this architecture")
    rows = [tokens(1, length)[0] for length in (3, 5)]
    ids, mask, _ = padded(rows, "left")
    more = {"cache_implementation": "static"} if cache == "static" else {}
    with attach(loaded, flag(loaded)), capture(loaded, [SITE]) as seen:
        loaded.model.generate(
            ids, attention_mask=mask, max_new_tokens=3, min_new_tokens=3, do_sample=False, **more
        )
        first = edited(seen[SITE])
        seen[SITE].clear()
        loaded.model.generate(
            ids[:1, 3:], attention_mask=mask[:1, 3:], max_new_tokens=2, min_new_tokens=2, do_sample=False
        )
        second = edited(seen[SITE])
    assert first == [[[False] * 4 + [True]] * 2, [[True]] * 2, [[True]] * 2]
    assert second == [[[False, True]], [[True]]]


def test_positions_are_absolute_across_a_kept_cache() -> None:
    loaded = model("Llama")
    ids = tokens(2, 8)
    with attach(loaded, flag(loaded)) as handle, capture(loaded, [SITE]) as seen:
        handle.answer_from([2, 5])
        logits(loaded, ids)
        whole = edited(seen[SITE])[0]
        seen[SITE].clear()
        cache = None
        for piece in (slice(0, 2), slice(2, 4), slice(4, 7), slice(7, 8)):
            cache = loaded.model(ids[:, piece], past_key_values=cache, use_cache=True).past_key_values
        parts = edited(seen[SITE])
    assert whole == [[False] * 2 + [True] * 6, [False] * 5 + [True] * 3]
    assert [[flag for part in parts for flag in part[row]] for row in range(2)] == whole


def test_one_position_serves_all_rows_and_none_returns_to_the_rule() -> None:
    loaded = model("Llama")
    with attach(loaded, flag(loaded)) as handle, capture(loaded, [SITE]) as seen:
        handle.answer_from([2])
        logits(loaded, tokens(2, 4))
        handle.answer_from(None)
        logits(loaded, tokens(2, 4))
        handle.answer_from([1, 2, 3])
        with pytest.raises(InputError, match="3 answer positions were given and the batch has 2 rows"):
            logits(loaded, tokens(2, 4))
        with pytest.raises(InputError, match="list of integers from 0 on"):
            handle.answer_from([0.5])  # type: ignore[list-item]
    assert edited(seen[SITE])[:2] == [[[False, False, True, True]] * 2, [[False] * 3 + [True]] * 2]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_tokens_before_the_answer_are_untouched_bit_for_bit(name: str) -> None:
    loaded = model(name)
    ids = tokens(2, 6)
    a = intervention(loaded, ("norm", "out", "heads"), scope="answer", rank=1)
    base = logits(loaded, ids)
    with attach(loaded, a) as handle:
        handle.answer_from([3])
        steered = logits(loaded, ids)
    # Experts compute tokens together, so that other tokens move them by rounding.
    exact = name not in ("Mixtral", "Qwen3Moe")
    torch.testing.assert_close(steered[:, :3], base[:, :3], rtol=0, atol=0 if exact else 1e-4)
    assert not torch.allclose(steered[:, 3:], base[:, 3:], atol=1e-3)


def test_packed_rows_get_their_own_strength_and_positions() -> None:
    loaded = model("Llama")
    a = intervention(loaded, ("norm", "out"), rank=1)
    rows = [tokens(1, length, seed=length)[0] for length in (3, 5)]
    packed = torch.cat(rows)[None]
    positions = torch.cat([torch.arange(3), torch.arange(5)])[None]
    owner = torch.tensor([0] * 3 + [1] * 5)
    block = torch.where(owner[:, None] == owner, 0.0, torch.finfo(torch.float32).min)
    mask = (block + torch.full((8, 8), torch.finfo(torch.float32).min).triu(1)).clamp_min(
        torch.finfo(torch.float32).min
    )[None, None]
    for scope in ("all", "answer"):
        scoped = Intervention(a.edits, scope)  # type: ignore[arg-type]
        with attach(loaded, scoped, [0.4, 1.0]) as handle:
            handle.pack(owner)
            together = logits(loaded, packed, position_ids=positions, attention_mask=mask)[0]
            handle.pack(None)
            for row, (single, strength) in enumerate(zip(rows, (0.4, 1.0), strict=True)):
                handle.strength = strength
                expected = logits(loaded, single[None])[0]
                torch.testing.assert_close(together[owner == row], expected, rtol=1e-3, atol=1e-3)


def test_packing_that_does_not_fit_is_refused() -> None:
    loaded = model("Llama")
    with attach(loaded, intervention(loaded), [0.4, 1.0]) as handle:
        handle.pack([0, 0, 1, 2])
        with pytest.raises(InputError, match="packed tokens name row 2 and only 2 rows were given"):
            logits(loaded, tokens(1, 4))
        handle.pack([0, 1])
        with pytest.raises(InputError, match="2 packed tokens were announced and the pass has 4"):
            logits(loaded, tokens(1, 4))


def test_a_part_of_the_model_has_no_rows() -> None:
    loaded = model("Llama")
    norm = loaded.anatomy.norms[0].module
    with (
        attach(loaded, intervention(loaded), [0.4, 1.0]),
        pytest.raises(InputError, match="need a whole forward pass"),
    ):
        norm(torch.randn(2, 3, 48))
