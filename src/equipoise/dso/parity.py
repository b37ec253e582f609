"""The repository's reward for parity in coreference."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..tasks.rewards import BaseReward


class GenderParityRewardForSynthBias(BaseReward):
    """The paper's reward for completions of :class:`CorefResolutionLoader`'s samples.

    On an ambiguous sample, -1 if the answer goes the way that the answers of this batch favour for its occupations,
    +1 if it goes against it, 0 where neither is favoured. On an unambiguous one, +1 for the right answer and -1 for
    a wrong one. A completion that begins with none of the options gets -1: silence must not pay.
    """

    def __call__(
        self, completions: Sequence[str], input_metadata: Sequence[Mapping[str, Any]] | None = None
    ) -> Tensor:
        """Rewards [B] of the completions; the metadata are the samples. Raises InputError without metadata."""
        if input_metadata is None or len(input_metadata) != len(completions):
            raise InputError("the parity reward needs each completion's sample as metadata")
        chosen = [
            _answer(text, row["options"]) for text, row in zip(completions, input_metadata, strict=True)
        ]
        leaning: dict[str, int] = defaultdict(int)
        directions = []
        for option, row in zip(chosen, input_metadata, strict=True):
            way = 0 if option is None else self._way(row["outcomes"], option)
            directions.append(way)
            if row["answer"] is None:
                for group in row["groups"]:
                    leaning[group] += way
        rewards = []
        for option, way, row in zip(chosen, directions, input_metadata, strict=True):
            if option is None:
                reward = -1.0
            elif row["answer"] is not None:
                reward = 1.0 if option == row["answer"] else -1.0
            else:
                favoured = sum(leaning[group] for group in row["groups"])
                reward = 0.0 if favoured == 0 else -1.0 if way * favoured > 0 else 1.0
            rewards.append(reward)
        return torch.tensor(rewards)

    def _way(self, outcomes: Sequence[str], option: int) -> int:
        """1 or -1: on which side the option is."""
        return 1 if outcomes[option] == "pro" else -1


class GenderParityRewardForVisionTasks(GenderParityRewardForSynthBias):
    """The same for :class:`Act4MeLoader`'s samples, in which an option means a woman or a man.

    Of an ambiguous sample, two people with one occupation, -1 if the answer names the one whose gender this batch's
    answers favour for it, +1 for the other.
    """

    def _way(self, outcomes: Sequence[str], option: int) -> int:
        return 1 if outcomes[option] == min(outcomes) else -1


def _answer(completion: str, options: Sequence[str]) -> int | None:
    """Index of the longest option that the completion begins with, whitespace and case aside."""
    text = completion.strip().casefold()
    matches = [index for index, option in enumerate(options) if text.startswith(option.strip().casefold())]
    return max(matches, key=lambda index: len(options[index]), default=None)
