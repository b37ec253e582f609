"""A fingerprint is the model's: the same in every dtype and with another vocabulary, another for other weights."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import ARCHITECTURES, tiny

from equipoise.errors import InputError
from equipoise.models import Fingerprint, LoadedModel


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_same_in_half_precision_and_another_with_another_seed(architecture: str) -> None:
    full = tiny(architecture).fingerprint
    for dtype in (torch.bfloat16, torch.float16):
        loaded = tiny(architecture)
        half = LoadedModel(loaded.model.to(dtype), loaded.tokenizer).fingerprint
        assert full.matches(half) and half.matches(full)
        assert full != half  # its samples are really read from the rounded weights
        assert (full.digest == half.digest) is (dtype == torch.bfloat16)
    assert tiny(architecture).fingerprint == full
    other = tiny(architecture, seed=1).fingerprint
    assert not full.matches(other)
    message = full.mismatch(other)
    assert message is not None and "other weights" in message
    assert other.digest != full.digest


def test_a_token_more_and_an_untied_head_change_nothing() -> None:
    loaded = tiny("Llama")
    before = tiny("Llama").fingerprint
    loaded.model.resize_token_embeddings(391)
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight.mul_(2)
    assert loaded.fingerprint == before


def test_norms_are_left_out_so_that_folding_changes_nothing() -> None:
    loaded = tiny("Llama")
    before = tiny("Llama").fingerprint
    with torch.no_grad():
        for norm in loaded.anatomy.norms:
            norm.module.weight.mul_(3)
    assert loaded.fingerprint == before


def test_any_matrix_changed_by_more_than_rounding_is_noticed() -> None:
    loaded = tiny("Llama")
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.add_(0.05 * parameter.std() * torch.randn(parameter.shape))
    assert not tiny("Llama").fingerprint.matches(loaded.fingerprint)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (("Mistral", {}), "the architecture is llama there and mistral here"),
        (("Llama", {"num_hidden_layers": 2}), "the number of blocks is 3 there and 2 here"),
        (("Llama", {"hidden_size": 64}), "the hidden size is 48 there and 64 here"),
        (("Llama", {"num_attention_heads": 8, "head_dim": 6}), "the number of heads is 4 there and 8 here"),
        (("Llama", {"attention_bias": True}), "other names or shapes"),
        (("Llama", {"intermediate_size": 64}), "other names or shapes"),
    ],
)
def test_a_mismatch_is_told_in_words(other: tuple[str, dict[str, Any]], message: str) -> None:
    name, overrides = other
    found = tiny("Llama").fingerprint.mismatch(tiny(name, **overrides).fingerprint)
    assert found is not None and message in found


def test_a_mismatch_in_norms_is_told_in_words() -> None:
    one = tiny("Llama").fingerprint
    assert one.mismatch(replace(one, norm="layer")) == "the kind of norm is rms there and layer here"
    assert one.mismatch(replace(one, norms=4)) == "the number of norms in a block is 2 there and 4 here"


def test_json_round_trip_is_exact() -> None:
    one = tiny("Gemma2").fingerprint
    assert Fingerprint.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    "change",
    [
        {"samples": [0.0]},
        {"samples": [float("nan")] * 256},
        {"samples": ["1"] * 256},
        {"blocks": "3"},
        {"heads": 1.5},
        {"norm": None},
        {"surprise": 1},
    ],
)
def test_a_spoilt_json_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="model fingerprint"):
        Fingerprint.from_json({**tiny("Llama").fingerprint.to_json(), **change})


def test_a_missing_key_is_refused() -> None:
    value = tiny("Llama").fingerprint.to_json()
    del value["layout"]
    with pytest.raises(InputError, match="exactly the keys"):
        Fingerprint.from_json(value)


def test_weights_that_cannot_be_read_are_passed_over() -> None:
    one = tiny("Llama").fingerprint
    partly = replace(one, samples=(None, *one.samples[1:]))
    assert partly.matches(one) and one.matches(partly)
    assert not partly.matches(tiny("Llama", seed=1).fingerprint)
