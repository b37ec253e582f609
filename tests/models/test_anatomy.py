"""The anatomy against what each architecture is known to be: expected paths are written by hand, here and only here."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers
from tiny import ARCHITECTURES, BLOCKS, HEADS, HIDDEN, spread, tiny, tiny_tokenizer
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.models import Anatomy, LoadedModel, find_anatomy, hidden_of


@dataclass(frozen=True)
class Known:
    blocks: str
    norms: tuple[str, ...]  # in the order in which they run
    projection: str
    mlp: str
    final: str
    mlp_norm: str
    kind: str = "rms"
    offset: bool = False
    kv_heads: int = 2
    head_dim: int = 12
    parallel: bool = False
    tied: bool = False


LLAMA = ("input_layernorm", "post_attention_layernorm")
GEMMA = (*LLAMA, "pre_feedforward_layernorm", "post_feedforward_layernorm")


def llama_like(**differences: Any) -> Known:
    common = {
        "blocks": "model.layers",
        "norms": LLAMA,
        "projection": "self_attn.o_proj",
        "mlp": "mlp",
        "final": "model.norm",
        "mlp_norm": "post_attention_layernorm",
    }
    return Known(**{**common, **differences})


def gemma_like() -> Known:
    return llama_like(norms=GEMMA, mlp_norm=GEMMA[2], offset=True, head_dim=16, tied=True)


KNOWN = {
    "Llama": llama_like(tied=True),
    "Qwen2": llama_like(),
    "Qwen3": llama_like(head_dim=16),
    "Gemma2": gemma_like(),
    "Gemma3": gemma_like(),
    "Mistral": llama_like(),
    "Phi3": llama_like(),
    "GPT2": Known(
        "transformer.h",
        ("ln_1", "ln_2"),
        "attn.c_proj",
        "mlp",
        "transformer.ln_f",
        "ln_2",
        "layer",
        kv_heads=4,
        tied=True,
    ),
    "GPTNeoX": Known(
        "gpt_neox.layers",
        LLAMA,
        "attention.dense",
        "mlp",
        "gpt_neox.final_layer_norm",
        LLAMA[1],
        "layer",
        kv_heads=4,
        parallel=True,
    ),
    "OPT": Known(
        "model.decoder.layers",
        ("self_attn_layer_norm", "final_layer_norm"),
        "self_attn.out_proj",
        "fc2",
        "model.decoder.final_layer_norm",
        "final_layer_norm",
        "layer",
        kv_heads=4,
        tied=True,
    ),
    "BLOOM": Known(
        "transformer.h",
        LLAMA,
        "self_attention.dense",
        "mlp",
        "transformer.ln_f",
        LLAMA[1],
        "layer",
        kv_heads=4,
        tied=True,
    ),
    "Falcon": Known(
        "transformer.h",
        ("ln_attn", "ln_mlp"),
        "self_attention.dense",
        "mlp",
        "transformer.ln_f",
        "ln_mlp",
        "layer",
        parallel=True,
        tied=True,
    ),
    "Mixtral": llama_like(),
    "Qwen3Moe": llama_like(head_dim=16),
}

IDS = torch.tensor([[7, 30, 90, 12, 200], [41, 8, 300, 77, 5]])


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def loaded(architecture: str) -> LoadedModel:
    return tiny(architecture)


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
    assert describe(half) == describe(full)


def describe(anatomy: Anatomy) -> list[Any]:
    found: list[Any] = [anatomy.backbone_name, anatomy.hidden_size, anatomy.tied, anatomy.logit_map]
    found += [
        (s, anatomy.site(s).path, anatomy.site(s).width, anatomy.site(s).where) for s in anatomy.sites()
    ]
    for block in anatomy.blocks:
        found += [(n.name, n.kind, n.unit_offset, n.weight_name, n.bias_name) for n in block.norms]
        found += [block.parallel, block.mlp_norm and block.mlp_norm.site]
    return found


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


# Variants of architectures whose structure differs by a setting.


def test_gpt_neox_in_sequence() -> None:
    assert not any(b.parallel for b in tiny("GPTNeoX", use_parallel_residual=False).anatomy.blocks)


def test_falcon_with_one_norm_for_both_sublayers_and_one_key_value_head() -> None:
    anatomy = tiny("Falcon", new_decoder_architecture=False, multi_query=True, num_kv_heads=None).anatomy
    block = anatomy.blocks[1]
    assert [norm.name for norm in block.norms] == ["transformer.h.1.input_layernorm"]
    assert block.mlp_norm is block.norms[0] and block.parallel
    assert block.attention is not None and block.attention.heads is not None
    assert block.attention.heads.n_kv_heads == 1


def test_falcon_in_sequence() -> None:
    settings = {
        "new_decoder_architecture": False,
        "multi_query": False,
        "parallel_attn": False,
        "alibi": True,
    }
    block = tiny("Falcon", num_kv_heads=None, **settings).anatomy.blocks[0]
    assert [n.name.rpartition(".")[2] for n in block.norms] == list(LLAMA)
    assert not block.parallel


def test_opt_with_norms_after_the_sublayers_and_a_projected_embedding() -> None:
    loaded = tiny("OPT", do_layer_norm_before=False, word_embed_proj_dim=32)
    anatomy = loaded.anatomy
    assert anatomy.final_norm is None and "final.norm" not in anatomy.sites()
    assert anatomy.hidden_size == HIDDEN
    assert [n.name.rpartition(".")[2] for n in anatomy.blocks[0].norms] == [
        "self_attn_layer_norm",
        "final_layer_norm",
    ]
    with torch.no_grad():
        hidden = anatomy.backbone(input_ids=IDS).last_hidden_state
        assert torch.equal(anatomy.logits(hidden), loaded.model(IDS).logits)


def test_experts_are_not_taken_for_blocks() -> None:
    assert len(tiny("Qwen3Moe", num_experts=16, num_hidden_layers=2).anatomy.blocks) == 2


def test_one_block() -> None:
    assert len(tiny("Llama", num_hidden_layers=1).anatomy.blocks) == 1


def test_an_mlp_as_wide_as_the_stream() -> None:
    block = tiny("OPT", ffn_dim=HIDDEN).anatomy.blocks[0]
    assert block.mlp is not None and block.mlp.name.endswith("fc2")
    assert block.mlp_norm is block.norms[1]


SMALL = {
    "vocab_size": 384,
    "hidden_size": HIDDEN,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}


def built(name: str, **settings: Any) -> transformers.PreTrainedModel:
    """A model of another architecture, with random weights."""
    config = getattr(transformers, f"{name}Config")(**settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        auto = (
            transformers.AutoModelForImageTextToText
            if "text_config" in settings
            else transformers.AutoModelForCausalLM
        )
        model = auto.from_config(config)
    spread(model, 0)
    return model.eval()


@pytest.mark.parametrize(("setting", "value"), [("logits_scaling", 8.0), ("logits_scaling", 3.0)])
def test_scaled_logits(setting: str, value: float) -> None:
    model = built("Granite", **SMALL, **{setting: value})
    anatomy = find_anatomy(model)
    assert anatomy.logit_map is not None and anatomy.logit_map.scale == 1 / value
    with torch.no_grad():
        hidden = anatomy.backbone(input_ids=IDS).last_hidden_state
        torch.testing.assert_close(anatomy.logits(hidden), model(IDS).logits)


def test_a_soft_cap_is_seen_even_where_it_hardly_acts() -> None:
    anatomy = tiny("Gemma2", final_logit_softcapping=30.0).anatomy
    assert anatomy.logit_map is not None
    assert (anatomy.logit_map.scale, anatomy.logit_map.softcap) == (1.0, 30.0)


def test_norms_without_weights() -> None:
    anatomy = find_anatomy(built("Olmo", **SMALL))
    assert [n.name for n in anatomy.blocks[0].norms] == [f"model.layers.0.{name}" for name in LLAMA]
    norm = anatomy.norms[0]
    assert (norm.kind, norm.weight_name, norm.has_bias, norm.unit_offset) == ("layer", None, False, False)


def test_norms_of_queries_and_keys_as_wide_as_the_stream_are_not_counted() -> None:
    block = find_anatomy(built("Olmo2", **SMALL)).blocks[0]
    assert [n.name.rpartition(".")[2] for n in block.norms] == [
        "post_attention_layernorm",
        "post_feedforward_layernorm",
    ]
    assert block.mlp_norm is None


def test_one_norm_for_both_sublayers_and_scaled_logits() -> None:
    anatomy = find_anatomy(built("Cohere", **SMALL))
    assert [[n.name.rpartition(".")[2] for n in b.norms] for b in anatomy.blocks] == [["input_layernorm"]] * 2
    assert all(b.parallel and b.mlp_norm is b.norms[0] for b in anatomy.blocks)
    assert anatomy.logit_map is not None and anatomy.logit_map.scale == 0.0625


def test_a_gate_on_the_queries_is_not_counted_as_heads_and_linear_attention_has_none() -> None:
    experts = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 20}
    linear = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8}
    settings = {
        **SMALL,
        **experts,
        **linear,
        "linear_value_head_dim": 8,
        "shared_expert_intermediate_size": 20,
    }
    anatomy = find_anatomy(built("Qwen3Next", **{**settings, "head_dim": 16, "num_hidden_layers": 4}))
    found = [b.attention.heads if b.attention is not None else None for b in anatomy.blocks]
    assert found[:3] == [None] * 3
    assert found[3] is not None and (found[3].n_heads, found[3].n_kv_heads, found[3].head_dim) == (4, 2, 16)
    assert anatomy.sites("heads") == ("block.3.heads",)
    assert len(anatomy.sites("attn")) == 4
    with pytest.raises(InputError, match=r"no site 'block\.0\.heads'"):
        anatomy.site("block.0.heads")


def test_a_layer_between_backbone_and_head_is_noticed() -> None:
    anatomy = find_anatomy(built("ModernBertDecoder", **SMALL))
    with pytest.raises(InputError, match="call the whole model"):
        anatomy.logits(torch.zeros(1, HIDDEN))


@pytest.mark.parametrize(("text", "norms"), [("llama", 2), ("gemma2", 4)])
def test_the_text_backbone_of_a_vision_language_model(text: str, norms: int) -> None:
    seeing = {
        "model_type": "clip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_hidden_layers": 5,
    }
    seeing |= {"num_attention_heads": 2, "image_size": 16, "patch_size": 8}
    model = built(
        "Llava", text_config={"model_type": text, **SMALL}, vision_config=seeing, image_token_id=380
    )
    anatomy = find_anatomy(model)
    assert anatomy.backbone_name == "model.language_model"
    assert [b.name for b in anatomy.blocks] == [
        "model.language_model.layers.0",
        "model.language_model.layers.1",
    ]
    assert [len(b.norms) for b in anatomy.blocks] == [norms] * 2
    assert anatomy.final_norm is not None and anatomy.final_norm.name == "model.language_model.norm"
    with torch.no_grad():
        hidden = anatomy.backbone(input_ids=IDS).last_hidden_state
        torch.testing.assert_close(anatomy.logits(hidden), model(input_ids=IDS).logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", ["Gemma3", "Llama", "GPT2"])
def test_one_more_is_seen_beside_large_weights(architecture: str, dtype: torch.dtype) -> None:
    loaded = tiny(architecture)
    with torch.no_grad():
        for norm in loaded.anatomy.norms:
            norm.module.get_parameter(norm.weight_name or "").mul_(300)  # as in Gemma-3-270M
    found = find_anatomy(loaded.model.to(dtype))
    assert {norm.unit_offset for norm in found.norms} == {KNOWN[architecture].offset}
    assert {norm.weight_name for norm in found.norms} == {"weight"}


# What can't be found.


def test_unknown_site_says_which_there_are() -> None:
    with pytest.raises(
        InputError, match=r"no site 'block\.9\.out': this model has .*block\.i\.norm\.1.* 0 to 2 and final"
    ):
        tiny("Llama").anatomy.site("block.9.out")


def test_a_backbone_without_head_is_refused() -> None:
    with pytest.raises(InputError, match="no language-model head"):
        find_anatomy(tiny("Llama").model.model)


def test_an_encoder_is_refused() -> None:
    config = transformers.BertConfig(
        vocab_size=384, hidden_size=HIDDEN, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4
    )
    with pytest.raises(InputError, match="looks at later tokens"):
        find_anatomy(transformers.BertForMaskedLM(config).eval())


def scattered() -> LoadedModel:
    loaded = tiny("Llama")
    loaded.model.model.layers = nn.Sequential(*loaded.model.model.layers)
    return loaded


def test_blocks_that_are_not_found_can_be_named() -> None:
    loaded = scattered()
    with pytest.raises(
        InputError, match=r"found no decoder blocks in LlamaForCausalLM.*blocks='model\.layers'"
    ):
        find_anatomy(loaded.model)
    assert describe(find_anatomy(loaded.model, blocks="model.layers")) == describe(tiny("Llama").anatomy)


@pytest.mark.parametrize("name", ["model.embed_tokens", "model.layers.0.mlp", "model.nowhere"])
def test_a_wrong_list_of_blocks_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        find_anatomy(tiny("Llama").model, blocks=name)


def test_a_missing_head_number() -> None:
    heads = tiny("Llama").anatomy.blocks[0].attention
    assert heads is not None and heads.heads is not None
    with pytest.raises(InputError, match="heads 0 to 3"):
        heads.heads.slice(4)


def test_the_tiny_tokenizer_encodes_any_text() -> None:
    tokenizer = tiny_tokenizer()
    text = "The mechanic said that he… ☂"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert len(tokenizer(" he").input_ids) == 1
    assert tiny_tokenizer(add_bos=True)(text).input_ids[0] == tokenizer.bos_token_id
