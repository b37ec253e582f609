"""Generation: seeded, the same in a batch as alone, and free of a checkpoint's own sampling defaults."""

import pytest
import torch
from interventions.samples import intervention
from scoring.samples import PROMPTS, model
from tiny import ARCHITECTURES, EOS, tiny
from transformers import GenerationConfig

from equipoise.errors import InputError
from equipoise.interventions import attach
from equipoise.models import LoadedModel
from equipoise.scoring import Step, generate, generate_ids, prompt_ids
from equipoise.tasks import Prompt

NEW = 12
CHAT: Prompt = ({"role": "user", "content": "Who was late?"},)


@pytest.fixture(params=ARCHITECTURES)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return model(request.param)


@torch.no_grad()
def greedy(loaded: LoadedModel, prompt: Prompt, new: int = NEW) -> str:
    """One token after the other, the whole text anew each time."""
    ids = prompt_ids(loaded.tokenizer, prompt)
    start = len(ids)
    while len(ids) < start + new and ids[-1] != EOS:
        ids.append(int(loaded.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return str(loaded.tokenizer.decode(ids[start:], skip_special_tokens=True))


@pytest.fixture
def opinionated() -> LoadedModel:
    """A model whose checkpoint brings every sampling default that changes an answer."""
    loaded = tiny("Llama")
    loaded.model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=5.0,
        top_k=1,
        top_p=0.01,
        min_p=0.9,
        typical_p=0.01,
        epsilon_cutoff=0.9,
        repetition_penalty=9.0,
        no_repeat_ngram_size=1,
        suppress_tokens=list(range(40, 200)),
        max_length=3,
        num_beams=2,
        eos_token_id=EOS,
    )
    return loaded


def test_a_batch_of_all_lengths_gives_each_rows_greedy_answer(loaded: LoadedModel) -> None:
    prompts: list[Prompt] = [*PROMPTS, CHAT]
    found = generate(loaded, prompts, max_new_tokens=NEW, batch_rows=4)
    assert found == [greedy(loaded, prompt) for prompt in prompts]
    assert len(set(found)) > 1


def test_a_checkpoints_defaults_stay_out(opinionated: LoadedModel) -> None:
    theirs = opinionated.model.generation_config
    plain = model("Llama")
    assert generate(opinionated, PROMPTS, max_new_tokens=NEW) == generate(plain, PROMPTS, max_new_tokens=NEW)
    for seed in (1, 2):
        sampled = [
            generate(one, PROMPTS, max_new_tokens=NEW, temperature=0.8, seed=seed)
            for one in (plain, opinionated)
        ]
        assert sampled[0] == sampled[1]
    assert opinionated.model.generation_config is theirs
    assert theirs.top_k == 1


def test_the_checkpoints_end_token_stays() -> None:
    loaded = tiny("Llama")
    first = greedy(loaded, PROMPTS[0], new=1)
    with torch.no_grad():
        logits = loaded.model(input_ids=torch.tensor([prompt_ids(loaded.tokenizer, PROMPTS[0])])).logits
    loaded.model.generation_config.eos_token_id = int(logits[0, -1].argmax())
    assert generate(loaded, PROMPTS[:1], max_new_tokens=NEW) == [first]
    assert generate(model("Llama"), PROMPTS[:1], max_new_tokens=NEW) != [first]


def test_samples_depend_on_the_seed_alone() -> None:
    loaded = model("Llama")
    first = generate(loaded, PROMPTS, max_new_tokens=NEW, temperature=1.0, seed=1)
    torch.rand(3)
    state = torch.get_rng_state()
    assert generate(loaded, PROMPTS, max_new_tokens=NEW, temperature=1.0, seed=1) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert generate(loaded, PROMPTS, max_new_tokens=NEW, temperature=1.0, seed=2) != first


def test_samples_come_from_the_whole_vocabulary_at_their_temperature() -> None:
    loaded = model("Llama")
    count = 1500
    prompt = PROMPTS[0]
    found = generate(loaded, [prompt] * count, max_new_tokens=1, temperature=3.0, seed=4, batch_rows=count)
    with torch.no_grad():
        logits = loaded.model(input_ids=torch.tensor([prompt_ids(loaded.tokenizer, prompt)])).logits[0, -1]
    probabilities = (logits.double() / 3.0).softmax(-1)
    # Several bytes of the tiny tokenizer are no text of their own and decode alike, so texts are compared.
    texts = [str(loaded.tokenizer.decode([token], skip_special_tokens=True)) for token in range(len(logits))]
    best = max(
        set(texts), key=lambda text: sum(p for p, t in zip(probabilities, texts, strict=True) if t == text)
    )
    expected = float(sum(p for p, t in zip(probabilities, texts, strict=True) if t == best))
    share = found.count(best) / count
    assert abs(share - expected) < 5 * (expected * (1 - expected) / count) ** 0.5
    assert len(set(found)) > 60


def test_steering_reaches_generation_and_leaves_it() -> None:
    loaded = model("Llama")
    base = generate(loaded, PROMPTS, max_new_tokens=NEW)
    with attach(loaded, intervention(loaded)):
        assert generate(loaded, PROMPTS, max_new_tokens=NEW) != base
    assert generate(loaded, PROMPTS, max_new_tokens=NEW) == base


def test_nothing_to_continue() -> None:
    assert generate(model("Llama"), []) == []
    with pytest.raises(InputError, match="prompt 1 tokenises to nothing"):
        generate(model("Llama"), ["The nurse", ""])


def test_tokens_end_with_the_end_token_and_not_with_padding() -> None:
    loaded = tiny("Llama")
    ids = prompt_ids(loaded.tokenizer, PROMPTS[0])
    (whole,) = generate_ids(loaded, [ids], max_new_tokens=NEW, temperature=0.0, seed=0)
    end = next(token for token in whole[1:] if token != whole[0])
    place = whole.index(end)
    loaded.model.generation_config.eos_token_id = end
    found = generate_ids(loaded, [ids, ids[:2]], max_new_tokens=NEW, temperature=0.0, seed=0)
    assert found[0] == whole[: place + 1]
    assert len(whole) == NEW > place + 1


@pytest.mark.parametrize("count", [1, 4])
def test_a_step_is_announced_with_its_tokens_before_it_is_computed(loaded: LoadedModel, count: int) -> None:
    """Also of one prompt alone, where nothing is padded and transformers hands over no mask."""
    rows = [prompt_ids(loaded.tokenizer, prompt) for prompt in PROMPTS[:count]]
    steps: list[Step] = []
    plain = generate_ids(loaded, rows, max_new_tokens=4, temperature=0.0, seed=0)
    found = generate_ids(loaded, rows, max_new_tokens=4, temperature=0.0, seed=0, before_step=steps.append)
    assert found == plain
    assert [step.number for step in steps] == list(range(len(steps)))
    for place, prompt in enumerate(steps[0].index):
        seen = torch.cat([step.ids[place] for step in steps])
        real = steps[-1].mask[place].bool()
        assert steps[-1].mask.shape == (count, len(seen))
        new = found[prompt]
        assert seen[real].tolist()[: len(rows[prompt]) + len(new) - 1] == [*rows[prompt], *new[:-1]]
