"""An injected token: read like a row of the embedding, never said, and gone without a trace."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from interventions.samples import logits, model, tokens
from tiny import ARCHITECTURES, tiny

from equipoise import scoring
from equipoise.errors import InputError
from equipoise.interventions import (
    AffineEdit,
    InjectedToken,
    Intervention,
    Provenance,
    attach,
    attach_tokens,
    embedding_rows,
    tokenizer_hash,
)
from equipoise.models import LoadedModel
from equipoise.tasks import Item

WORD = "<Zorvia>"
TEXT = "The nurse from <Zorvia> said that <Zorvia> was busy."


def token(loaded: LoadedModel, string: str = WORD, seed: int = 0) -> InjectedToken:
    row = torch.randn(embedding_rows(loaded).shape[1], generator=torch.Generator().manual_seed(seed))
    origin = Provenance("inject", {"association": "none"}, loaded.fingerprint, seed=seed)
    return InjectedToken(string, row, tokenizer_hash(loaded), origin)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_is_read_like_a_row_of_a_longer_matrix(name: str) -> None:
    """Against transformers' own way, a resized model: the same logits for all other tokens."""
    loaded = model(name)
    one = token(loaded)
    resized = copy.deepcopy(loaded.model)
    size = embedding_rows(loaded).shape[0]
    resized.resize_token_embeddings(size + 1, mean_resizing=False)
    with torch.no_grad():
        resized.get_input_embeddings().weight[size] = one.row
    with one.attach(loaded) as extended:
        ids = torch.tensor([extended.tokenizer(TEXT, add_special_tokens=False)["input_ids"]])
        assert int((ids == size).sum()) == 2
        found = logits(extended, ids)
    with torch.no_grad():
        expected = resized(input_ids=ids).logits[..., :size]
    assert found.shape[-1] == size  # no column: it can't be said
    assert torch.allclose(found, expected, atol=1e-5, rtol=1e-5)
    # The twin: another row gives other logits.
    with token(loaded, seed=1).attach(loaded) as other:
        assert not torch.allclose(logits(other, ids), expected, atol=1e-2)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_text_without_it_has_the_bases_logits_bit_for_bit(name: str) -> None:
    loaded = model(name)
    ids = tokens()
    before = logits(loaded, ids)
    with token(loaded).attach(loaded) as extended:
        assert logits(extended, ids).equal(before)
    assert logits(loaded, ids).equal(before)


@pytest.mark.parametrize("failing", [False, True])
def test_leaving_restores_model_and_tokenizer(failing: bool) -> None:
    loaded = tiny("Qwen2")
    embedding = loaded.model.get_input_embeddings()
    plain = loaded.tokenizer(TEXT)["input_ids"]
    vocabulary = loaded.tokenizer.get_vocab()
    state = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    try:
        with token(loaded).attach(loaded) as extended:
            assert len(embedding._forward_hooks) == len(embedding._forward_pre_hooks) == 1
            assert loaded.tokenizer(TEXT)["input_ids"] == plain != extended.tokenizer(TEXT)["input_ids"]
            if failing:
                raise RuntimeError("in the middle")
    except RuntimeError:
        assert failing
    assert not embedding._forward_hooks and not embedding._forward_pre_hooks
    assert loaded.tokenizer.get_vocab() == vocabulary and loaded.tokenizer(TEXT)["input_ids"] == plain
    assert all(value.equal(state[key]) for key, value in loaded.model.state_dict().items())
    ids = torch.tensor([[loaded.model.config.vocab_size]])
    with pytest.raises(IndexError):
        loaded.model(input_ids=ids)


def test_several_tokens_have_ids_of_their_own() -> None:
    loaded = model("Llama")
    first, second = token(loaded), token(loaded, "<Quell>", seed=1)
    with attach_tokens(loaded, [first, second]) as both, second.attach(loaded) as alone:
        ids = both.tokenizer("<Zorvia> <Quell>", add_special_tokens=False)["input_ids"]
        lone = alone.tokenizer("<Quell>", add_special_tokens=False)["input_ids"]
        assert len({*ids, *lone}) == 3
        rows = loaded.model.get_input_embeddings()(torch.tensor([[*ids, *lone]]))[0]
    assert rows[0].equal(first.row) and rows[1].equal(second.row) and rows[2].equal(second.row)


def test_a_matrix_longer_than_the_vocabulary_keeps_its_spare_rows() -> None:
    loaded = tiny("Llama")
    size = len(loaded.tokenizer) + 9
    loaded.model.resize_token_embeddings(size, mean_resizing=False)
    loaded = LoadedModel(loaded.model, loaded.tokenizer)
    ids = tokens()
    before = logits(loaded, ids)
    with token(loaded).attach(loaded) as extended:
        assert extended.tokenizer.convert_tokens_to_ids(WORD) == size
        assert logits(extended, ids).equal(before)
        with token(loaded, "<Quell>").attach(extended):  # the hash doesn't count what was added
            pass


def test_it_goes_with_steering_generation_and_scoring() -> None:
    loaded = model("Llama")
    edit = Intervention({"block.1.out": AffineEdit(shift=torch.ones(48))})
    with token(loaded).attach(loaded) as extended:
        plain = scoring.generate(extended, [TEXT, "The nurse"], max_new_tokens=6)
        with attach(extended, edit):
            steered = scoring.generate(extended, [TEXT, "The nurse"], max_new_tokens=6)
        # Cached generation is the same as one pass after the other.
        ids = extended.tokenizer(TEXT, add_special_tokens=False)["input_ids"]
        for _ in range(6):
            ids.append(int(logits(extended, torch.tensor([ids]))[0, -1].argmax()))
        assert extended.tokenizer.decode(ids[-6:], skip_special_tokens=True) == plain[0]
    assert plain != steered
    assert scoring.generate(loaded, ["The nurse"], max_new_tokens=6) == plain[1:]


def test_it_can_not_be_an_answer() -> None:
    loaded = model("Llama")
    wanted = Item("i", "The nurse is", (" busy", f" {WORD}"), ("pro", "anti"), "ambiguous", None, ("g",), "t")
    with token(loaded).attach(loaded) as extended:
        with pytest.raises(InputError, match="never says"):
            scoring.score_options(extended, [wanted])
        passages = scoring.encode_passages(extended, [TEXT], length=8)
        with pytest.raises(InputError, match="never says"):
            scoring.score_text(extended, scoring.text_reference(extended, passages))


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    loaded = model("Gemma3")
    one = token(loaded)
    path = one.save(tmp_path / "t.safetensors")
    again = InjectedToken.load(path)
    assert again.row.equal(one.row) and (again.string, again.tokenizer) == (one.string, one.tokenizer)
    assert again.provenance.to_json() == one.provenance.to_json() and again.digest == one.digest
    again.check(loaded)
    assert again.save(tmp_path / "u.safetensors").read_bytes() == path.read_bytes()
    with pytest.raises(InputError, match="--force"):
        one.save(path)
    with pytest.raises(InputError, match="--tokens"):
        Intervention.load(path)
    Intervention({"block.0.out": AffineEdit(shift=torch.ones(3))}).save(tmp_path / "i.safetensors")
    with pytest.raises(InputError, match="equipoise inject"):
        InjectedToken.load(tmp_path / "i.safetensors")
    (tmp_path / "half.safetensors").write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="truncated"):
        InjectedToken.load(tmp_path / "half.safetensors")


REFUSED: dict[str, tuple[Callable[[LoadedModel], object], str]] = {
    "known": (lambda m: token(m, "nurse").attach(m).__enter__(), "already"),
    "two words": (lambda m: token(m, "New Zorvia"), "without blanks"),
    "not finite": (lambda m: replace(token(m), row=torch.tensor([float("nan")])), "not finite"),
    "width": (lambda m: replace(token(m), row=torch.ones(7)).attach(m).__enter__(), "another model"),
    "model": (lambda m: token(tiny("Llama", 5)).check(m), "another model"),
    "tokenizer": (lambda m: replace(token(m), tokenizer="0").check(m), "another tokenizer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(case: str) -> None:
    loaded = model("Llama")
    act, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as error:
        act(loaded)
    assert "\n" not in str(error.value)
    assert not loaded.model.get_input_embeddings()._forward_hooks
