"""The table about a model says what the model is."""

import json

import pytest
from tiny import ARCHITECTURES, BLOCKS, HEADS, HIDDEN, tiny

from equipoise.models import describe


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_can_be_described(architecture: str) -> None:
    loaded = tiny(architecture)
    info = describe(loaded)
    assert (info.blocks, info.hidden_size, info.vocabulary) == (BLOCKS, HIDDEN, len(loaded.tokenizer))
    assert info.parameters == loaded.model.num_parameters()
    assert info.sites["out"] == (BLOCKS, HIDDEN)
    assert info.sites["norm"] == (len(loaded.anatomy.norms), HIDDEN)
    assert json.loads(json.dumps(info.to_json()))["fingerprint"] == loaded.fingerprint.digest
    labels = [label for label, _ in info.rows()]
    assert labels[0] == "model" and "fingerprint" in labels


def test_words() -> None:
    rows = dict(describe(tiny("Gemma2")).rows())
    assert rows["inside a block"] == (
        "norms input_layernorm (rms, 1 + weight), post_attention_layernorm (rms, 1 + weight),"
        " pre_feedforward_layernorm (rms, 1 + weight), post_feedforward_layernorm (rms, 1 + weight);"
        f" {HEADS} heads of 16 over 2 key-value heads"
    )
    assert rows["final norm"] == "model.norm (rms, 1 + weight)"
    assert rows["head"] == "lm_head, tied to the embedding"
    assert rows["sites"] == "norm: 12 × 48, heads: 3 × 64, attn: 3 × 48, mlp: 3 × 48, out: 3 × 48"
    rows = dict(describe(tiny("GPTNeoX")).rows())
    assert "attention and MLP in parallel" in rows["inside a block"]
    assert "input_layernorm (layer, bias)" in rows["inside a block"]
    assert rows["head"] == "lm_head, not tied"
    assert dict(describe(tiny("OPT", do_layer_norm_before=False)).rows())["final norm"] == "none"


def test_blocks_that_differ_are_told_apart() -> None:
    loaded = tiny("Llama", num_hidden_layers=4)
    loaded.model.model.layers[2] = tiny("Qwen2", num_key_value_heads=4).model.model.layers[2]
    rows = [value for label, value in describe(loaded).rows() if label == "inside a block"]
    assert [row.partition(":")[0] for row in rows] == ["blocks 0-1", "block 2", "block 3"]
    assert "over 4 key-value heads" in rows[1] and "over 2 key-value heads" in rows[2]
