"""What the tiny models are known to consist of: paths written by hand, here and nowhere in the package."""

from dataclasses import dataclass
from typing import Any

from equipoise.models import Anatomy


@dataclass(frozen=True)
class Known:
    blocks: str
    norms: tuple[str, ...]  # in the order in which they run
    projection: str
    mlp: str
    final: str
    mlp_norm: str
    attention_norm: str | None = None
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
    return llama_like(
        norms=GEMMA, mlp_norm=GEMMA[2], attention_norm=GEMMA[1], offset=True, head_dim=16, tied=True
    )


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
        kind="layer",
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
        kind="layer",
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
        kind="layer",
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
        kind="layer",
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
        kind="layer",
        parallel=True,
        tied=True,
    ),
    "Mixtral": llama_like(),
    "Qwen3Moe": llama_like(head_dim=16),
}


def summary(anatomy: Anatomy) -> list[Any]:
    """Everything about an anatomy that can be compared between two models."""
    found: list[Any] = [anatomy.backbone_name, anatomy.hidden_size, anatomy.tied, anatomy.logit_map]
    found += [
        (s, anatomy.site(s).path, anatomy.site(s).width, anatomy.site(s).where) for s in anatomy.sites()
    ]
    for block in anatomy.blocks:
        found += [(n.name, n.kind, n.unit_offset, n.weight_name, n.bias_name) for n in block.norms]
        found += [block.parallel, block.mlp_norm and block.mlp_norm.site]
        found += [block.attention_norm and block.attention_norm.site]
    return found
