"""Tokens counted beforehand are those that run through the model, and no fewer than the distinct prefixes."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny

from equipoise.scoring import answer_tokens, distinct_prefixes, encode_all, score_options
from equipoise.tasks import load_task


@given(st.lists(st.lists(st.integers(0, 2), max_size=6), max_size=12))
def test_distinct_prefixes_are_those_of_the_definition(texts: list[list[int]]) -> None:
    prefixes = {tuple(text[:end]) for text in texts for end in range(1, len(text) + 1)}
    assert distinct_prefixes(texts) == len(prefixes)


def test_the_count_is_what_the_embedding_sees() -> None:
    loaded = tiny("Llama", 0)
    items = load_task("pronouns").split(0, 30).heldout
    coreference = load_task("coreference").split(0, 12).heldout  # answers of several tokens
    for chosen in (items, coreference):
        encoded = encode_all(loaded, chosen)
        seen = []
        hook = loaded.model.get_input_embeddings().register_forward_hook(
            lambda module, inputs, output, seen=seen: seen.append(inputs[0].numel())
        )
        with torch.inference_mode():
            score_options(loaded, encoded)
        hook.remove()
        count = answer_tokens(loaded, encoded)
        assert count.computed == sum(seen)
        whole = sum(len(one.prompt) for one in encoded)
        assert 0 < count.unique < whole
    assert answer_tokens(loaded, encoded[:1]).unique <= answer_tokens(loaded, encoded[:1]).computed
