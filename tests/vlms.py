"""Tiny random vision-language models of every kind, each with a tokenizer and a processor made here.

Image sizes are a few patches, so that a prompt has some twenty tokens. Where a processor has a part for videos, which
needs torchvision, it is built without.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from tiny import BLOCKS, BOS, EOS, HEADS, HIDDEN, INNER, PAD, spread, tiny_tokenizer
from transformers import PreTrainedTokenizerFast
from transformers.models.smolvlm import processing_smolvlm

from equipoise.models import LoadedModel
from equipoise.models.processors import without_videos

SPECIAL = {
    "image_token": "<image>",
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<ctx>",
    "video_token": "<video>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}
_CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}</s>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def picture(seed: int, size: tuple[int, int] = (28, 28)) -> bytes:
    """A PNG of coarse random colours."""
    noise = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def _tokenizer(placeholder: str, named: Mapping[str, str]) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer().backend_tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="left",
        additional_special_tokens=["<fake_token_around_image>", "<global-img>"],
        extra_special_tokens=dict(named),
    )
    tokenizer.chat_template = _CHAT.replace("IMAGE", placeholder)
    return tokenizer


def _text(kind: str = "llama", **more: Any) -> dict[str, Any]:
    return {
        "model_type": kind,
        "vocab_size": 400,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        **more,
    }


_SEEING = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2}


def _sized(side: int) -> dict[str, Any]:
    return {"height": side, "width": side}


def _clip(**more: Any) -> dict[str, Any]:
    return {"model_type": "clip_vision_model", "image_size": 28, "patch_size": 14, **_SEEING, **more}


def _clip_pixels(**more: Any) -> Any:
    return transformers.CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=_sized(28), **more)


_LLAVA: dict[str, Any] = {"vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}


def _llava(tokenizer: Any) -> tuple[dict[str, Any], Any]:
    processor = transformers.LlavaProcessor(_clip_pixels(), tokenizer, patch_size=14, **_LLAVA)
    return {"vision_config": _clip(), "text_config": _text(), "image_seq_length": 4}, processor


def _llava_next(tokenizer: Any) -> tuple[dict[str, Any], Any]:
    grid = [[28, 56], [56, 28], [56, 56]]
    pixels = transformers.LlavaNextImageProcessorPil(
        size={"shortest_edge": 28}, crop_size=_sized(28), image_grid_pinpoints=grid
    )
    processor = transformers.LlavaNextProcessor(pixels, tokenizer, patch_size=14, **_LLAVA)
    return {"vision_config": _clip(), "text_config": _text(), "image_grid_pinpoints": grid}, processor


def _qwen2_vl(tokenizer: Any) -> tuple[dict[str, Any], Any]:
    pixels = transformers.Qwen2VLImageProcessorPil(patch_size=7, min_pixels=14 * 14, max_pixels=28 * 28)
    processor = without_videos(transformers.Qwen2VLProcessor)(pixels, tokenizer)
    seeing = {
        "depth": 2,
        "embed_dim": 32,
        "hidden_size": HIDDEN,
        "num_heads": 2,
        "patch_size": 7,
        "mlp_ratio": 2,
    }
    rope = {"rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 10000.0}
    return {"vision_config": seeing, "text_config": _text("qwen2_vl_text", rope_parameters=rope)}, processor


def _qwen2_5_vl(tokenizer: Any) -> tuple[dict[str, Any], Any]:
    config, processor = _qwen2_vl(tokenizer)
    seeing = {"depth": 2, "hidden_size": 32, "intermediate_size": 40, "num_heads": 2, "patch_size": 7}
    seeing |= {"out_hidden_size": HIDDEN, "window_size": 28, "fullatt_block_indexes": [1]}
    text = {**config["text_config"], "model_type": "qwen2_5_vl_text"}
    processor = without_videos(transformers.Qwen2_5_VLProcessor)(processor.image_processor, tokenizer)
    return {"vision_config": seeing, "text_config": text}, processor


def _qwen3_vl(tokenizer: Any) -> tuple[dict[str, Any], Any]:
    _, processor = _qwen2_vl(tokenizer)
    seeing = {"depth": 3, "hidden_size": 32, "intermediate_size": 40, "num_heads": 2, "patch_size": 7}
    seeing |= {"out_hidden_size": HIDDEN, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    rope = {
        "rope_type": "default",
        "mrope_section": [3, 3, 2],
        "mrope_interleaved": True,
        "rope_theta": 10000.0,
    }
    text = _text("qwen3_vl_text", rope_parameters=rope, head_dim=16)
    processor = without_videos(transformers.Qwen3VLProcessor)(processor.image_processor, tokenizer)
    return {"vision_config": seeing, "text_config": text}, processor


def _siglip(**more: Any) -> dict[str, Any]:
    return {"model_type": "siglip_vision_model", "image_size": 28, "patch_size": 7, **_SEEING, **more}


def _gemma3(tokenizer: Any) -> tuple[dict[str, Any], Any]:
    pixels = transformers.Gemma3ImageProcessorPil(size=_sized(28))
    text = _text("gemma3_text", head_dim=16, query_pre_attn_scalar=16, sliding_window=32)
    config = {"vision_config": _siglip(), "text_config": text, "mm_tokens_per_image": 4}
    return config, transformers.Gemma3Processor(pixels, tokenizer, image_seq_length=4)


def _idefics3(tokenizer: Any) -> tuple[dict[str, Any], Any]:
    pixels = transformers.Idefics3ImageProcessorPil(
        size={"longest_edge": 56}, max_image_size={"longest_edge": 28}, do_image_splitting=True
    )
    config = {
        "vision_config": {"image_size": 28, "patch_size": 7, **_SEEING},
        "text_config": _text(),
        "scale_factor": 2,
    }
    return config, transformers.Idefics3Processor(pixels, tokenizer, image_seq_len=4)


def _smolvlm(tokenizer: Any) -> tuple[dict[str, Any], Any]:
    pixels = transformers.SmolVLMImageProcessorPil(
        size={"longest_edge": 56}, max_image_size={"longest_edge": 28}, do_image_splitting=False
    )
    config, _ = _idefics3(tokenizer)
    if processing_smolvlm.num2words is None:
        processing_smolvlm.num2words = str  # only videos need it
    return config, without_videos(transformers.SmolVLMProcessor)(pixels, tokenizer, None, image_seq_len=4)


def _internvl(tokenizer: Any) -> tuple[dict[str, Any], Any]:
    pixels = transformers.GotOcr2ImageProcessorPil(size=_sized(28), min_patches=1, max_patches=2)
    seeing = {"image_size": [28, 28], "patch_size": [7, 7], "layer_norm_eps": 1e-6, **_SEEING}
    processor = without_videos(transformers.InternVLProcessor)(pixels, tokenizer, image_seq_length=4)
    return {"vision_config": seeing, "text_config": _text("qwen2"), "image_seq_length": 4}, processor


def _paligemma(tokenizer: Any) -> tuple[dict[str, Any], Any]:
    pixels = transformers.SiglipImageProcessorPil(size=_sized(28))
    pixels.image_seq_length = 16
    tokenizer.add_tokens(["\n"])
    processor = transformers.PaliGemmaProcessor(pixels, tokenizer)
    text = _text("gemma", head_dim=16, vocab_size=2000)
    config = {"vision_config": _siglip(projection_dim=HIDDEN), "text_config": text, "projection_dim": HIDDEN}
    return config, processor


def _mllama(tokenizer: Any) -> tuple[dict[str, Any], Any]:
    pixels = transformers.MllamaImageProcessorPil(size=_sized(28), max_image_tiles=2)
    seeing = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_global_layers": 1}
    seeing |= {"attention_heads": 2, "image_size": 28, "patch_size": 14, "max_num_tiles": 2}
    seeing |= {"intermediate_layers_indices": [0], "vision_output_dim": 64}
    seeing |= {"supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]]}
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    text = _text("mllama_text_model", cross_attention_layers=[1], rope_parameters=rope)
    return {"vision_config": seeing, "text_config": text}, transformers.MllamaProcessor(pixels, tokenizer)


def _blip_2(tokenizer: Any) -> tuple[dict[str, Any], Any]:
    pixels = transformers.BlipImageProcessorPil(size=_sized(28))
    seeing = {"image_size": 28, "patch_size": 7, **_SEEING}
    asking = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
    text = {"model_type": "opt", "word_embed_proj_dim": HIDDEN, "ffn_dim": INNER, **_text("opt")}
    config = {
        "vision_config": seeing,
        "qformer_config": {**asking, "encoder_hidden_size": 32},
        "text_config": text,
    }
    return {**config, "num_query_tokens": 4}, transformers.Blip2Processor(
        pixels, tokenizer, num_query_tokens=4
    )


# name -> (config class, the placeholder its chat template writes, how it is built)
_KINDS: dict[str, tuple[str, str, Callable[[Any], tuple[dict[str, Any], Any]]]] = {
    "LLaVA": ("LlavaConfig", "<image>", _llava),
    "LLaVA-NeXT": ("LlavaNextConfig", "<image>", _llava_next),
    "Qwen2-VL": ("Qwen2VLConfig", "<|vision_start|><image><|vision_end|>", _qwen2_vl),
    "Qwen2.5-VL": ("Qwen2_5_VLConfig", "<|vision_start|><image><|vision_end|>", _qwen2_5_vl),
    "Qwen3-VL": ("Qwen3VLConfig", "<|vision_start|><image><|vision_end|>", _qwen3_vl),
    "Gemma-3": ("Gemma3Config", "<start_of_image>", _gemma3),
    "SmolVLM": ("SmolVLMConfig", "<image>", _smolvlm),
    "Idefics3": ("Idefics3Config", "<image>", _idefics3),
    "InternVL": ("InternVLConfig", "<ctx>", _internvl),
    "PaliGemma": ("PaliGemmaConfig", "<image>", _paligemma),
    "Mllama": ("MllamaConfig", "<|image|>", _mllama),
    "BLIP-2": ("Blip2Config", "<image>", _blip_2),
}
VLMS = tuple(_KINDS)


def tiny_vlm(name: str, seed: int = 0) -> LoadedModel:
    """A random vision-language model of the kind ``name`` (see :data:`VLMS`) with its processor; float32, CPU."""
    config_class, placeholder, build = _KINDS[name]
    named = dict(SPECIAL)
    if name == "Mllama":
        named["image_token"] = "<|image|>"
    if name == "BLIP-2":
        del named["image_token"]  # its processor adds its own
    tokenizer = _tokenizer(placeholder, named)
    with warnings.catch_warnings():
        settings, processor = build(tokenizer)
    processor.chat_template = tokenizer.chat_template
    image = "context_image_token" if name == "InternVL" else "image_token"
    ids = [tokenizer.convert_tokens_to_ids(named.get(token, "<image>")) for token in (image, "video_token")]
    places = dict(zip(("image_token_id", "video_token_id"), ids, strict=True))
    if name in ("Mllama", "BLIP-2", "Gemma-3"):
        places = {"image_token_index": places["image_token_id"]}
    config = getattr(transformers, config_class)(
        **settings, **places, pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.AutoModelForImageTextToText.from_config(config)
    spread(model, seed)
    return LoadedModel(model.eval(), processor.tokenizer, processor, f"tiny-{name}-{seed}")
