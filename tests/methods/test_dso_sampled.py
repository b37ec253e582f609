"""The sampled trainer: a planted reward rises, its twin without reward changes nothing, and silence never pays."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny
from torch import Tensor

from equipoise.errors import InputError
from equipoise.interventions import Intervention, attach
from equipoise.methods.dso import Progress, SampledSettings, fit_sampled
from equipoise.methods.dso.parameters import NormParameters
from equipoise.methods.dso.sampled import sparse, trust_step
from equipoise.methods.dso.sampled_data import split_validation, taken, training_items
from equipoise.methods.dso.samples import (
    Completion,
    advantages,
    completion_logprobs,
    policy_gradient,
    sample,
    silence_floored,
)
from equipoise.models import LoadedModel
from equipoise.scoring import generate, prompt_ids
from equipoise.tasks import FreeTextItem

SETTINGS = SampledSettings(
    steps=8,
    prompts=8,
    samples=8,
    tokens=8,
    validation_samples=4,
    passages=16,
    passage_tokens=16,
    kl=2.0,
    step_kl=0.2,
    density=1.0,
)
ITEMS = [
    FreeTextItem(id=str(i), prompt=f"The {word} said that", group=word)
    for i, word in enumerate(
        (
            "mechanic",
            "nurse",
            "teacher",
            "doctor",
            "cleaner",
            "designer",
            "uncle",
            "aunt",
            "developer",
            "plan",
        )
    )
]


def share_of_e(completions: Sequence[str], input_metadata: Any = None) -> Tensor:
    """The planted reward: the share of a completion's characters that are an e."""
    return torch.tensor([text.count("e") / max(len(text), 1) for text in completions])


def nothing(completions: Sequence[str], input_metadata: Any = None) -> Tensor:
    return torch.zeros(len(completions))


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return tiny("Llama")


@pytest.fixture(scope="module")
def fitted(loaded: LoadedModel) -> Intervention:
    return fit_sampled(loaded, ITEMS, share_of_e, settings=SETTINGS)


def vector(intervention: Intervention) -> Tensor:
    return torch.cat([torch.cat([e.scale, e.shift]) for e in intervention.edits.values()])  # type: ignore[list-item]


def mean_reward(loaded: LoadedModel) -> float:
    prompts = [f"A {word} and" for word in ("busy man", "story", "time", "idea") for _ in range(60)]
    return float(share_of_e(generate(loaded, prompts, max_new_tokens=8, temperature=1.0, seed=5)).mean())


def test_a_planted_reward_rises_on_prompts_never_seen(loaded: LoadedModel, fitted: Intervention) -> None:
    before = mean_reward(loaded)
    with attach(loaded, fitted):
        after = mean_reward(loaded)
    assert after > 1.3 * before, (before, after)


def test_without_reward_nothing_changes(loaded: LoadedModel) -> None:
    assert fit_sampled(loaded, ITEMS, nothing, settings=replace(SETTINGS, steps=2)).nonzero == 0


def test_the_kept_state_is_within_the_budget(fitted: Intervention) -> None:
    figures = fitted.provenance.config["validation"]
    assert figures["fitted"]["kl"] <= SETTINGS.kl
    assert figures["fitted"]["reward"] > figures["base"]["reward"]


def test_a_small_budget_holds(loaded: LoadedModel) -> None:
    seen: list[Progress] = []
    tight = replace(SETTINGS, kl=0.05, steps=4)
    found = fit_sampled(loaded, ITEMS, share_of_e, settings=tight, progress=seen.append)
    assert found.provenance.config["validation"]["fitted"]["kl"] <= 0.05
    # The twin: without the budget's hold the steps themselves go far beyond it.
    assert max(report.kl or 0.0 for report in seen) > 0.05


def test_one_seed_gives_one_result(loaded: LoadedModel) -> None:
    short = replace(SETTINGS, steps=2)
    one, two = (vector(fit_sampled(loaded, ITEMS, share_of_e, seed=3, settings=short)) for _ in range(2))
    other = vector(fit_sampled(loaded, ITEMS, share_of_e, seed=4, settings=short))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_resumed_is_uninterrupted(loaded: LoadedModel, fitted: Intervention, tmp_path: Path) -> None:
    file = tmp_path / "state"

    def stop(report: Progress) -> None:
        if report.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_sampled(loaded, ITEMS, share_of_e, settings=SETTINGS, checkpoint=file, progress=stop)
    steps: list[int] = []
    resumed = fit_sampled(
        loaded,
        ITEMS,
        share_of_e,
        settings=SETTINGS,
        checkpoint=file,
        progress=lambda report: steps.append(report.step),
    )
    assert 3 not in steps and steps[-1] == SETTINGS.steps
    assert torch.equal(vector(resumed), vector(fitted))
    assert not file.exists()


def test_another_fits_checkpoint_is_refused(loaded: LoadedModel, tmp_path: Path) -> None:
    file = tmp_path / "state"

    def stop(report: Progress) -> None:
        if report.step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_sampled(loaded, ITEMS, share_of_e, settings=SETTINGS, checkpoint=file, progress=stop)
    with pytest.raises(InputError, match="another fit"):
        fit_sampled(loaded, ITEMS, nothing, settings=SETTINGS, checkpoint=file)


def test_chats_reach_the_reward_with_their_metadata(loaded: LoadedModel) -> None:
    samples = [
        {"conversation": [{"role": "user", "content": item.prompt}], "number": n}
        for n, item in enumerate(ITEMS)
    ]
    seen: set[int] = set()

    def reward(completions: Sequence[str], input_metadata: Any = None) -> Tensor:
        assert len(input_metadata) == len(completions)
        seen.update(row["number"] for row in input_metadata)
        return torch.zeros(len(completions))

    fit_sampled(loaded, samples, reward, settings=replace(SETTINGS, steps=2))
    assert seen == set(range(len(ITEMS)))


def test_bad_data_and_rewards_are_refused(loaded: LoadedModel) -> None:
    with pytest.raises(InputError, match="needs a reward"):
        fit_sampled(loaded, ITEMS)
    with pytest.raises(InputError, match="at least 2 prompts"):
        fit_sampled(loaded, ITEMS[:1], nothing)
    with pytest.raises(InputError, match="sample 0 needs a 'conversation'"):
        fit_sampled(loaded, [{"text": "x"}, {"text": "y"}], nothing)
    with pytest.raises(InputError, match="not finite"):
        fit_sampled(
            loaded, ITEMS, lambda texts, _: torch.full((len(texts),), float("nan")), settings=SETTINGS
        )


@pytest.mark.parametrize(
    "given_",
    [
        {"samples": "1"},
        {"kl": "0"},
        {"momentum": "1"},
        {"density": "0"},
        {"precision": "int8"},
        {"speed": "9"},
    ],
)
def test_bad_settings_are_refused(given_: dict[str, str]) -> None:
    with pytest.raises(InputError, match=next(iter(given_))):
        SampledSettings.parse(given_)


REWARDS = st.lists(st.floats(-10, 10, width=32), min_size=12, max_size=12).map(torch.tensor)


@given(REWARDS)
def test_advantages_of_a_prompt_sum_to_zero(rewards: Tensor) -> None:
    found = advantages(rewards, 4)
    assert found.reshape(3, 4).sum(1).abs().max() < 1e-4
    assert found[0] == pytest.approx(float(rewards[0] - rewards[1:4].mean()), abs=1e-4)


@given(REWARDS, st.floats(-5, 5))
def test_a_constant_added_to_all_rewards_changes_no_advantage(rewards: Tensor, constant: float) -> None:
    assert torch.allclose(advantages(rewards + constant, 4), advantages(rewards, 4), atol=1e-4)


def test_the_baseline_leaves_the_gradient_unbiased() -> None:
    """E[advantage · score] over all outcomes of two samples of a coin = the gradient of its expected reward."""
    p, rewards = 0.3, torch.tensor([1.0, -2.0])
    score = torch.tensor([1 / p, -1 / (1 - p)])  # d log P / dp
    total = 0.0
    for a in (0, 1):
        for b in (0, 1):
            chance = (p if a == 0 else 1 - p) * (p if b == 0 else 1 - p)
            weights = advantages(rewards[[a, b]], 2)
            total += chance * float((weights * score[[a, b]]).mean())
    assert total == pytest.approx(float(rewards[0] - rewards[1]))


def said(*texts: str) -> list[Completion]:
    return [Completion(0, (1,), (2,), text) for text in texts]


@given(st.lists(st.sampled_from(["", "  ", "a word"]), min_size=4, max_size=4), st.data())
def test_silence_never_pays(texts: list[str], data: st.DataObject) -> None:
    rewards = torch.tensor(data.draw(st.lists(st.floats(-10, 10, width=32), min_size=4, max_size=4)))
    completions = said(*texts)
    gained = advantages(silence_floored(rewards, completions), 4)
    for completion, advantage in zip(completions, gained, strict=True):
        assert not completion.silent or advantage <= 1e-4


def test_paid_silence_would_be_learned_without_the_floor() -> None:
    rewards, completions = torch.tensor([0.0, -1.0, -1.0, -0.5]), said("", "rude", "rude", "rather rude")
    assert advantages(rewards, 4)[0] > 0
    assert advantages(silence_floored(rewards, completions), 4)[0] < 0


def test_where_all_are_silent_the_floor_decides() -> None:
    floored = silence_floored(torch.zeros(2), said("", ""), torch.tensor([-0.7]))
    assert torch.allclose(floored, torch.tensor([-0.7, -0.7]))


def test_a_fit_does_not_learn_to_stop(loaded: LoadedModel) -> None:
    """A reward that pays silence with its best: without the floor this is the steepest way up."""

    def quiet(completions: Sequence[str], input_metadata: Any = None) -> Tensor:
        return torch.tensor([-min(len(text.strip()), 1) * 1.0 for text in completions])

    assert fit_sampled(loaded, ITEMS, quiet, settings=replace(SETTINGS, steps=2)).nonzero == 0


def test_the_policy_gradient_is_that_of_the_weighted_log_probabilities(loaded: LoadedModel) -> None:
    parameters = NormParameters(loaded)
    ids = [prompt_ids(loaded.tokenizer, item.prompt) for item in ITEMS[:3]]
    completions = sample(loaded, ids, times=2, tokens=5, seed=0)
    weights = torch.tensor([1.0, -2.0, 0.0, 0.5, 3.0, -1.0])
    here = 0.05 * torch.randn(parameters.size, generator=torch.Generator().manual_seed(1))
    found = policy_gradient(parameters, completions, weights, here, max_tokens=20)
    direction = torch.randn(parameters.size, generator=torch.Generator().manual_seed(2))
    direction /= direction.norm()

    def objective(at: Tensor) -> float:
        with attach(loaded, Intervention(parameters.edits(at))), torch.inference_mode():
            return float((weights * completion_logprobs(loaded, completions)).double().mean())

    step = 1e-2
    slope = (objective(here + step * direction) - objective(here - step * direction)) / (2 * step)
    assert float(found @ direction) == pytest.approx(slope, rel=0.02, abs=1e-3)


def test_completions_end_with_their_end_token_and_are_the_models_own(loaded: LoadedModel) -> None:
    ids = [prompt_ids(loaded.tokenizer, "The nurse"), prompt_ids(loaded.tokenizer, "The mechanic said that")]
    found = sample(loaded, ids, times=40, tokens=12, seed=0)
    assert [completion.prompt for completion in found] == [0] * 40 + [1] * 40
    end = loaded.tokenizer.eos_token_id
    for completion in found:
        assert list(completion.given) == ids[completion.prompt]
        assert end not in completion.new[:-1]
        assert len(completion.new) == 12 or completion.new[-1] == end
    # Drawn from the distribution whose log-probabilities training uses: E[log P] = −entropy, estimated one token deep.
    one = sample(loaded, ids[:1], times=4000, tokens=1, seed=1)
    with torch.inference_mode():
        every = [Completion(0, tuple(ids[0]), (token,), "") for token in range(len(loaded.tokenizer))]
        logp = completion_logprobs(loaded, every).double()
    counts = torch.bincount(torch.tensor([c.new[0] for c in one]), minlength=len(logp)) / 4000
    assert (counts - logp.exp()).abs().sum() < 0.25


def test_a_step_is_as_long_as_the_trust_region_says() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, gradient = torch.randn(5, 30, generator=generator), torch.randn(30, generator=generator)
    diagonal = torch.rand(30, generator=generator) + 0.1
    fisher = rows.T @ rows + torch.diag(diagonal)
    natural, rate = trust_step(gradient, rows, diagonal, 0.01, float("inf"))
    assert torch.allclose(fisher @ natural, gradient, atol=1e-3)
    step = rate * natural
    assert float(0.5 * step @ fisher @ step) == pytest.approx(0.01, rel=1e-3)
    assert trust_step(gradient, rows, diagonal, 0.01, rate / 3)[1] == pytest.approx(rate / 3)
    assert trust_step(torch.zeros(30), rows, diagonal, 0.01, float("inf"))[1] == 0


def test_the_proximal_step_leaves_exact_zeros() -> None:
    total = torch.randn(200, generator=torch.Generator().manual_seed(0))
    diagonal = torch.rand(200, generator=torch.Generator().manual_seed(1)) + 0.1
    found = sparse(total, diagonal, 0.1)
    assert int((found != 0).sum()) == 20
    assert (found.abs() <= total.abs()).all() and (found * total >= 0).all()
    assert torch.equal(sparse(total, diagonal, 1.0), total)


def test_the_density_holds_in_a_fit(loaded: LoadedModel) -> None:
    found = fit_sampled(loaded, ITEMS, share_of_e, settings=replace(SETTINGS, density=0.2))
    assert 0 < found.nonzero <= 0.2 * found.size


def test_every_pass_takes_every_prompt_once() -> None:
    for seed in range(3):
        order = [i for step in range(10) for i in taken(4, 10, seed, step)]
        assert all(sorted(order[a:b]) == list(range(10)) for a, b in pairwise(range(0, 41, 10)))
    assert sorted(taken(99, 10, 0, 7)) == list(range(10))


def test_validation_holds_out_whole_groups() -> None:
    items = [replace(item, id=f"{item.id}/{n}") for item in training_items(ITEMS, 0) for n in range(2)]
    train, held = split_validation(items, 0)
    assert len(train) + len(held) == len(items) and held
    assert not {item.group for item in train} & {item.group for item in held}
