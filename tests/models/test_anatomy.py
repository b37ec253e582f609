"""The conformance suite: every architecture against what it is known to be and against what it computes."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from known import KNOWN, summary
from tiny import ARCHITECTURES, BLOCKS, HEADS, HIDDEN, tiny
from torch import Tensor, nn

from equipoise.models import LoadedModel, find_anatomy, hidden_of

IDS = torch.tensor([[7, 30, 90, 12, 200], [41, 8, 300, 77, 5]])


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@functools.cache
def shared(architecture: str) -> LoadedModel:
    return tiny(architecture)


@pytest.fixture
def loaded(architecture: str) -> LoadedModel:
    """One model for all tests, which only look at it."""
    return shared(architecture)


@contextmanager
def captured(loaded: LoadedModel, names: tuple[str, ...]) -> Iterator[dict[str, Tensor]]:
    """Run the model on IDS and keep the activation at each site."""
    seen: dict[str, Tensor] = {}
    handles = []
    for name in names:
        site = loaded.anatomy.site(name)
        if site.where == "input":

            def before(_: nn.Module, args: Any, name: str = name) -> None:
                seen[name] = args[0].clone()

            handles.append(site.module.register_forward_pre_hook(before))
        else:

            def after(_: nn.Module, args: Any, output: Any, name: str = name) -> None:
                seen[name] = hidden_of(output).clone()  # Falcon's block adds to its MLP's output in place

            handles.append(site.module.register_forward_hook(after))
    with torch.no_grad():
        loaded.model(IDS)
    for handle in handles:
        handle.remove()
    yield {name: value.reshape(*IDS.shape, -1) for name, value in seen.items()}


def test_paths_are_the_known_ones(loaded: LoadedModel, architecture: str) -> None:
    known, anatomy = KNOWN[architecture], loaded.anatomy
    assert len(anatomy.blocks) == BLOCKS
    assert anatomy.backbone_name == known.blocks.rpartition(".")[0]
    for i, block in enumerate(anatomy.blocks):
        start = f"{known.blocks}.{i}"
        assert (block.index, block.name) == (i, start)
        assert [norm.name for norm in block.norms] == [f"{start}.{name}" for name in known.norms]
        assert [norm.site for norm in block.norms] == [f"block.{i}.norm.{j}" for j in range(len(known.norms))]
        assert block.attention is not None and block.attention.heads is not None
        assert block.attention.name == f"{start}.{known.projection.rpartition('.')[0]}"
        assert block.attention.heads.projection.name == f"{start}.{known.projection}"
        assert block.mlp is not None and block.mlp.name == f"{start}.{known.mlp}"
        assert block.mlp_norm is not None and block.mlp_norm.name == f"{start}.{known.mlp_norm}"
        after = known.attention_norm and f"{start}.{known.attention_norm}"
        assert (block.attention_norm and block.attention_norm.name) == after
        assert block.parallel is known.parallel
        assert block.module is loaded.model.get_submodule(block.name)
    assert anatomy.final_norm is not None and anatomy.final_norm.name == known.final
    assert anatomy.head is loaded.model.get_output_embeddings()
    assert anatomy.tied is known.tied
    assert anatomy.hidden_size == HIDDEN


def test_norms_are_what_they_compute(loaded: LoadedModel, architecture: str) -> None:
    known = KNOWN[architecture]
    assert loaded.anatomy.final_norm is not None
    for norm in (*loaded.anatomy.norms, loaded.anatomy.final_norm):
        assert (norm.kind, norm.unit_offset, norm.has_bias) == (
            known.kind,
            known.offset,
            known.kind == "layer",
        )
        x = torch.randn(3, norm.width, dtype=torch.float64)
        centred = x - x.mean(-1, keepdim=True) if norm.kind == "layer" else x
        assert norm.weight_name is not None
        weight = norm.module.get_parameter(norm.weight_name).double() + float(norm.unit_offset)
        bias = norm.module.get_parameter(norm.bias_name).double() if norm.bias_name is not None else 0.0
        expected = centred / (centred**2).mean(-1, keepdim=True).sqrt() * weight + bias
        torch.testing.assert_close(norm.module(x.float()).double(), expected, rtol=1e-3, atol=1e-3)


def test_heads_are_slices_that_add_up_to_the_attention_output(loaded: LoadedModel, architecture: str) -> None:
    known = KNOWN[architecture]
    for block in loaded.anatomy.blocks:
        assert block.attention is not None and block.attention.heads is not None
        heads = block.attention.heads
        assert (heads.n_heads, heads.n_kv_heads, heads.head_dim) == (HEADS, known.kv_heads, known.head_dim)
        site = loaded.anatomy.site(f"block.{block.index}.heads")
        assert (site.where, site.width) == ("input", HEADS * known.head_dim)
        names = (site.name, f"block.{block.index}.attn")
        with captured(loaded, names) as seen:
            concatenated, output = seen[names[0]], seen[names[1]]
        parts = []
        for head in range(heads.n_heads):
            alone = torch.zeros_like(concatenated)
            alone[..., heads.slice(head)] = concatenated[..., heads.slice(head)]
            parts.append(site.module(alone) - site.module(torch.zeros_like(alone)))
        total = torch.stack(parts).sum(0) + site.module(torch.zeros_like(concatenated))
        torch.testing.assert_close(total, output)
        assert all(part.abs().max() > 1e-3 for part in parts)


def test_a_head_mixes_tokens_by_its_own_weights(loaded: LoadedModel, architecture: str) -> None:
    """The slices are heads, not just any slices: with equal weights of attention, a head is a mean of values."""
    heads = loaded.anatomy.blocks[0].attention
    assert heads is not None and heads.heads is not None
    with captured(loaded, ("block.0.heads",)) as seen:
        x = seen["block.0.heads"]
    # At the first position there is one token to attend to, so query heads of one group read the same value.
    first = torch.stack([x[:, 0, heads.heads.slice(h)] for h in range(HEADS)])
    group = heads.heads.group_size
    for h in range(HEADS):
        torch.testing.assert_close(first[h], first[h // group * group])
        later = x[:, -1, heads.heads.slice(h)]
        if h % group:
            assert not torch.allclose(later, x[:, -1, heads.heads.slice(h - 1)])
    assert not torch.allclose(first[0], first[-1]) or heads.heads.n_kv_heads == 1


def test_sublayers_add_up_to_the_residual_stream(loaded: LoadedModel, architecture: str) -> None:
    """block output = block input + attention + MLP, each norm after a sublayer (Gemma) applied to it first."""
    for block in loaded.anatomy.blocks[1:]:
        i = block.index
        names = (f"block.{i - 1}.out", f"block.{i}.attn", f"block.{i}.mlp", f"block.{i}.out")
        with captured(loaded, names) as seen:
            before, attention, mlp, after = (seen[name] for name in names)
        if len(block.norms) == 4:
            attention, mlp = block.norms[1].module(attention), block.norms[3].module(mlp)
        torch.testing.assert_close(before + attention + mlp, after, rtol=1e-4, atol=1e-4)


def test_block_outputs_are_the_hidden_states(loaded: LoadedModel) -> None:
    anatomy = loaded.anatomy
    assert anatomy.final_norm is not None
    with captured(loaded, (*anatomy.sites("out"), "final.norm")) as seen, torch.no_grad():
        states = loaded.model(IDS, output_hidden_states=True).hidden_states
    for i in range(BLOCKS - 1):
        torch.testing.assert_close(seen[f"block.{i}.out"], states[i + 1], rtol=0, atol=0)
    # The last of transformers' hidden states is already normed.
    torch.testing.assert_close(seen["final.norm"], states[BLOCKS], rtol=0, atol=0)
    normed = anatomy.final_norm.module(seen[f"block.{BLOCKS - 1}.out"])
    torch.testing.assert_close(normed, states[BLOCKS], rtol=0, atol=0)


def test_backbone_and_head_give_the_logits(loaded: LoadedModel) -> None:
    with torch.no_grad():
        hidden = loaded.anatomy.backbone(input_ids=IDS).last_hidden_state
        torch.testing.assert_close(loaded.anatomy.logits(hidden), loaded.model(IDS).logits, rtol=0, atol=0)


def test_looking_leaves_no_trace(architecture: str) -> None:
    loaded = tiny(architecture)
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    loaded.model.train()
    loaded.model.get_submodule(KNOWN[architecture].final).eval()
    modes = [module.training for module in loaded.model.modules()]
    state = torch.get_rng_state()
    find_anatomy(loaded.model)
    assert [module.training for module in loaded.model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in loaded.model.modules())
    assert all(parameter.grad is None for parameter in loaded.model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_shows_the_same_anatomy(architecture: str, dtype: torch.dtype) -> None:
    full, half = tiny(architecture).anatomy, find_anatomy(tiny(architecture).model.to(dtype))
    assert summary(half) == summary(full)


def test_site_names(loaded: LoadedModel, architecture: str) -> None:
    norms = len(KNOWN[architecture].norms)
    parts = [f"norm.{j}" for j in range(norms)] + ["heads", "attn", "mlp", "out"]
    everything = tuple(f"block.{i}.{part}" for i in range(BLOCKS) for part in parts)
    assert loaded.anatomy.sites() == (*everything, "final.norm")
    assert loaded.anatomy.sites("norm") == tuple(
        f"block.{i}.norm.{j}" for i in range(BLOCKS) for j in range(norms)
    )
    assert loaded.anatomy.sites("heads") == tuple(f"block.{i}.heads" for i in range(BLOCKS))
    with captured(loaded, loaded.anatomy.sites()) as seen:
        assert set(seen) == set(loaded.anatomy.sites())
        for name, value in seen.items():
            assert value.shape == (*IDS.shape, loaded.anatomy.site(name).width)


@pytest.mark.parametrize("name", ["Llama", "Gemma3", "GPT2"])
def test_the_anatomy_of_a_model_is_the_same_while_hooks_change_what_it_computes(name: str) -> None:
    model, plain = tiny(name).model, shared(name).anatomy
    norms = [model.get_submodule(norm.name) for norm in plain.all_norms]

    def steer(_: nn.Module, args: Any, output: Tensor) -> Tensor:
        called.append(1)
        return 3 * output - 7

    called: list[int] = []
    with torch.no_grad():
        base = model(IDS).logits
    handles = [norm.register_forward_hook(steer) for norm in norms]
    found = find_anatomy(model)
    assert not called
    assert summary(found) == summary(plain)
    for one, other in zip(found.all_norms, plain.all_norms, strict=True):
        for key in ("site", "name", "kind", "unit_offset", "weight_name", "bias_name"):
            assert getattr(one, key) == getattr(other, key)
    assert (found.logit_map is None) == (plain.logit_map is None)
    with torch.no_grad():
        steered = model(IDS).logits
        assert len(called) == len(norms)  # the hooks are back
        for handle in handles:
            handle.remove()  # and their handles still hold them
        assert not torch.allclose(steered, base, rtol=0.1)
        assert torch.equal(model(IDS).logits, base)
