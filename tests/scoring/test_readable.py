"""Texts that a model can't read at all are refused in one line, before a pass fails in the middle."""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scoring.samples import item, model
from tiny import ARCHITECTURES, tiny

from equipoise.errors import InputError
from equipoise.interventions import extended
from equipoise.models import LoadedModel, load
from equipoise.scoring import encode_all, generate, generate_ids, rolling_nll, score_options
from equipoise.scoring.readable import most_positions
from equipoise.tasks import Item, Pronouns
from equipoise.workflows import fit

TABLES = ("GPT2", "OPT")
FIRST = 10


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_only_learned_positions_end(name: str) -> None:
    assert most_positions(model(name)) == (256 if name in TABLES else None)


@pytest.mark.parametrize("name", TABLES)
def test_a_text_of_as_many_tokens_as_positions_is_read_and_no_longer_one(name: str) -> None:
    loaded = model(name)
    prompt = [FIRST] * 250
    (new,) = generate_ids(loaded, [prompt], max_new_tokens=7, temperature=0.0, seed=0)
    assert new
    with pytest.raises(
        InputError, match=r"prompt 0 has 250 tokens and 7 may follow, but .* has 256 positions"
    ):
        generate_ids(loaded, [prompt], max_new_tokens=8, temperature=0.0, seed=0)
    with pytest.raises(IndexError), torch.no_grad():  # the twin: what it would come to
        loaded.model(input_ids=torch.full((1, 257), FIRST))
    long = item("and so " * 200, (" he", " she"))
    with pytest.raises(InputError, match=r"the text of answer 0 has .* positions: shorten it"):
        score_options(loaded, [long])
    # Fits read prompts without scoring answers.
    with pytest.raises(InputError, match=re.escape(f"item {long.id!r} has ") + r".* positions: shorten it"):
        encode_all(loaded, [item("short", (" he", " she")), long])


@pytest.mark.parametrize("method", ["caa", "dso", "res_fair"])
def test_a_fit_on_prompts_that_are_too_long_is_one_line(method: str) -> None:
    class Long(Pronouns):
        def items(self) -> Sequence[Item]:
            return [dataclasses.replace(one, prompt=f"{'so ' * 200}{one.prompt}") for one in super().items()]

    with pytest.raises(InputError, match="positions: shorten it"):
        fit(model("GPT2"), Long(), method=method)


def test_positions_that_are_computed_have_no_end() -> None:
    assert generate(model("Llama"), ["and so " * 200], max_new_tokens=2)
    assert score_options(model("Llama"), [item("and so " * 200, (" he", " she"))]).logp.max() < 0


def test_a_tokenizer_with_more_tokens_than_rows_is_refused_where_it_matters() -> None:
    small = _cut(300)
    assert generate(small, ["a"], max_new_tokens=2) is not None
    with pytest.raises(InputError, match="rows: the tokenizer belongs to another model"):
        generate_ids(small, [[350]], max_new_tokens=2, temperature=0.0, seed=0)


def test_long_documents_are_read_in_windows_that_fit() -> None:
    text = "and so on, they said. " * 80
    found = {name: rolling_nll(model(name), [text], length=1024) for name in TABLES}
    for name, value in found.items():
        np.testing.assert_allclose(value, rolling_nll(model(name), [text], length=256), rtol=1e-6)
    with pytest.raises(InputError, match="leaves no place in the 256 positions"):
        rolling_nll(model("GPT2"), [text], before=[FIRST] * 256)


def test_an_injected_token_is_read() -> None:
    loaded = tiny("Llama")
    with extended(loaded, "<Zorvia>", torch.zeros(48)) as more:
        assert generate(more, ["A <Zorvia> said"], max_new_tokens=2)


def _cut(rows: int) -> LoadedModel:
    loaded = tiny("Llama")
    loaded.model.resize_token_embeddings(rows)
    return load(loaded.model, tokenizer=loaded.tokenizer)
