"""Variants: settings that change an architecture's structure, other families, and what can't be found."""

from typing import Any

import pytest
import torch
import transformers
from known import KNOWN, LLAMA, summary
from tiny import HIDDEN, spread, tiny, tiny_tokenizer
from torch import nn

from equipoise.errors import InputError
from equipoise.models import LoadedModel, find_anatomy

IDS = torch.tensor([[7, 30, 90, 12, 200], [41, 8, 300, 77, 5]])

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
    assert block.mlp_norm is None and block.attention_norm is block.norms[0]


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


def test_a_state_space_layer_beside_attention_is_no_mlp() -> None:
    beside = {"mamba_d_ssm": 96, "mamba_n_heads": 12, "mamba_d_head": 8, "mamba_d_state": 8}
    block = find_anatomy(built("FalconH1", **SMALL, **beside)).blocks[0]
    assert block.attention is not None and block.attention.name.endswith("self_attn")
    assert block.mlp is not None and block.mlp.name.endswith("feed_forward")
    assert not block.parallel and block.mlp_norm is block.norms[1]


@pytest.mark.parametrize("name", ["BertGeneration", "RobertaPreLayerNorm"])
def test_an_output_projection_beside_the_attention(name: str) -> None:
    """BERT's family: the module that mixes tokens gives the heads, and the next one projects them."""
    model = built(name, **SMALL, is_decoder=True)
    anatomy = find_anatomy(model)
    assert anatomy.backbone is model.base_model
    for block in anatomy.blocks:
        assert block.attention is not None and block.attention.heads is not None and block.mlp is not None
        assert block.attention.name.endswith("attention.self")
        assert block.attention.heads.projection.name.endswith("attention.output.dense")
        assert (block.attention.heads.n_heads, block.attention.heads.head_dim) == (4, 12)
        assert anatomy.site(f"block.{block.index}.attn").path.endswith("attention.output.dense")
        assert block.mlp.name == f"{block.name}.output.dense"
        assert len(block.norms) == 2 and block.mlp_norm is not None and not block.parallel
    if anatomy.logit_map is not None:  # RoBERTa has a further layer before its head
        with torch.no_grad():
            hidden = anatomy.backbone(input_ids=IDS).last_hidden_state
            torch.testing.assert_close(anatomy.logits(hidden), model(IDS).logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_scaled_before_the_head(dtype: torch.dtype) -> None:
    latent = {"q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8}
    settings = {**SMALL, **latent, "v_head_dim": 12, "num_key_value_heads": 4, "dim_model_base": 20}
    model = built("MiniCPM3", **settings).to(dtype)
    anatomy = find_anatomy(model)
    assert anatomy.logit_map is not None
    assert anatomy.logit_map.scale == pytest.approx(20 / HIDDEN, rel=1e-3)
    with torch.no_grad():
        hidden = anatomy.backbone(input_ids=IDS).last_hidden_state
        near = {} if dtype is torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
        torch.testing.assert_close(anatomy.logits(hidden), model(IDS).logits, **near)


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


XLM = {"vocab_size": 384, "emb_dim": HIDDEN, "n_layers": 2, "n_heads": 4, "causal": True, "pad_index": 0}
REFORMER = {
    **SMALL,
    "is_decoder": True,
    "axial_pos_embds": False,
    "attn_layers": ["local", "local"],
    "local_attn_chunk_length": 8,
    "attention_head_size": 12,
    "feed_forward_size": 80,
}


@pytest.mark.parametrize(
    ("name", "settings", "why"),
    [
        ("XLM", XLM, "changes the stream between its blocks"),
        ("Reformer", REFORMER, "several streams of hidden states"),
        ("HrmText", SMALL, "its blocks|between its blocks"),
    ],
)
def test_what_is_no_plain_sequence_of_blocks_is_refused(
    name: str, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=why) as refused:
        find_anatomy(built(name, **settings))
    assert "\n" not in str(refused.value)


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
    assert summary(find_anatomy(loaded.model, blocks="model.layers")) == summary(tiny("Llama").anatomy)


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
