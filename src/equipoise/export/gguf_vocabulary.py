"""A byte-level BPE tokenizer as llama.cpp takes it: tokens, their types, merges, and how text is split before."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from ..errors import InputError

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}{_TAIL}": "llama-bpe",
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{_TAIL}": "qwen2",
}
_NORMAL, _CONTROL, _USER, _UNUSED = 1, 3, 4, 5
_ELSE = "write --format hf and convert that with llama.cpp's convert_hf_to_gguf.py"


@dataclass(frozen=True)
class Vocabulary:
    """``pre`` is llama.cpp's name for the split; ``opens`` says whether text begins with the opening token."""

    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    opens: bool


def read_vocabulary(tokenizer: PreTrainedTokenizerBase, rows: int) -> Vocabulary:
    """The vocabulary of ``tokenizer`` for an embedding with ``rows`` rows.

    Raises :class:`InputError` unless it is a byte-level BPE whose split of text llama.cpp knows: GPT-2's, SmolLM's
    (each digit alone), Llama 3's or Qwen2's.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(f"a {type(tokenizer).__name__} is not written as GGUF here: {_ELSE}")
    content: dict[str, Any] = json.loads(backend.to_str())
    model = content["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        raise InputError(f"only byte-level BPE tokenizers are written as GGUF here: {_ELSE}")
    ids: dict[str, int] = {**model["vocab"], **{t["content"]: t["id"] for t in content["added_tokens"]}}
    if max(ids.values()) >= rows:
        raise InputError(f"the tokenizer has {max(ids.values()) + 1} tokens and the embedding {rows} rows")
    tokens = {number: token for token, number in ids.items()}
    special = {t["id"]: _CONTROL if t["special"] else _USER for t in content["added_tokens"]}
    pairs = (merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"])
    empty = tokenizer("").input_ids
    return Vocabulary(
        pre=_pre(content),
        tokens=tuple(tokens.get(i, f"[PAD{i}]") for i in range(rows)),
        types=tuple(special.get(i, _NORMAL) if i in tokens else _UNUSED for i in range(rows)),
        merges=tuple(pairs),
        opens=bool(empty) and empty[0] == tokenizer.bos_token_id,
    )


def _pre(content: dict[str, Any]) -> str:
    normalizer = content.get("normalizer")
    steps = content.get("pre_tokenizer") or {}
    steps = steps["pretokenizers"] if steps.get("type") == "Sequence" else [steps]
    last = steps[-1]
    plain = last.get("type") == "ByteLevel" and not last.get("add_prefix_space")
    found = None
    if plain and normalizer is None and last.get("use_regex", True):
        if len(steps) == 1:
            found = "gpt-2"
        elif len(steps) == 2 and steps[0].get("type") == "Digits" and steps[0].get("individual_digits"):
            found = "smollm"
    if plain and len(steps) == 2 and steps[0].get("type") == "Split" and not last.get("use_regex", True):
        found = _SPLITS.get(steps[0]["pattern"].get("Regex", ""))
        # llama.cpp doesn't compose accents; nearly all text is composed already, as Qwen2's own GGUF files assume.
        if normalizer is not None and not (found == "qwen2" and normalizer.get("type") == "NFC"):
            found = None
    if found is None:
        raise InputError(f"llama.cpp's name for this tokenizer's split of text is not known here: {_ELSE}")
    return found
