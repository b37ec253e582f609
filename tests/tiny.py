"""Tiny random models of every architecture family, for tests: built in milliseconds, no file and no network.

Their weights are spread wide on purpose. A freshly initialised transformer has norms of exactly one, biases of zero and
almost equal logits; a mistake in a norm, a bias or a head would not show.
"""

import functools
import math
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from equipoise.models import LoadedModel

PAD, BOS, EOS = 0, 1, 2
HIDDEN, HEADS, BLOCKS, INNER = 48, 4, 3, 80

_CORPUS = (
    "The mechanic said that he was busy. The nurse said that she was busy. The teacher said that they were busy.",
    "My aunt is the mechanic. My uncle is the nurse. The doctor told the cleaner that he was late because she left.",
    "Once upon a time there was a developer who argued with the designer; they did not like the idea of her plan.",
)
_CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@functools.cache
def _tokenizer_json(add_bos: bool) -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    if add_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", BOS)]
        )
    return str(tokenizer.to_str())


def tiny_tokenizer(*, add_bos: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with a chat template: it encodes any text; common words are one token."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_tokenizer_json(add_bos)),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="left",
    )
    tokenizer.chat_template = _CHAT
    return tokenizer


def _modern(**more: Any) -> dict[str, Any]:
    """The settings that Llama's relatives share, with grouped queries."""
    return {
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        **more,
    }


# name -> (config class, model class, settings). Where head_dim is set it differs from hidden / heads on purpose.
_FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "Llama": ("LlamaConfig", "LlamaForCausalLM", _modern(tie_word_embeddings=True)),
    "Qwen2": ("Qwen2Config", "Qwen2ForCausalLM", _modern()),
    "Qwen3": ("Qwen3Config", "Qwen3ForCausalLM", _modern(head_dim=16)),
    "Gemma2": (
        "Gemma2Config",
        "Gemma2ForCausalLM",
        _modern(head_dim=16, query_pre_attn_scalar=16, sliding_window=32, attn_implementation="eager"),
    ),
    "Gemma3": (
        "Gemma3TextConfig",
        "Gemma3ForCausalLM",
        _modern(head_dim=16, query_pre_attn_scalar=16, sliding_window=32),
    ),
    "Mistral": ("MistralConfig", "MistralForCausalLM", _modern(head_dim=12, sliding_window=None)),
    "Phi3": ("Phi3Config", "Phi3ForCausalLM", _modern()),
    "GPT2": (
        "GPT2Config",
        "GPT2LMHeadModel",
        {"n_embd": HIDDEN, "n_layer": BLOCKS, "n_head": HEADS, "n_positions": 256, "n_inner": INNER},
    ),
    "GPTNeoX": (
        "GPTNeoXConfig",
        "GPTNeoXForCausalLM",
        {
            "hidden_size": HIDDEN,
            "intermediate_size": INNER,
            "num_hidden_layers": BLOCKS,
            "num_attention_heads": HEADS,
            "max_position_embeddings": 256,
        },
    ),
    "OPT": (
        "OPTConfig",
        "OPTForCausalLM",
        {
            "hidden_size": HIDDEN,
            "word_embed_proj_dim": HIDDEN,
            "ffn_dim": INNER,
            "num_hidden_layers": BLOCKS,
            "num_attention_heads": HEADS,
            "max_position_embeddings": 256,
        },
    ),
    "BLOOM": ("BloomConfig", "BloomForCausalLM", {"hidden_size": HIDDEN, "n_layer": BLOCKS, "n_head": HEADS}),
    "Falcon": (
        "FalconConfig",
        "FalconForCausalLM",
        {
            "hidden_size": HIDDEN,
            "num_hidden_layers": BLOCKS,
            "num_attention_heads": HEADS,
            "new_decoder_architecture": True,
            "num_kv_heads": 2,
            "ffn_hidden_size": INNER,
        },
    ),
    "Mixtral": (
        "MixtralConfig",
        "MixtralForCausalLM",
        _modern(num_local_experts=4, num_experts_per_tok=2, sliding_window=None),
    ),
    "Qwen3Moe": (
        "Qwen3MoeConfig",
        "Qwen3MoeForCausalLM",
        _modern(head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=40),
    ),
}

ARCHITECTURES: tuple[str, ...] = tuple(_FAMILIES)


def spread(model: PreTrainedModel, seed: int) -> None:
    """Give every parameter a wide random value: matrices keep the scale of their input, vectors move by about 0.2."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim >= 2:
                parameter.copy_(noise / math.sqrt(min(parameter.shape[-2:])))
            else:
                parameter.add_(0.2 * noise)


def tiny(name: str, seed: int = 0, **overrides: Any) -> LoadedModel:
    """A random model of the family ``name`` (see :data:`ARCHITECTURES`) with its tokenizer; float32, CPU, eval mode.

    ``overrides`` go to the model's config, for instance ``num_hidden_layers=2``. The same ``seed`` gives the same
    weights. The model has 3 blocks of width 48 with 4 heads, and 2 key-value heads where the family groups queries.
    """
    config_class, model_class, settings = _FAMILIES[name]
    tokenizer = tiny_tokenizer()
    specials = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
    config: PretrainedConfig = getattr(transformers, config_class)(
        vocab_size=len(tokenizer), **specials, **{**settings, **overrides}
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, model_class)(config)
    spread(model, seed)
    return LoadedModel(model=model.eval(), tokenizer=tokenizer, processor=None, name=f"tiny-{name}-{seed}")
