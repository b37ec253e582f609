"""Option log-probabilities are those of one full forward pass an option, however they are batched."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interventions.samples import intervention
from scoring.samples import (
    PREFIX,
    assert_scores,
    item,
    many_token_items,
    model,
    naive,
    single_token_items,
)
from tiny import ARCHITECTURES, tiny

from equipoise.errors import InputError
from equipoise.interventions import attach
from equipoise.models import LoadedModel
from equipoise.scoring import AnswerBatch, EncodedItem, answer_batches, collate, encode_all, score_options
from equipoise.scoring import answers as answers_module


@pytest.fixture(params=ARCHITECTURES)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return model(request.param)


@pytest.fixture
def always_share(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Share every prefix, however short, and note how many tokens each batch shared."""
    monkeypatch.setattr(answers_module, "_WORTH_SHARING", 1)
    shared: list[int] = []
    measure = AnswerBatch.shared_prefix.fget
    assert measure is not None

    def noting(batch: AnswerBatch) -> int:
        shared.append(measure(batch))
        return shared[-1]

    monkeypatch.setattr(AnswerBatch, "shared_prefix", property(noting))
    return shared


@pytest.mark.parametrize("items", [single_token_items(), many_token_items()], ids=["single", "many"])
def test_batched_scores_are_naive_scores(loaded: LoadedModel, items: list) -> None:
    encoded = encode_all(loaded.tokenizer, items)
    scores = score_options(loaded, items, share_prefixes=False)
    assert_scores(scores.logp, naive(loaded, encoded))


@pytest.mark.parametrize("make", [single_token_items, many_token_items], ids=["single", "many"])
def test_shared_prefixes_change_nothing(loaded: LoadedModel, make, always_share: list[int]) -> None:
    # Longer than the sliding windows, so that a cache which slides is continued too.
    items = make(PREFIX)
    encoded = encode_all(loaded.tokenizer, items)
    scores = score_options(loaded, items)
    assert max(always_share) > 32
    assert_scores(scores.logp, naive(loaded, encoded))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 20), tokens=st.integers(1, 400), share=st.booleans(), order=st.permutations(range(24))
)
def test_any_batch_size_and_order_give_the_same(
    rows: int, tokens: int, share: bool, order: list[int], always_share: list[int]
) -> None:
    loaded = model("Llama")
    items = [*single_token_items(), *many_token_items()]
    whole = score_options(loaded, items)
    parts = score_options(
        loaded, [items[i] for i in order], max_rows=rows, max_tokens=tokens, share_prefixes=share
    )
    assert_scores(parts.logp, [[v for v in whole.logp[i] if v > -np.inf] for i in order])
    assert (parts.begins == whole.begins[order]).all()


def test_batches_hold_every_item_once_and_stay_small() -> None:
    encoded = encode_all(model("Llama").tokenizer, [*single_token_items(repeats=3), *many_token_items()])
    batches = list(answer_batches(encoded, max_rows=5, max_tokens=60))
    assert sorted(i for batch in batches for i in batch.index.tolist()) == list(range(len(encoded)))
    for batch in batches:
        assert len(batch.index) <= 5
        assert batch.prompts.numel() <= 60 or len(batch.index) == 1


def test_a_batch_of_one_shares_its_prompt_but_its_last_token() -> None:
    encoded = encode_all(model("Llama").tokenizer, single_token_items())
    batch = collate(encoded, [0])
    assert batch.shared_prefix == len(encoded[0].prompt) - 1


def test_the_rest_is_unanswered(loaded: LoadedModel) -> None:
    scores = score_options(loaded, [*single_token_items(), *many_token_items()])
    assert (scores.probabilities.sum(1) <= 1).all()
    np.testing.assert_allclose(scores.unanswered, 1 - scores.probabilities.sum(1), atol=1e-12)
    assert (scores.unanswered > 0).all()


def test_an_option_for_every_token_leaves_nothing_unanswered() -> None:
    loaded = model("Llama")
    whole = answers_of_everything(loaded)
    scores = score_options(loaded, [whole])
    np.testing.assert_allclose(scores.unanswered, 0, atol=1e-6)
    assert scores.begins.all()


def answers_of_everything(loaded: LoadedModel) -> EncodedItem:
    prompt = tuple(loaded.tokenizer("The nurse said that")["input_ids"])
    return EncodedItem(prompt, tuple((token,) for token in range(loaded.model.config.vocab_size)))


def test_choice_and_begins_follow_the_most_probable_token() -> None:
    loaded = model("Llama")
    everything = score_options(loaded, [answers_of_everything(loaded)])
    best, worst = int(everything.logp[0].argmax()), int(everything.logp[0].argmin())
    prompt = answers_of_everything(loaded).prompt
    scores = score_options(
        loaded,
        [EncodedItem(prompt, ((worst,), (best,))), EncodedItem(prompt, ((worst,), (worst - 1, best)))],
    )
    assert scores.choice[0] == 1
    assert scores.begins.tolist() == [True, False]


def test_no_item_at_all() -> None:
    scores = score_options(model("Llama"), [])
    assert scores.logp.shape[0] == 0
    assert scores.unanswered.shape == (0,)


def test_chats_are_scored_as_their_layout(loaded: LoadedModel) -> None:
    chat = ({"role": "user", "content": "Who was late?"},)
    items = [item(chat, ("he", "she", "the nurse"), 0), item(chat, ("the nurse", "the nurse she met"), 1)]
    encoded = encode_all(loaded.tokenizer, items)
    laid_out = "<|user|>Who was late?</s><|assistant|>"
    assert loaded.tokenizer.decode(encoded[0].prompt) == laid_out
    assert_scores(score_options(loaded, items).logp, naive(loaded, encoded))


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("scope", ["all", "answer"])
@pytest.mark.parametrize("kinds", [("norm",), ("heads", "mlp")])
def test_steered_scores_are_naive_scores(
    loaded: LoadedModel, scope, share: bool, kinds: tuple[str, ...], always_share: list[int]
) -> None:
    edits = 0.5 * intervention(loaded, kinds, scope=scope)
    items = [*single_token_items(PREFIX), *many_token_items(PREFIX)[:6]]
    encoded = encode_all(loaded.tokenizer, items)
    base = score_options(loaded, encoded, share_prefixes=False)
    with attach(loaded, edits) as handle:
        found = score_options(loaded, encoded, share_prefixes=share)
        expected = []
        for one_item in encoded:
            if scope == "answer":
                handle.answer_from([len(one_item.prompt) - 1])
            expected += naive(loaded, [one_item])
            handle.answer_from(None)
    assert bool(always_share) == share
    assert_scores(found.logp, expected, atol=1e-3)
    there = base.logp > -np.inf
    assert np.max(np.abs(found.logp[there] - base.logp[there])) > 0.05


@pytest.mark.parametrize("share", [True, False])
def test_an_edit_of_the_answer_in_a_padded_batch_is_that_of_single_rows(
    loaded: LoadedModel, share: bool
) -> None:
    encoded = encode_all(loaded.tokenizer, single_token_items())
    assert len({len(one.prompt) for one in encoded}) > 1
    with attach(loaded, 0.5 * intervention(loaded, scope="answer")) as handle, torch.no_grad():
        found = score_options(loaded, encoded, share_prefixes=share)
        handle.answer_from([0])  # what a handle was told doesn't matter
        again = score_options(loaded, encoded, share_prefixes=share)
        handle.answer_from(None)
        expected, wrong = (
            [
                [
                    float(loaded.model(ids).logits[0, last].log_softmax(-1)[option[0]])
                    for option in one.options
                ]
                for one in encoded
                for last, ids in [(len(one.prompt) - 1, torch.tensor([[*one.prompt, *[0] * padding]]))]
            ]
            for padding in (0, 1)
        )
    assert_scores(found.logp, expected)
    assert_scores(again.logp, expected)
    # The twin: by the rule of plain passes the row's last column would be edited, which may be padding.
    assert np.abs(np.array(expected[0]) - wrong[0]).max() > 0.01


def test_answer_positions_are_forgotten_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = model("Llama")
    items = single_token_items()
    ids = torch.tensor([encode_all(loaded.tokenizer, items)[0].prompt])
    with attach(loaded, intervention(loaded, scope="answer")), torch.no_grad():
        before = loaded.model(input_ids=ids).logits
        score_options(loaded, items)
        assert torch.equal(loaded.model(input_ids=ids).logits, before)
        with monkeypatch.context() as patch:
            patch.setattr(answers_module, "head_logprobs", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                score_options(loaded, items)
        assert torch.equal(loaded.model(input_ids=ids).logits, before)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_bf16_is_near_fp32(name: str) -> None:
    if name in ("Mixtral", "Qwen3Moe"):
        pytest.skip("rounding moves tokens between experts")
    full, half = model(name), tiny(name)
    half.model.bfloat16()
    items = [*single_token_items(PREFIX), *many_token_items()]
    exact, rough = score_options(full, items).logp, score_options(half, items).logp
    there = exact > -np.inf
    assert rough.dtype == np.float64
    assert np.median(np.abs(exact[there] - rough[there]) / (1 + np.abs(exact[there]))) < 0.02


def test_items_may_be_encoded_already_or_not() -> None:
    loaded = model("Llama")
    items = many_token_items()[:6]
    mixed = [one if place % 2 else encode_all(loaded.tokenizer, [one])[0] for place, one in enumerate(items)]
    np.testing.assert_array_equal(score_options(loaded, mixed).logp, score_options(loaded, items).logp)


def test_a_model_that_overflows_is_refused_in_one_line() -> None:
    loaded = tiny("Llama")
    asked = [item("The nurse said that", (" he", " she"))]
    assert np.isfinite(score_options(loaded, asked).logp).all()  # the twin
    loaded.model.half()
    with torch.no_grad():
        loaded.model.lm_head.weight.mul_(30_000)
    with pytest.raises(InputError, match=r"in float16 gives no numbers .*: load it as bfloat16 or float32"):
        score_options(loaded, asked)
