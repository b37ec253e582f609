"""Whole texts, from their first token on: scored as one pass over everything gives it."""

import pytest
import torch
from tiny import tiny

from equipoise.scoring import encode, rolling_nll, score_options, window_length
from equipoise.scoring.encoding import document_start, plain_ids
from equipoise.scoring.rolling import windows
from equipoise.tasks import Item

TEXTS = (
    "The nurse said she was late for the very long walk home.",
    "Old people never finish a task in time.",
)


def nats(loaded, ids: list[int], start: list[int]) -> float:
    whole = torch.tensor([[*start, *ids]])
    with torch.inference_mode():
        logp = loaded.model(whole).logits[0, :-1].float().log_softmax(-1)
    return float(-logp.gather(1, whole[0, 1:, None]).sum())


def item(options: tuple[str, ...]) -> Item:
    return Item("x", "", options, ("pro", "anti"), "ambiguous", None, ("g",), "t")


@pytest.mark.parametrize("architecture", ["Llama", "GPT2"])
def test_without_a_prompt_options_are_whole_texts(architecture: str) -> None:
    loaded = tiny(architecture, 0)
    start = document_start(loaded.tokenizer)
    assert len(start) == 1
    encoded = encode(loaded, item(TEXTS))
    assert list(encoded.prompt) == start
    found = score_options(loaded, [encoded]).logp[0]
    expected = [-nats(loaded, plain_ids(loaded.tokenizer, text), start) for text in TEXTS]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


def test_windows_predict_each_token_once_and_the_last_one_reads_back() -> None:
    found = windows(list(range(1, 11)), 0, 4)
    assert found == [([0, 1, 2, 3], [1, 2, 3, 4]), ([4, 5, 6, 7], [5, 6, 7, 8]), ([6, 7, 8, 9], [9, 10])]
    assert windows([1, 2], 0, 4) == [([0, 1], [1, 2])]
    assert [token for _, wanted in windows(list(range(100)), 7, 9) for token in wanted] == list(range(100))


def test_windows_are_as_long_as_what_the_model_reads() -> None:
    loaded = tiny("Llama", 0)
    lengths = {None: window_length(tiny("BLOOM", 0))}
    for positions in (64, 2000, 8192):
        loaded.model.config.max_position_embeddings = positions
        lengths[positions] = window_length(loaded)
    assert lengths == {64: 64, 2000: 2000, 8192: 2048, None: 2048}
    loaded.model.config.max_position_embeddings = 7
    assert rolling_nll(loaded, TEXTS).tolist() == rolling_nll(loaded, TEXTS, length=7).tolist()
    assert rolling_nll(loaded, TEXTS).tolist() != rolling_nll(loaded, TEXTS, length=64).tolist()


def test_rolling_likelihood_of_texts_that_fit_is_that_of_one_pass() -> None:
    loaded = tiny("Llama", 0)
    start = document_start(loaded.tokenizer)
    expected = [nats(loaded, plain_ids(loaded.tokenizer, text), start) for text in TEXTS]
    assert rolling_nll(loaded, TEXTS, length=64).tolist() == pytest.approx(expected, rel=1e-4)
    # In short windows less context is known, so the figures differ.
    assert rolling_nll(loaded, TEXTS, length=4).tolist() != pytest.approx(expected, rel=1e-4)
