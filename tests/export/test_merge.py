"""A merged model does by itself what the steered one does; where it can't, merging is refused and says why."""

import dataclasses
import functools
import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from export.cases import DOCS, STRENGTH, edit, intervention, model, outcomes, sites, table, written
from interventions.samples import by_hand, logits, tokens
from tiny import ARCHITECTURES, tiny

from equipoise import InputError
from equipoise.export import CannotMerge, as_llama, merge, steered_reference
from equipoise.export.parity import agreement_in_memory
from equipoise.interventions import AffineEdit, Intervention, attach
from equipoise.models import LoadedModel

plan = importlib.import_module("equipoise.export.plan")


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / a.abs().max())


@functools.cache
def everything(architecture: str) -> Intervention:
    """All that can be merged, at all sites of the middle block, in one intervention."""
    edits: dict[str, AffineEdit] = {}
    for outcome in outcomes(architecture):
        if outcome.merged is not None:
            one = edit(architecture, outcome.site, outcome.part)
            edits[outcome.site] = edits[outcome.site] + one if outcome.site in edits else one
    return intervention(architecture, edits)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_merged_equals_the_edit_made_by_hand(architecture: str) -> None:
    ids = tokens()
    base = logits(model(architecture), ids)
    for outcome in outcomes(architecture):
        if outcome.merged is None:
            continue
        one = intervention(architecture, {outcome.site: edit(architecture, outcome.site, outcome.part)})
        wanted = by_hand(model(architecture), [(one, STRENGTH)])(input_ids=ids).logits.detach()
        assert relative(wanted, logits(outcome.merged.loaded, ids)) < 1e-5, outcome
        assert relative(wanted, base) > 1e-2, outcome  # the twin: the edit does something


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_everything_at_once_survives_saving(architecture: str, tmp_path: Path) -> None:
    loaded, given = model(architecture), everything(architecture)
    before = {name: p.clone() for name, p in loaded.model.named_parameters()}
    found = merge(loaded, given, STRENGTH)
    found.loaded.model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, attn_implementation=loaded.model.config._attn_implementation
    )
    assert type(again) is type(found.loaded.model)
    ids = tokens()
    with attach(loaded, given, STRENGTH):
        wanted = logits(loaded, ids)
    assert relative(wanted, logits(found.loaded, ids)) < 1e-5
    assert torch.equal(logits(dataclasses.replace(loaded, model=again), ids), logits(found.loaded, ids))
    assert all(torch.equal(p, before[name]) for name, p in loaded.model.named_parameters())
    assert set(found.added) <= set(found.changed)
    assert all(
        not hasattr(loaded.model.get_submodule(name.rpartition(".")[0]), "bias")
        or loaded.model.get_submodule(name.rpartition(".")[0]).bias is None
        for name in found.added
    )


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_two_hundred_greedy_tokens_are_the_same(architecture: str, tmp_path: Path) -> None:
    loaded, given = model(architecture), everything(architecture)
    prompts = [[40, 60, 80], [41, 61]]
    reference = steered_reference(loaded, given, STRENGTH, prompts, new_tokens=200)
    assert max(len(row["answer"]) for row in reference.rows) == 200
    merged = merge(loaded, given, STRENGTH).loaded
    merged.model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, attn_implementation=loaded.model.config._attn_implementation
    )
    for one in (merged, dataclasses.replace(merged, model=again.eval())):
        found = agreement_in_memory(reference, one)
        assert found.complaint("float32") is None and found.same_texts + found.ties == found.texts
    # The twin: the base model says something else.
    assert agreement_in_memory(reference, loaded).complaint("float32") is not None


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_refusal_names_site_reason_and_remedy(architecture: str) -> None:
    for outcome in outcomes(architecture):
        if outcome.refusal is not None:
            message = str(outcome.refusal)
            assert message.startswith(f"{outcome.site}: ")
            assert "can't be merged" in message and "attached live" in message


def test_the_documentations_table_is_what_the_tests_found() -> None:
    assert written(DOCS.read_text(encoding="utf-8")) == table(), "run: python tests/export/cases.py"


def test_what_bloom_adds_after_its_norm_is_seen() -> None:
    loaded = tiny("BLOOM", apply_residual_connection_post_layernorm=True)
    width = loaded.anatomy.hidden_size
    generator = torch.Generator().manual_seed(0)
    low = AffineEdit(
        u=torch.randn(width, 1, generator=generator), v=torch.randn(width, 1, generator=generator)
    )
    with pytest.raises(CannotMerge, match="residual sum"):
        merge(loaded, Intervention({"block.1.norm.0": low}))
    shift = AffineEdit(
        scale=torch.randn(width, generator=generator), shift=torch.randn(width, generator=generator)
    )
    assert merge(loaded, Intervention({"block.1.norm.0": shift})).error.relative < 1e-5


def test_a_reader_that_was_missed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    given = intervention("Llama", {"block.1.norm.0": edit("Llama", "block.1.norm.0", "shift")})
    merge(model("Llama"), given)
    complete = plan.find_readers

    def one_short(*args: Any) -> Any:
        return {s: dataclasses.replace(r, layers=r.layers[:-1]) for s, r in complete(*args).items()}

    monkeypatch.setattr(plan, "find_readers", one_short)
    with pytest.raises(InputError, match="differ from the steered"):
        merge(model("Llama"), given)


def test_readers_are_the_layers_that_the_norm_feeds() -> None:
    found = plan.find_readers(model("Qwen2"), list(model("Qwen2").anatomy.all_norms))
    names = [layer.name for layer in found["block.1.norm.0"].layers]
    assert names == [f"model.layers.1.self_attn.{x}_proj" for x in "qkv"]
    assert [layer.name for layer in found["final.norm"].layers] == ["lm_head"]
    assert all(readers.complete for readers in found.values())
    gemma = plan.find_readers(model("Gemma3"), list(model("Gemma3").anatomy.all_norms))
    assert [gemma[f"block.1.norm.{j}"].complete for j in range(4)] == [True, False, True, False]


@pytest.mark.parametrize("architecture", ["Llama", "Qwen2", "Mistral"])
def test_llama_in_all_but_name(architecture: str) -> None:
    found = as_llama(model(architecture))
    assert isinstance(found.model, transformers.LlamaForCausalLM)
    ids = tokens()
    assert relative(logits(model(architecture), ids), logits(found, ids)) < 1e-6


@pytest.mark.parametrize(
    ("loaded", "reason"),
    [
        (lambda: model("Qwen3"), "no parameter .*q_norm"),
        (lambda: model("GPT2"), "same parts|no parameter"),
        (lambda: tiny("Mistral", sliding_window=8), "sliding window of 8"),
        (
            lambda: tiny("Qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=1),
            "sliding window",
        ),
    ],
)
def test_what_is_not_llama_is_refused(loaded: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        as_llama(loaded())


def test_a_setting_that_gives_a_tied_head_a_bias_too(tmp_path: Path) -> None:
    """One setting of ERNIE 4.5 MoE gives all biases, the head's as well, whose weight is the embedding's."""
    config = transformers.Ernie4_5_MoeConfig(
        vocab_size=384,
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        moe_layer_start_index=2,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    ernie = transformers.Ernie4_5_MoeForCausalLM(config).eval()
    loaded = LoadedModel(ernie, model("Llama").tokenizer)
    one = Intervention({"block.0.attn": AffineEdit(shift=torch.randn(48))})
    found = merge(loaded, one)
    assert "lm_head.bias" in found.added
    found.loaded.model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    wanted = by_hand(loaded, [(one, 1.0)])(input_ids=tokens()).logits.detach()
    assert relative(wanted, again(tokens()).logits.detach()) < 1e-5
    assert relative(wanted, logits(loaded, tokens())) > 1e-2


def test_strength_zero_is_the_base_model_bit_for_bit() -> None:
    found = merge(model("Qwen2"), everything("Qwen2"), 0.0)
    assert found.changed == () and found.entries == 0
    assert torch.equal(logits(found.loaded, tokens()), logits(model("Qwen2"), tokens()))


def test_half_precision_is_cast_once_and_what_it_loses_is_counted() -> None:
    loaded = tiny("Llama")
    width = loaded.anatomy.hidden_size
    scale = torch.zeros(width)
    scale[:10], scale[10:14] = 1e-4, 0.5  # bf16 keeps 8 bits: the first ten are lost, the next four not
    given = Intervention({"block.1.norm.0": AffineEdit(scale=scale)})
    exact = merge(loaded, given)
    assert (exact.entries, exact.lost) == (14, 0)
    loaded.model.bfloat16()
    found = merge(loaded, given)
    assert found.loaded.dtype is torch.bfloat16
    assert (found.entries, found.lost) == (14, 10)
    assert 0 < found.rounding < 0.02
    weight = loaded.model.get_parameter("model.layers.1.input_layernorm.weight").float()
    assert torch.equal(
        found.loaded.model.get_parameter("model.layers.1.input_layernorm.weight"),
        (weight * (1 + scale)).bfloat16(),
    )


def test_what_weights_cannot_hold_is_refused() -> None:
    loaded = model("Llama")
    given = everything("Llama")
    with pytest.raises(InputError, match="'answer' can't be merged"):
        merge(loaded, dataclasses.replace(given, scope="answer"))
    for strength in (float("nan"), float("inf"), [0.1, 0.2], torch.tensor([0.1, 0.2]), True):
        with pytest.raises(InputError, match="one finite strength"):
            merge(loaded, given, strength)  # type: ignore[arg-type]
    with attach(loaded, given, 0.1), pytest.raises(InputError, match="is steered"):
        merge(loaded, given)
    with pytest.raises(InputError, match="fitted on another model"):
        merge(model("Mistral"), given)


def test_a_layer_without_a_plain_matrix_is_refused() -> None:
    loaded = tiny("Llama")

    class Doubling(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 2

    old = loaded.model.get_submodule("model.layers.1.self_attn.o_proj")
    odd = Doubling(old.in_features, old.out_features, bias=False)
    odd.load_state_dict(old.state_dict())
    loaded.model.get_submodule("model.layers.1.self_attn").o_proj = odd.requires_grad_(False)
    loaded = LoadedModel(loaded.model, loaded.tokenizer)
    assert "block.1.attn" in sites("Llama")
    shift = AffineEdit(scale=torch.ones(loaded.anatomy.hidden_size))
    with pytest.raises(InputError, match=r"o_proj doesn't compute W x \+ b"):
        merge(loaded, Intervention({"block.1.attn": shift}))
