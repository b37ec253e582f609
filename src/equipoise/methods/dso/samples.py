"""Sampled completions as tokens, what they earn against each other, and the gradient of their log-probability."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models import LoadedModel, hidden_of
from ...scoring import generate_ids, head_logprobs, run_backbone
from .parameters import NormParameters, row_gradients

_ROWS = 64


@dataclass(frozen=True)
class Completion:
    """One sample: whose prompt, the prompt's tokens, the new tokens (the end token included), and their text."""

    prompt: int
    given: tuple[int, ...]
    new: tuple[int, ...]
    text: str

    @property
    def silent(self) -> bool:
        """Whether nothing but whitespace was said."""
        return not self.text.strip()


def sample(
    loaded: LoadedModel, prompts: Sequence[Sequence[int]], *, times: int, tokens: int, seed: int
) -> list[Completion]:
    """``times`` completions of each prompt, prompt by prompt, from the model's own distribution (temperature 1)."""
    owners = [number for number in range(len(prompts)) for _ in range(times)]
    rows = [prompts[number] for number in owners]
    found = generate_ids(loaded, rows, max_new_tokens=tokens, temperature=1.0, seed=seed, batch_rows=_ROWS)
    return [
        Completion(
            number, tuple(given), tuple(new), str(loaded.tokenizer.decode(new, skip_special_tokens=True))
        )
        for number, given, new in zip(owners, rows, found, strict=True)
    ]


def silence_floored(
    rewards: Tensor, completions: Sequence[Completion], floors: Tensor | None = None
) -> Tensor:
    """Rewards [n] in which saying nothing earns, at best, the worst that a prompt's other samples earn.

    All silent samples of a prompt earn the same, so that none of them is ever better than the mean of the others.

    Args:
        floors: [prompts] what silence earns at most besides, for prompts of which every sample is silent.
    """
    found = rewards.clone()
    for prompt in {completion.prompt for completion in completions if completion.silent}:
        index = [i for i, completion in enumerate(completions) if completion.prompt == prompt]
        worst = rewards[index].min()
        if floors is not None:
            worst = torch.minimum(worst, floors[prompt])
        for i in index:
            if completions[i].silent:
                found[i] = worst
    return found


def advantages(rewards: Tensor, samples: int) -> Tensor:
    """Each reward minus the mean of the prompt's other samples; rewards [prompts · samples], prompt by prompt.

    The baseline doesn't depend on the sample itself, so the policy gradient stays unbiased; a prompt's sum is 0.
    """
    by_prompt = rewards.reshape(-1, samples)
    total = by_prompt.sum(1, keepdim=True)
    return (by_prompt - (total - by_prompt) / (samples - 1)).reshape(-1)


def policy_gradient(
    parameters: NormParameters,
    completions: Sequence[Completion],
    weights: Tensor,
    vector: Tensor,
    *,
    max_tokens: int = 1024,
) -> Tensor:
    """Mean over all samples of weight · ∇ log P(new tokens | prompt) at ``vector``, [P].

    Samples of weight 0 add nothing and are not run.
    """
    gradient = torch.zeros(parameters.size)
    index = [i for i in range(len(completions)) if weights[i] != 0]
    index.sort(key=lambda i: len(completions[i].given) + len(completions[i].new))
    while index:
        longest = len(completions[index[-1]].given) + len(completions[index[-1]].new)
        rows = max(1, max_tokens // longest)
        part, index = index[-rows:], index[:-rows]
        leaves, steering = parameters.attach_rows(vector, 1)
        with steering:
            logp = completion_logprobs(parameters.loaded, [completions[i] for i in part])
            weighted = logp * weights[part].to(logp.device)
            gradient += row_gradients(weighted, leaves, keep=False)[0]
    return gradient / len(completions)


def completion_logprobs(loaded: LoadedModel, completions: Sequence[Completion]) -> Tensor:
    """log P(new tokens | prompt) of each completion, [n], with whatever steers now; gradients flow."""
    rows = [[*completion.given, *completion.new] for completion in completions]
    width = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=loaded.device)
    counts = [len(completion.new) for completion in completions]
    owner = torch.arange(len(rows)).repeat_interleave(torch.tensor(counts))
    place = torch.tensor(
        [len(c.given) - 1 + i for c, count in zip(completions, counts, strict=True) for i in range(count)]
    )
    # The first tokens, the last block and the head may each be on a device of their own.
    hidden = hidden_of(run_backbone(loaded, ids))
    logp = head_logprobs(loaded, hidden[owner.to(hidden.device), place.to(hidden.device)].contiguous())
    wanted = ids.cpu()[owner, place + 1][:, None]
    said = logp.gather(1, wanted.to(logp.device))[:, 0]
    return torch.zeros(len(rows), device=said.device).index_add(0, owner.to(said.device), said)
