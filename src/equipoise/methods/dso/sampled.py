"""Sampled DSO, for free text and any reward: REINFORCE with a leave-one-out baseline, in steps measured by KL.

Each step samples a few completions of every prompt under the present edit and lets the reward judge them; the policy
gradient g is the mean of (reward − mean reward of the prompt's other samples) · ∇ log P(completion). The step is the
natural gradient F⁻¹g, F the Fisher information of plain text: what gains most reward for the least change elsewhere.
Its length is set by a trust region, ½ ΔᵀFΔ = δ, and the edit is pulled to zero by the price of KL, a Lagrange
multiplier that rises while the KL on plain text is above its budget and falls while it is below (dual ascent). ℓ1 acts
by its proximal step on the sum of all steps (regularised dual averaging, Xiao 2010), so zeros are exact zeros.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from ...errors import InputError
from ...interventions import Intervention, Provenance, attach, refuse_steered
from ...models import LoadedModel
from ...scoring import encode_passages, prompt_ids, score_text, text_reference
from ...tasks import FreeTextItem, PromptTask, fingerprint, plain_text
from ...tasks.rewards import Reward, evaluate_reward
from ...versions import versions
from ..progress import Progress, Report
from ..validation import Validated
from .checkpoint import Checkpoint, checkpoint_key
from .parameters import NormParameters, text_gradients
from .sampled_data import Data, split_validation, taken, training_items
from .sampled_settings import SampledSettings
from .samples import Completion, advantages, policy_gradient, sample, silence_floored
from .subproblem import Subproblem, soft_threshold, solve_ridge
from .working_copy import working_copy

_VALIDATION_PASSAGES = 48
# The share of the Fisher's diagonal that stands for what the few sampled directions miss; and a floor under it.
_DIAGONAL = 0.5
_DAMPING = 0.05
# The price of KL at the start: a step then pulls the edit to zero by about 2 %.
_FIRST_PRICE = 0.02
# Steps grow no longer than twice what the first gradient would have made them, so a fading reward means short steps.
_GROWTH = 2.0


def fit_sampled(
    loaded: LoadedModel,
    data: Data,
    reward: Reward | None = None,
    *,
    seed: int = 0,
    settings: SampledSettings | None = None,
    text: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    progress: Report | None = None,
) -> Intervention:
    """Find y' = y + λ (a ⊙ y + b) at every norm of every block that raises the mean reward of what the model says.

    Silence never pays: a completion without a word earns, at best, the worst reward among its prompt's other samples.
    Two fits with one seed on one machine are identical.

    Args:
        data: a free-text task (its training part is used), free-text items, or samples with a ``conversation``
            (chat messages) and any metadata. About 30 % of them, by whole groups, choose the state that is kept.
        reward: judges completions; by default the task's own. It gets each prompt's metadata: that of the items, or
            the samples themselves.
        settings: see :class:`SampledSettings`.
        text: plain passages for the KL budget; by default the fitting half of our own text.
        checkpoint: a file for the state after each step: an interrupted fit resumes from it to the same result.
            It is removed when the fit is done.
        progress: called with a :class:`Progress` after each step; its ``bias`` is minus the mean validation reward.

    Raises InputError if there are fewer than two prompts, there is no reward, or the reward returns anything but one
    finite number a completion, or the model is steered already.
    """
    refuse_steered(loaded)
    settings = settings or SampledSettings()
    name = data.name if isinstance(data, PromptTask) else "prompts"
    if reward is None:
        if not isinstance(data, PromptTask):
            raise InputError("a sampled fit needs a reward: give a callable from completions to numbers")
        reward = data.reward()
    items = training_items(data, seed)
    passages = plain_text("fit") if text is None else text
    hashed = fingerprint(items)
    with working_copy(loaded, settings.precision) as working:
        trainer = SampledFit(working, items, reward, passages, settings, seed)
        saved = None
        if checkpoint is not None:
            judge = getattr(reward, "__qualname__", type(reward).__qualname__)
            saved = Checkpoint(checkpoint, checkpoint_key(settings, hashed, loaded, seed, passages, judge))
        vector, figures, base = trainer.run(saved, progress)
        edits = trainer.parameters.edits(vector)
    config = {
        **asdict(settings),
        "objective": "sampled",
        "task": name,
        "validation": {
            state: {"reward": -found.bias, "kl": found.kl}
            for state, found in (("base", base), ("fitted", figures))
        },
    }
    provenance = Provenance(
        method="dso",
        config=config,
        model=loaded.fingerprint,
        data=hashed,
        versions=versions(),
        seed=seed,
    )
    if saved is not None:
        saved.remove()
    return Intervention(edits, "all", provenance)


class SampledFit:
    """The trainer; :meth:`run` gives the best vector [P] and what it did on validation prompts."""

    def __init__(
        self,
        loaded: LoadedModel,
        items: Sequence[FreeTextItem],
        reward: Reward,
        text: Sequence[str],
        settings: SampledSettings,
        seed: int,
    ) -> None:
        self.settings, self.seed = settings, seed
        self.parameters = NormParameters(loaded)
        self._loaded, self._reward = loaded, reward
        self._train, self._validation = split_validation(items, seed)
        self._train_ids = [prompt_ids(loaded, item.prompt) for item in self._train]
        self._validation_ids = [prompt_ids(loaded, item.prompt) for item in self._validation]
        passages = encode_passages(loaded, text, length=settings.passage_tokens, all_windows=True)
        order = torch.randperm(len(passages), generator=torch.Generator().manual_seed(seed))
        held = min(_VALIDATION_PASSAGES, max(1, len(passages) // 4))
        self._passages = passages[order[held : held + settings.passages]]
        self._text = text_reference(loaded, passages[order[:held]])
        self._floors: Tensor | None = None

    def run(
        self, checkpoint: Checkpoint | None, report: Report | None
    ) -> tuple[Tensor, Validated, Validated]:
        """Fit, from the checkpoint's state if there is one.

        Returns:
            the kept vector [P], its validation figures (``bias`` is minus the mean reward) and the base model's.
        """
        settings, steps = self.settings, self.settings.steps
        say = report or (lambda _: None)
        say(Progress(0, steps, "measuring the metric of KL on plain text"))
        rows, diagonal = self._metric()
        base = self._validated(torch.zeros(self.parameters.size))
        say(Progress(0, steps, "measured the unsteered model", base.bias, 0.0))
        total, momentum, best = torch.zeros(3, self.parameters.size)
        done, price, longest, best_figures = 0, _FIRST_PRICE, math.inf, base
        if checkpoint is not None and (saved := checkpoint.load()) is not None:
            total, momentum, best = saved.vectors
            done, (price, longest), best_figures = saved.step, saved.prices, saved.figures
        for step in range(done, steps):
            state = sparse(total, diagonal, settings.density)
            gradient = self._gradient(step, state)
            momentum = settings.momentum * momentum + (1 - settings.momentum) * gradient
            direction = momentum / (1 - settings.momentum ** (step + 1))
            natural, rate = trust_step(direction, rows, diagonal, settings.step_kl, longest)
            if math.isinf(longest) and rate > 0:
                longest = _GROWTH * rate
            total = total / (1 + price) + rate * natural
            state = sparse(total, diagonal, settings.density)
            kl = self._kl(state)
            price *= math.exp(min(1.0, max(-0.7, kl / settings.kl - 1.0)))
            # Above the budget the same direction is a candidate at the length that keeps it.
            fitting = state if kl <= settings.kl else state * (0.97 * math.sqrt(settings.kl / kl))
            figures = self._validated(fitting)
            if figures.kl <= settings.kl and figures.bias < best_figures.bias:
                best, best_figures = fitting, figures
            if checkpoint is not None:
                checkpoint.save(step + 1, [total, momentum, best], (price, longest), best_figures)
            say(Progress(step + 1, steps, "took a step", figures.bias, kl))
        return best, best_figures, base

    def _metric(self) -> tuple[Tensor, Tensor]:
        """F = RᵀR + diag(d), nats a token: R [n, P] and d [P]."""
        draw = torch.Generator().manual_seed(self.seed)
        sampled, _ = text_gradients(self.parameters, self._passages, draw, observe=0)
        tokens = len(self._passages) * (self.settings.passage_tokens - 1)
        fisher = sampled.square().sum(0) / tokens
        return sampled / math.sqrt(tokens), _DIAGONAL * fisher + _DAMPING * fisher.mean()

    def _gradient(self, step: int, state: Tensor) -> Tensor:
        settings = self.settings
        chosen = taken(settings.prompts, len(self._train), self.seed, step)
        completions = self._sample(
            [self._train_ids[i] for i in chosen], settings.samples, f"{self.seed}/{step}", state
        )
        rewards = self._judge(completions, [self._train[i] for i in chosen])
        weights = advantages(silence_floored(rewards, completions), settings.samples)
        return policy_gradient(self.parameters, completions, weights, state)

    def _validated(self, state: Tensor) -> Validated:
        """Mean reward on validation prompts, with the same random numbers for every state, and KL on plain text."""
        completions = self._sample(
            self._validation_ids, self.settings.validation_samples, f"{self.seed}/validation", state
        )
        rewards = self._judge(completions, self._validation)
        if self._floors is None:
            # The first state is the base model: a model that falls silent later earns no more than its worst answers.
            self._floors = rewards.reshape(len(self._validation), -1).min(1).values
        rewards = silence_floored(rewards, completions, self._floors)
        return Validated(-float(rewards.mean()), self._kl(state), 0.0, 1.0)

    def _sample(
        self, prompts: Sequence[Sequence[int]], times: int, name: str, state: Tensor
    ) -> list[Completion]:
        seed = random.Random(name).getrandbits(31)
        with attach(self._loaded, self._intervention(state)):
            return sample(self._loaded, prompts, times=times, tokens=self.settings.tokens, seed=seed)

    def _judge(self, completions: Sequence[Completion], items: Sequence[FreeTextItem]) -> Tensor:
        metadata = [items[completion.prompt].metadata for completion in completions]
        return evaluate_reward(self._reward, [completion.text for completion in completions], metadata).cpu()

    def _kl(self, state: Tensor) -> float:
        with attach(self._loaded, self._intervention(state)):
            return score_text(self._loaded, self._text).mean_kl

    def _intervention(self, state: Tensor) -> Intervention:
        return Intervention(self.parameters.edits(state), "all", Provenance(method="dso"))


def trust_step(
    gradient: Tensor, rows: Tensor, diagonal: Tensor, step_kl: float, longest: float
) -> tuple[Tensor, float]:
    """The natural gradient n = F⁻¹g [P] and the rate α ≤ ``longest`` for which ½ (αn)ᵀF(αn) ≤ ``step_kl``.

    F = RᵀR + diag(d). The rate is 0 where the gradient is zero.
    """
    problem = Subproblem(rows, torch.zeros(len(rows)), diagonal, gradient / diagonal)
    natural = solve_ridge(problem)
    gain = float(gradient @ natural)  # gᵀF⁻¹g = nᵀFn
    if gain <= 0:
        return natural, 0.0
    return natural, min(math.sqrt(2 * step_kl / gain), longest)


def sparse(total: Tensor, diagonal: Tensor, density: float) -> Tensor:
    """The proximal step of ℓ1 in the metric's units, its weight such that at most ``density`` · P entries remain."""
    allowed = int(density * len(total))
    if allowed >= len(total):
        return total
    units = diagonal.sqrt()
    importance = (total * units).abs()
    threshold = importance.sort(descending=True).values[allowed]
    return soft_threshold(total, threshold / units)
