"""A merged model as a GGUF file for llama.cpp, in its ``llama`` architecture, which loads every bias that merging adds.

Models that are Llama in all but name are written as Llama first; other families, and tokenizers that llama.cpp would
split otherwise, are refused: llama.cpp's own converter may know them, and reads what ``--format hf`` writes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..models import LoadedModel
from .gguf_vocabulary import Vocabulary, read_vocabulary
from .llama import as_llama

if TYPE_CHECKING:
    from gguf import GGUFWriter

GgufType = Literal["f32", "f16", "q8_0"]
_ELSE = "write --format hf and convert that with llama.cpp's convert_hf_to_gguf.py"

_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def require_gguf() -> None:
    """Raise :class:`InputError` with the command that installs it if the package gguf is missing."""
    if importlib.util.find_spec("gguf") is None:
        raise InputError("writing GGUF needs the package gguf: pip install gguf")


def save_gguf(loaded: LoadedModel, path: Path, kind: GgufType = "f16", *, name: str = "") -> float:
    """Write ``loaded`` to ``path`` and read it back; returns the largest error of a weight, relative to its tensor's.

    Args:
        loaded: Llama, or a model that can be written as Llama (see :func:`as_llama`).
        path: a new file.
        kind: of the matrices: ``f32``, ``f16`` or ``q8_0``; norms and biases are always float32. Matrices whose rows
            don't divide into blocks of 32 are float16 in ``q8_0``.
        name: the model's name in the file.

    Raises :class:`InputError` for what can't be written so, and for a file that doesn't hold what it should.
    """
    require_gguf()
    from gguf import GGUFWriter

    llama = as_llama(loaded)
    vocabulary = read_vocabulary(llama.tokenizer, int(llama.model.config.vocab_size))
    writer = GGUFWriter(path, "llama")
    _describe(writer, llama, kind, name or loaded.name)
    _add_vocabulary(writer, vocabulary, llama)
    for tensor_name, tensor in tensors(llama):
        data, quantised = _encoded(tensor, kind)
        writer.add_tensor(tensor_name, data, raw_dtype=quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return _read_back(llama, path, kind)


def tensors(llama: LoadedModel) -> Iterator[tuple[str, Tensor]]:
    """llama.cpp's name and layout of every weight, in fp32 on the CPU.

    llama.cpp turns pairs of neighbouring entries of a query or key where transformers turns entries half a head apart,
    so the rows of these projections change places.
    """
    config: Any = llama.model.config
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for full, parameter in llama.model.named_parameters():
        module, _, part = full.rpartition(".")
        if module in _TOP:
            target = _TOP[module]
        else:
            _, _, index, inner = module.split(".", 3)
            if inner not in _BLOCK:
                raise InputError(f"llama.cpp's llama has no place for {full}: {_ELSE}")
            target = f"blk.{index}.{_BLOCK[inner]}"
        tensor = parameter.detach().float().cpu()
        turned = heads.get(target.rpartition(".")[2])
        yield f"{target}.{part}", tensor if turned is None else _neighbouring(tensor, int(turned))


def _neighbouring(rows: Tensor, heads: int) -> Tensor:
    split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return split.transpose(1, 2).reshape(rows.shape).contiguous()


def _describe(writer: GGUFWriter, llama: LoadedModel, kind: GgufType, name: str) -> None:
    from gguf import LlamaFileType

    config: Any = llama.model.config
    rope = dict(config.rope_parameters)
    if rope.get("rope_type", "default") not in ("default", "linear"):
        raise InputError(f"RoPE of the type {rope['rope_type']!r} is not written here: {_ELSE}")
    if config.hidden_act not in ("silu", "swish"):
        raise InputError(f"llama.cpp's llama has the activation silu, not {config.hidden_act}: {_ELSE}")
    writer.add_type("model")
    writer.add_name(name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    if rope.get("rope_type") == "linear":
        from gguf import RopeScalingType

        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    types = {"f32": LlamaFileType.ALL_F32, "f16": LlamaFileType.MOSTLY_F16, "q8_0": LlamaFileType.MOSTLY_Q8_0}
    writer.add_file_type(types[kind])
    writer.add_quantization_version(2)


def _add_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary, llama: LoadedModel) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.types))
    writer.add_token_merges(list(vocabulary.merges))
    tokenizer = llama.tokenizer
    for value, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.eos_token_id, writer.add_eos_token_id),
        (tokenizer.unk_token_id, writer.add_unk_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
    ):
        if value is not None:
            add(int(value))
    writer.add_add_bos_token(vocabulary.opens)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def _encoded(tensor: Tensor, kind: GgufType) -> tuple[NDArray[Any], Any]:
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    array: NDArray[Any] = tensor.numpy()
    if kind == "f32" or array.ndim == 1:
        return array, GGMLQuantizationType.F32
    if kind == "q8_0" and array.shape[-1] % 32 == 0:
        return quantize(array, GGMLQuantizationType.Q8_0), GGMLQuantizationType.Q8_0
    if float(np.abs(array).max()) > np.finfo(np.float16).max:
        raise InputError("a weight is too large for float16: choose --gguf-type f32")
    return array.astype(np.float16), GGMLQuantizationType.F16


def _read_back(llama: LoadedModel, path: Path, kind: GgufType) -> float:
    from gguf import GGUFReader
    from gguf.quants import dequantize

    stored = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    worst = 0.0
    for name, tensor in tensors(llama):
        found = stored.pop(name, None)
        if found is None:
            raise InputError(f"{path.name} has no {name}: nothing was written")
        values = torch.from_numpy(np.array(dequantize(found.data, found.tensor_type))).reshape(tensor.shape)
        size = float(tensor.abs().max())
        worst = max(worst, float((values - tensor).abs().max()) / size if size else 0.0)
    # Half of the last digit: of float16's eleven bits, or of a Q8_0 block's 127 steps.
    allowed = {"f32": 0.0, "f16": 2.0**-11, "q8_0": 1 / 200}[kind]
    if worst > allowed or stored:
        raise InputError(f"{path.name} doesn't hold the model (off by {worst:.1e}): nothing was written")
    return worst
