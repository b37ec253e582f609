"""What steering does, on every architecture: nothing at λ = 0, the affine map otherwise, and nothing afterwards."""

import copy

import pytest
import torch
from interventions.samples import KINDS, by_hand, intervention, logits, model, padded, tokens
from tiny import ARCHITECTURES, tiny

from equipoise.errors import InputError
from equipoise.interventions import AffineEdit, Intervention, attach, capture
from equipoise.models import LoadedModel

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(params=ARCHITECTURES)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return model(request.param)


def test_no_strength_and_leaving_give_the_base_model_bit_for_bit(loaded: LoadedModel) -> None:
    ids = tokens()
    base, hooks = logits(loaded, ids), _hooks(loaded)
    a = intervention(loaded, KINDS, rank=2)
    with attach(loaded, a, 0.0) as handle:
        assert torch.equal(logits(loaded, ids), base)
        handle.strength = 1.0
        assert not torch.allclose(logits(loaded, ids), base, **CLOSE)  # the twin: it is there
        handle.strength = [0.0, 0.0, 0.0]
        assert torch.equal(logits(loaded, ids), base)
        handle.strength = 0.0
        assert torch.equal(logits(loaded, ids), base)
        handle.strength = 0.7
    assert torch.equal(logits(loaded, ids), base)
    with pytest.raises(RuntimeError, match="planted"), attach(loaded, a):
        raise RuntimeError("planted")
    assert torch.equal(logits(loaded, ids), base)
    assert _hooks(loaded) == hooks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [0, 2])
def test_every_site_agrees_with_modules_wrapped_by_hand(loaded: LoadedModel, kind: str, rank: int) -> None:
    ids = tokens()
    a = intervention(loaded, [kind], rank=rank)
    if not a.edits:
        pytest.skip(f"{loaded.name} has no site of the kind {kind}")
    with torch.no_grad():
        expected = by_hand(loaded, [(a, 0.7)])(input_ids=ids).logits
    with attach(loaded, a, 0.7):
        torch.testing.assert_close(logits(loaded, ids), expected, **CLOSE)
    assert not torch.allclose(logits(loaded, ids), expected, **CLOSE)


def test_rows_with_their_own_strengths_are_runs_with_those_strengths(loaded: LoadedModel) -> None:
    ids = tokens(4)
    a = intervention(loaded, KINDS, rank=1)
    strengths = [0.0, 0.3, 1.0, -0.5]
    with attach(loaded, a, strengths) as handle:
        mixed = logits(loaded, ids)
        for row, strength in enumerate(strengths):
            handle.strength = strength
            torch.testing.assert_close(mixed[row], logits(loaded, ids)[row], **CLOSE)
    assert not torch.allclose(mixed[1], logits(loaded, ids)[1], **CLOSE)


def test_norm_edits_by_row_equal_runs_bit_for_bit(loaded: LoadedModel) -> None:
    if loaded.name.startswith(("tiny-Mixtral", "tiny-Qwen3Moe")):
        pytest.skip(
            "an expert computes the tokens of all rows in one product, so rows depend on rows by rounding"
        )
    ids = tokens(4)
    strengths = [0.0, 0.3, 1.0, -0.5]
    with attach(loaded, intervention(loaded), strengths) as handle:
        mixed = logits(loaded, ids)
        for row, strength in enumerate(strengths):
            handle.strength = strength
            assert torch.equal(mixed[row], logits(loaded, ids)[row])


def test_cached_generation_equals_uncached(loaded: LoadedModel) -> None:
    ids = tokens(2)
    mask = torch.ones_like(ids)
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "attention_mask": mask}
    for scope in ("all", "answer"):
        with attach(loaded, intervention(loaded, ("norm", "out"), scope=scope), [0.4, 1.0]) as handle:
            handle.answer_from([6])
            cached = loaded.model.generate(ids, use_cache=True, **options)
            uncached = loaded.model.generate(ids, use_cache=False, **options)
        assert torch.equal(cached, uncached)
        assert not torch.equal(cached, loaded.model.generate(ids, use_cache=True, **options))


@pytest.mark.parametrize("scope", ["all", "answer"])
def test_a_left_padded_batch_equals_its_rows(loaded: LoadedModel, scope: str) -> None:
    rows = [tokens(1, length, seed=length)[0] for length in (4, 7, 6)]
    ids, mask, positions = padded(rows, "left")
    more = {} if "position_ids" not in _parameters(loaded) else {"position_ids": positions}
    with attach(loaded, intervention(loaded, ("norm", "out"), scope=scope)) as handle:  # type: ignore[arg-type]
        for strengths in ([1.0], [0.3, 1.0, 0.6]):
            handle.strength = strengths
            batch = logits(loaded, ids, attention_mask=mask, **more)
            for row, single in enumerate(rows):
                handle.strength = strengths[row % len(strengths)]
                torch.testing.assert_close(batch[row, -1], logits(loaded, single[None])[0, -1], **CLOSE)
                handle.strength = strengths


def test_captures_before_and_after_attaching_see_the_same(loaded: LoadedModel) -> None:
    ids = tokens()
    sites = loaded.anatomy.sites()
    a = intervention(loaded, KINDS)
    with capture(loaded, sites) as unsteered:
        logits(loaded, ids)
    with capture(loaded, sites) as first, attach(loaded, a), capture(loaded, sites) as second:
        output = loaded.model(input_ids=ids, output_hidden_states=True)
    for name in sites:
        assert torch.equal(first[name][0], second[name][0])
        assert not torch.allclose(first[name][0], unsteered[name][0], **CLOSE)
    blocks = loaded.anatomy.sites("out")
    for name, state in zip(blocks[:-1], output.hidden_states[1:], strict=False):
        torch.testing.assert_close(first[name][0], state)  # transformers' own capture sees it too


def test_handles_and_sums_are_parallel(loaded: LoadedModel) -> None:
    ids = tokens()
    a, b = intervention(loaded, KINDS, seed=1, rank=1), intervention(loaded, KINDS, seed=2)
    with attach(loaded, 0.5 * a + 0.8 * b):
        summed = logits(loaded, ids)
    with attach(loaded, [a, b], [[0.5, 0.8]]):
        torch.testing.assert_close(logits(loaded, ids), summed, **CLOSE)
    with attach(loaded, a, 0.5), attach(loaded, b, 0.8):
        torch.testing.assert_close(logits(loaded, ids), summed, **CLOSE)
    with attach(loaded, b, [0.8] * 3), attach(loaded, a, 0.5):
        torch.testing.assert_close(logits(loaded, ids), summed, **CLOSE)
    with torch.no_grad():
        expected = by_hand(loaded, [(a, 0.5), (b, 0.8)])(input_ids=ids).logits
        one_after_the_other = by_hand(_with(loaded, by_hand(loaded, [(a, 0.5)])), [(b, 0.8)])
        serial = one_after_the_other(input_ids=ids).logits
    torch.testing.assert_close(summed, expected, **CLOSE)
    assert not torch.allclose(serial, expected, **CLOSE)


def test_handles_leave_in_any_order(loaded: LoadedModel) -> None:
    ids = tokens()
    base = logits(loaded, ids)
    a, b = intervention(loaded, seed=1), intervention(loaded, seed=2, scope="answer")
    with attach(loaded, b) as alone:
        only_b = logits(loaded, ids)
    assert not alone.attached
    first, second = attach(loaded, a), attach(loaded, b)
    first.detach()
    assert torch.equal(logits(loaded, ids), only_b)
    second.detach()
    second.detach()
    assert torch.equal(logits(loaded, ids), base)


def test_folding_is_steering_and_is_undone_bit_for_bit(loaded: LoadedModel) -> None:
    ids = tokens()
    base, hooks = logits(loaded, ids), _hooks(loaded)
    saved = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    a, b = intervention(loaded, seed=1), intervention(loaded, seed=2)
    with attach(loaded, [a, b], fold=True) as handle:
        for strength in (1.0, [[0.3, -0.7]], 0.0, 0.6):
            handle.strength = strength
            folded = logits(loaded, ids)
            with attach(_with(loaded, _clean(loaded, saved)), [a, b], strength) as live:
                torch.testing.assert_close(folded, logits(live._loaded, ids), **CLOSE)
    assert torch.equal(logits(loaded, ids), base)
    with pytest.raises(RuntimeError, match="planted"), attach(loaded, a, fold=True):
        raise RuntimeError("planted")
    now = loaded.model.state_dict()
    assert all(torch.equal(now[name], tensor) for name, tensor in saved.items())
    with attach(loaded, a, fold=True) as handle:
        assert any(not torch.equal(now[name], tensor) for name, tensor in saved.items())
        assert _hooks(loaded) == hooks
        adding = sum("forward" in norm.module.__dict__ for norm in loaded.anatomy.norms)
        handle.strength = 0.0
        assert torch.equal(logits(loaded, ids), base)
    assert adding == sum(not norm.has_bias for norm in loaded.anatomy.norms)
    assert not any("forward" in module.__dict__ for module in loaded.model.modules())


def test_generation_with_several_answers_per_prompt_uses_the_rows_strengths() -> None:
    loaded = model("Llama")
    ids = tokens(2)
    options = {
        "max_new_tokens": 4,
        "do_sample": False,
        "attention_mask": torch.ones_like(ids),
        "num_beams": 2,
    }
    with attach(loaded, intervention(loaded), [0.0, 1.0]):
        mixed = loaded.model.generate(ids, **options)
        with pytest.raises(InputError, match="2 strengths were given and the batch has 3 rows"):
            logits(loaded, tokens(3))
    assert torch.equal(mixed[0], loaded.model.generate(ids, **options)[0])
    with attach(loaded, intervention(loaded), 1.0):
        assert torch.equal(mixed[1], loaded.model.generate(ids, **options)[1])


@pytest.mark.parametrize("name", ["Llama", "GPT2", "OPT", "Falcon"])
@pytest.mark.parametrize("parts", ["both", "scale", "shift"])
@pytest.mark.parametrize("grad", [False, True])
def test_large_batches_which_are_edited_in_place_agree_too(name: str, parts: str, grad: bool) -> None:
    loaded = model(name)
    full = intervention(loaded)
    edits = {
        site: AffineEdit(None if parts == "shift" else e.scale, None if parts == "scale" else e.shift)
        for site, e in full.edits.items()
    }
    a = Intervention(edits, provenance=full.provenance)
    ids = tokens(8, 100)
    with torch.set_grad_enabled(grad):
        base = loaded.model(input_ids=ids).logits
        expected = by_hand(loaded, [(a, 0.7)])(input_ids=ids).logits
        for fold in (False, True):
            with attach(loaded, a, 0.7, fold=fold):
                torch.testing.assert_close(loaded.model(input_ids=ids).logits, expected, **CLOSE)
        assert torch.equal(loaded.model(input_ids=ids).logits, base)


@pytest.mark.parametrize("fold", [False, True])
def test_a_model_may_change_its_type_while_it_is_steered(fold: bool) -> None:
    loaded = tiny("Llama")
    a = intervention(loaded)
    ids = tokens()
    with attach(loaded, a, 0.5, fold=fold):
        single = logits(loaded, ids)
        loaded.model.double()
        torch.testing.assert_close(logits(loaded, ids).float(), single, **CLOSE)
    with torch.no_grad():
        base = tiny("Llama").model.double()(input_ids=ids).logits
    assert torch.equal(logits(loaded, ids), base)


def test_half_precision_keeps_small_scales() -> None:
    """1 + 0.003 is 1 in bf16: the scale must not be rounded before it is applied."""
    loaded = tiny("Llama")
    loaded.model.to(torch.bfloat16)
    small = 0.01 * intervention(loaded)
    site = "block.0.norm.0"
    ids = tokens(4, 64)
    with capture(loaded, [site]) as plain:
        logits(loaded, ids)
    for strength in (1.0, [1.0] * 4):
        with attach(loaded, small, strength), capture(loaded, [site]) as steered:
            logits(loaded, ids)
        y, z = plain[site][0].double(), steered[site][0].double()
        scale = small.edits[site].scale
        assert scale is not None
        centred = y - y.mean((0, 1))
        slope = (centred * z).sum((0, 1)) / (centred * y).sum((0, 1)) - 1
        assert torch.corrcoef(torch.stack((slope, scale.double())))[0, 1] > 0.9


def _hooks(loaded: LoadedModel) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in loaded.model.modules())


def _parameters(loaded: LoadedModel) -> set[str]:
    import inspect

    return set(inspect.signature(loaded.model.forward).parameters)


def _with(loaded: LoadedModel, module: torch.nn.Module) -> LoadedModel:
    return LoadedModel(module, loaded.tokenizer, loaded.processor, loaded.name)  # type: ignore[arg-type]


def _clean(loaded: LoadedModel, state: dict[str, torch.Tensor]) -> torch.nn.Module:
    other = tiny(loaded.name.split("-")[1]).model
    other.load_state_dict(copy.deepcopy(state))
    return other


def test_an_empty_intervention_does_nothing() -> None:
    loaded = model("Llama")
    base = logits(loaded, tokens())
    with attach(loaded, Intervention({})):
        assert torch.equal(logits(loaded, tokens()), base)


def test_an_offloaded_model_is_steered_and_not_folded() -> None:
    accelerate = pytest.importorskip("accelerate", reason="offloading needs accelerate")
    loaded = tiny("Llama")
    a = intervention(loaded)
    base = logits(loaded, tokens())
    with attach(loaded, a):
        steered = logits(loaded, tokens())
    accelerate.cpu_offload(loaded.model)
    with attach(loaded, a):
        assert torch.equal(logits(loaded, tokens()), steered)
    with pytest.raises(InputError, match="its weight is offloaded"):
        attach(loaded, a, fold=True)
    assert torch.equal(logits(loaded, tokens()), base)
