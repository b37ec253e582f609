"""Perplexity is the model's own loss; KL is zero without steering, and what the full distributions say with it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from interventions.samples import by_hand, intervention
from scoring.samples import model
from tiny import ARCHITECTURES, BOS, tiny, tiny_tokenizer

from equipoise.errors import InputError
from equipoise.interventions import attach
from equipoise.models import LoadedModel
from equipoise.scoring import encode_passages, head_tokens, score_text, text_reference
from equipoise.tasks import plain_text

LENGTH = 24


@pytest.fixture(params=ARCHITECTURES)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return model(request.param)


@pytest.fixture(scope="module")
def passages() -> torch.Tensor:
    return encode_passages(model("Llama"), plain_text("fit")[:7], length=LENGTH)


def test_perplexity_is_the_models_own_loss(loaded: LoadedModel, passages: torch.Tensor) -> None:
    with torch.no_grad():
        loss = loaded.model(input_ids=passages, labels=passages).loss
    scores = score_text(loaded, text_reference(loaded, passages, rows=3))
    assert scores.perplexity == pytest.approx(float(loss.exp()), rel=1e-5)
    assert scores.tokens.tolist() == [LENGTH - 1] * len(passages)


def test_without_steering_nothing_moves(loaded: LoadedModel, passages: torch.Tensor) -> None:
    scores = score_text(loaded, text_reference(loaded, passages))
    assert (scores.kl == 0).all()
    with attach(loaded, intervention(loaded), 0.0):
        assert score_text(loaded, text_reference(loaded, passages)).mean_kl == 0


def test_kl_is_that_of_the_full_distributions(loaded: LoadedModel, passages: torch.Tensor) -> None:
    edits = 0.3 * intervention(loaded)
    reference = text_reference(loaded, passages, rows=2)
    assert reference.passages == len(passages)
    with attach(loaded, edits):
        scores = score_text(loaded, reference)
    with torch.no_grad():
        before = loaded.model(input_ids=passages).logits[:, :-1].double().log_softmax(-1)
        after = by_hand(loaded, [(edits, 1.0)])(input_ids=passages).logits[:, :-1].double().log_softmax(-1)
    expected = (after.exp() * (after - before)).sum((1, 2)).numpy()
    np.testing.assert_allclose(scores.kl, expected, rtol=2e-3)
    assert (scores.kl > 0).all()
    assert scores.mean_kl == pytest.approx(scores.kl.sum() / (len(passages) * (LENGTH - 1)))
    loss = -after.gather(2, passages[:, 1:, None])[..., 0].sum(1).numpy()
    np.testing.assert_allclose(scores.nll, loss, rtol=1e-4)


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_kept_predictions_give_the_same_numbers(passages: torch.Tensor, batches: int) -> None:
    loaded = model("Llama")
    one = 3 * (LENGTH - 1) * loaded.model.config.vocab_size * 4
    plain = text_reference(loaded, passages, rows=3, keep_bytes=0)
    kept = text_reference(loaded, passages, rows=3, keep_bytes=batches * one + 1)
    assert (len(plain.predictions), len(kept.predictions)) == (0, batches)
    assert all(
        known.shape[0] == len(states) for known, states in zip(kept.predictions, kept.states, strict=False)
    )
    with attach(loaded, 0.3 * intervention(loaded)):
        expected, found = score_text(loaded, plain), score_text(loaded, kept)
    assert (expected.kl == found.kl).all() and (expected.nll == found.nll).all()
    # The twin: what is kept is what is compared with.
    spoilt = replace(kept, predictions=tuple(known - 1 for known in kept.predictions))
    assert (score_text(loaded, spoilt).kl > 0).any() == bool(batches)


def test_an_edit_of_the_answer_acts_on_all_of_a_text(passages: torch.Tensor) -> None:
    loaded = model("Llama")
    reference = text_reference(loaded, passages)
    with attach(loaded, 0.3 * intervention(loaded)):
        everywhere = score_text(loaded, reference)
    with attach(loaded, 0.3 * intervention(loaded, scope="answer")):
        answer = score_text(loaded, reference)
        # The twin: in a plain pass only the last token is edited, and no passage's prediction moves.
        assert text_reference(loaded, passages).states[0].equal(reference.states[0])
    np.testing.assert_allclose(answer.kl, everywhere.kl, rtol=1e-4)


def test_kl_grows_with_strength(passages: torch.Tensor) -> None:
    loaded = model("Llama")
    reference = text_reference(loaded, passages)
    found = []
    for strength in (0.02, 0.05, 0.1):
        with attach(loaded, intervention(loaded), strength):
            found.append(score_text(loaded, reference).mean_kl)
    assert 0 < found[0] < found[1] < found[2]


def test_the_size_of_the_heads_batches_changes_nothing(
    passages: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = model("Llama")
    with attach(loaded, intervention(loaded), 0.1) as handle:
        handle.strength = 0.0
        reference = text_reference(loaded, passages)
        handle.strength = 0.1
        whole = score_text(loaded, reference)
        monkeypatch.setattr("equipoise.scoring.text.head_tokens", lambda _: 7)
        parts = score_text(loaded, reference)
    np.testing.assert_allclose(parts.kl, whole.kl, rtol=1e-3)
    np.testing.assert_allclose(parts.nll, whole.nll, rtol=1e-5)


def test_large_vocabularies_are_taken_in_smaller_batches() -> None:
    def tokens(vocabulary: int) -> int:
        head = SimpleNamespace(weight=torch.empty(vocabulary, 0))
        return head_tokens(cast(LoadedModel, SimpleNamespace(anatomy=SimpleNamespace(head=head))))

    assert tokens(100) == tokens(49_152) >= 4 * tokens(262_144) > 0
    assert tokens(10**9) > 0


def test_passages_are_the_beginnings_of_long_enough_texts() -> None:
    loaded = LoadedModel(tiny("Llama").model, tiny_tokenizer(add_bos=True))
    long = "The nurse said that she was late because the doctor was busy. " * 3
    found = encode_passages(loaded, ["Too short.", long], length=12)
    assert found.tolist() == [loaded.tokenizer(long)["input_ids"][:12]]
    assert found[0, 0] == BOS
    with pytest.raises(InputError, match="none of the 1 texts has 12 tokens"):
        encode_passages(loaded, ["Too short."], length=12)


@pytest.mark.parametrize("add_bos", [False, True])
def test_text_before_the_passages_is_read_and_not_scored(add_bos: bool) -> None:
    loaded = LoadedModel(tiny("Llama").model, tiny_tokenizer(add_bos=add_bos))
    passages = encode_passages(loaded, plain_text("fit")[:4], length=LENGTH)
    reference = text_reference(loaded, passages)
    instruction = "Be kind to the nurse.\n\n"
    inserted = loaded.tokenizer(instruction, add_special_tokens=False)["input_ids"]
    found = score_text(loaded, reference, before=instruction)
    for row, passage in enumerate(passages):
        opening = int(add_bos)
        ids = torch.tensor([[*passage[:opening].tolist(), *inserted, *passage[opening:].tolist()]])
        with torch.no_grad():
            now = loaded.model(ids).logits[0, len(inserted) : -1].log_softmax(-1)
            then = loaded.model(passage[None]).logits[0, :-1].log_softmax(-1)
        own = -now.gather(1, passage[1:, None]).sum()
        assert found.nll[row] == pytest.approx(float(own), rel=1e-5)
        assert found.kl[row] == pytest.approx(float((now.exp() * (now - then)).sum()), rel=1e-4)
    plain = score_text(loaded, reference, before="")
    assert plain.mean_kl == 0 < found.mean_kl
