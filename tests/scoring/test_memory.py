"""Models with recurrent states: their caches can't be repeated or padded, and answers must not show it."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from interventions.samples import intervention
from scoring.samples import model
from scoring.test_vlms import questions, vlm
from serve.test_engine import Client
from tiny import ARCHITECTURES, spread, tiny_tokenizer
from vlms import VLMS

from equipoise.analysis import Detector, Watch
from equipoise.errors import InputError
from equipoise.interventions import attach
from equipoise.models import LoadedModel
from equipoise.scoring import Memory, answer_tokens, encode_all, generate, memory, score_options
from equipoise.scoring.generation import generate_ids
from equipoise.serve import Engine
from equipoise.tasks import Item

_MODERN = {
    "vocab_size": 384,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "eos_token_id": 2,
}
_STATES = {"vocab_size": 384, "hidden_size": 48, "num_hidden_layers": 2, "pad_token_id": 0, "eos_token_id": 2}
RECURRENT: dict[str, dict[str, Any]] = {
    "Lfm2": {**_MODERN, "layer_types": ["conv", "full_attention", "conv"]},
    "Jamba": {
        **_MODERN,
        "mamba_d_state": 8,
        "mamba_dt_rank": 4,
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "use_mamba_kernels": False,
    },
    "MiniMax": {
        **_MODERN,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "block_size": 8,
    },
    "Mamba": {**_STATES, "state_size": 8},
    "Rwkv": {**_STATES, "context_length": 64, "attention_hidden_size": 48, "intermediate_size": 80},
}
_DECODER = {
    "vocab_size": 384,
    "d_model": 48,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 80,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
STEPPING = ("Lfm2", "Jamba")

BEFORE = (
    "Once upon a time there was a developer who argued with the designer; they did not like the idea. " * 3
)
ENDS = ("He said", "My aunt is the mechanic", "no", "The doctor told the cleaner that he", "x", "they did")


@cache
def recurrent(name: str) -> LoadedModel:
    return plain(name, **RECURRENT[name])


def plain(name: str, **settings: Any) -> LoadedModel:
    config = getattr(transformers, f"{name}Config")(**settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = transformers.AutoModelForCausalLM.from_config(config)
    spread(built, 0)
    return LoadedModel(model=built.eval(), tokenizer=tiny_tokenizer(), processor=None, name=name)


def items(options: tuple[str, str]) -> list[Item]:
    return [
        Item(str(n), BEFORE + end, options, ("pro", "anti"), "ambiguous", None, ("g",), "t")
        for n, end in enumerate(ENDS)
    ]


@torch.no_grad()
def one_by_one(loaded: LoadedModel, asked: list[Item]) -> np.ndarray:
    found = []
    for item in encode_all(loaded, asked):
        for option in item.options:
            ids = torch.tensor([[*item.prompt, *option]])
            logp = loaded.model(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
            start = len(item.prompt) - 1
            found.append(sum(float(logp[start + n, token]) for n, token in enumerate(option)))
    return np.array(found).reshape(len(asked), -1)


@pytest.mark.parametrize("options", [(" he", " she"), (" he was busy", " she left the designer")])
@pytest.mark.parametrize("name", RECURRENT)
def test_options_score_as_whole_texts_read_alone(name: str, options: tuple[str, str]) -> None:
    loaded, asked = recurrent(name), items(options)
    seen: list[int] = []
    embedding = loaded.model.get_input_embeddings()
    memory(loaded)
    hook = embedding.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].numel()))
    found = score_options(loaded, asked).logp
    hook.remove()
    np.testing.assert_allclose(found, one_by_one(loaded, asked), rtol=0, atol=1e-3)
    assert answer_tokens(loaded, encode_all(loaded, asked)).computed == sum(seen)


@pytest.mark.parametrize("name", RECURRENT)
def test_answers_written_in_a_batch_are_those_written_alone(name: str) -> None:
    loaded = recurrent(name)
    together = generate(loaded, list(ENDS), max_new_tokens=6)
    assert together == [generate(loaded, [end], max_new_tokens=6)[0] for end in ENDS]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_keys_and_values_can_do_everything(name: str) -> None:
    assert memory(model(name)) == Memory(steps=True, repeats=True, pads=True)


@pytest.mark.parametrize("name", ["Bart", "Whisper"])
def test_padding_that_would_count_as_positions_is_not_used(name: str) -> None:
    """BART's positions are columns, whatever the mask says: only prompts of one length may be a batch."""
    loaded = plain(name, **_DECODER, max_target_positions=64)
    assert memory(loaded) == Memory(steps=True, repeats=True, pads=False)
    together = generate(loaded, list(ENDS), max_new_tokens=6)
    assert together == [generate(loaded, [end], max_new_tokens=6)[0] for end in ENDS]


def test_answers_start_after_the_prompt_without_a_cache_too() -> None:
    """OpenAI's first GPT reads the whole text in every pass; none of those is a prompt of its own."""
    loaded = plain("OpenAIGPT", vocab_size=384, n_positions=64, n_embd=48, n_layer=2, n_head=4)
    assert not memory(loaded).steps
    edit = intervention(loaded, scope="answer")
    ids = [*loaded.tokenizer(ENDS[1])["input_ids"]]
    prompt = len(ids)
    with attach(loaded, edit) as handle:
        (found,) = generate_ids(loaded, [ids], max_new_tokens=5, temperature=0.0, seed=0)
        handle.answer_from(prompt - 1)
        for _ in range(5):
            with torch.no_grad():
                ids.append(int(loaded.model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert found == ids[prompt:]
    assert found != generate_ids(loaded, [ids[:prompt]], max_new_tokens=5, temperature=0.0, seed=0)[0]


def test_it_is_tried_without_what_steers() -> None:
    # A model of its own: what was found out of one is remembered.
    loaded = recurrent.__wrapped__("Lfm2")
    with attach(
        loaded, intervention(loaded), [0.0, 1.0, 0.5]
    ):  # a strength a row, and not for the rows of the trial
        assert memory(loaded) == memory(recurrent("Lfm2"))


@pytest.mark.parametrize("name", STEPPING)
def test_the_server_answers_as_alone(name: str) -> None:
    loaded = recurrent(name)
    part = intervention(loaded)
    prompts = [[40, 50, 60], [70, 71], [80, 81, 82, 83, 84], [90, 91]]
    wanted = []
    for prompt, strength in zip(prompts, (0.0, 1.0, 0.5, 0.0), strict=True):
        with attach(loaded, part, strength):
            wanted.append(generate(loaded, [loaded.tokenizer.decode(prompt)], max_new_tokens=6)[0])
    engine = Engine(loaded, {"a": part}, most_tokens=64)
    clients = [Client() for _ in prompts]
    for client, prompt, strength in zip(clients, prompts, (0.0, 1.0, 0.5, 0.0), strict=True):
        engine.submit(
            loaded.tokenizer(loaded.tokenizer.decode(prompt))["input_ids"], [strength], client, most=6
        )
    engine.start()
    try:
        assert [client.text for client in clients] == wanted
        assert all(client.end.error is None for client in clients)
    finally:
        engine.stop()


@pytest.mark.parametrize("name", ["Mamba", "Rwkv"])
def test_what_needs_a_cache_is_refused_in_one_line(name: str) -> None:
    loaded = recurrent(name)
    with pytest.raises(InputError, match="can't be served"):
        Engine(loaded, {})
    with attach(loaded, intervention(loaded), 0.0) as handle, pytest.raises(InputError, match="read along"):
        Watch(loaded, [Detector("x", "block.0.out", torch.ones(48), 0.0)], handle, 1.0)


# PaliGemma's tokens look ahead within what is read at once: answers continue its prompts and are no part of them.
@pytest.mark.parametrize("name", [name for name in VLMS if name != "PaliGemma"])
def test_prompts_with_images_need_no_cache_either(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a vision-language model with recurrent layers would be scored: whole, without going on from a cache."""
    loaded = vlm(name)
    asked = questions(loaded)
    assert memory(loaded) == Memory(steps=True, repeats=True, pads=True)
    wanted = score_options(loaded, asked).logp
    for room in ("answers", "generation"):
        monkeypatch.setattr(
            f"equipoise.scoring.{room}.memory", lambda _: Memory(steps=False, repeats=False, pads=False)
        )
    np.testing.assert_allclose(score_options(loaded, asked).logp, wanted, rtol=0, atol=1e-4)
