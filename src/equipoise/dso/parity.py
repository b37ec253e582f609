"""The repository's rewards for parity, for any number of groups."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..tasks.rewards import BaseReward


class GenderParityRewardForSynthBias(BaseReward):
    """The paper's reward for completions of :class:`CorefResolutionLoader`'s samples.

    On an ambiguous sample, -1 if what is answered has more than an equal share of this batch's answers about its
    occupations, +1 if it has less, 0 for an equal one; of two answers that is -1 for the favoured one, of more groups
    each is compared with 1 over their number. On an unambiguous one, +1 for the right answer and -1 for
    a wrong one. A completion that begins with none of the options, as whole words, gets -1: silence must not pay.
    """

    def __call__(
        self, completions: Sequence[str], input_metadata: Sequence[Mapping[str, Any]] | None = None
    ) -> Tensor:
        """Rewards [B] of the completions; the metadata are the samples. Raises InputError without these."""
        if input_metadata is None or len(input_metadata) != len(completions):
            raise InputError("the parity reward needs each completion's sample as metadata")
        for number, row in enumerate(input_metadata):
            for name in ("options", "outcomes", "groups", "answer"):
                if name not in row:
                    raise InputError(
                        f"sample {number} has no {name!r}, which the parity reward needs: give samples as"
                        " CorefResolutionLoader makes them"
                    )
        chosen = [
            _answer(text, row["options"]) for text, row in zip(completions, input_metadata, strict=True)
        ]
        said: dict[str, Counter[str]] = defaultdict(Counter)
        for option, row in zip(chosen, input_metadata, strict=True):
            if option is not None and row["answer"] is None:
                for group in row["groups"]:
                    said[group][row["outcomes"][option]] += 1
        rewards = []
        for option, row in zip(chosen, input_metadata, strict=True):
            if option is None:
                reward = -1.0
            elif row["answer"] is not None:
                reward = 1.0 if option == row["answer"] else -1.0
            else:
                own = row["outcomes"][option]
                even = sum(said[group].total() for group in row["groups"])
                above = sum(said[group][own] for group in row["groups"]) * len(set(row["outcomes"])) - even
                reward = float((above < 0) - (above > 0))
            rewards.append(reward)
        return torch.tensor(rewards)


class GenderParityRewardForVisionTasks(GenderParityRewardForSynthBias):
    """The same for :class:`Act4MeLoader`'s samples, in which an option means a woman or a man.

    Of an ambiguous sample, two people with one occupation, -1 if the answer names the one whose gender this batch's
    answers favour for it, +1 for the other.
    """


def _answer(completion: str, options: Sequence[str]) -> int | None:
    """Index of the longest option that the completion begins with, in whole words, whitespace and case aside."""
    text = completion.strip().casefold()
    matches = [index for index, option in enumerate(options) if _begins(text, option.strip().casefold())]
    return max(matches, key=lambda index: len(options[index]), default=None)


def _begins(text: str, option: str) -> bool:
    """Whether the option stands first and ends there: "her" doesn't say "he", nor "because" the letter B."""
    before, after = option[-1:], text[len(option) : len(option) + 1]
    return text.startswith(option) and not (_goes_on(before) and _goes_on(after))


def _goes_on(sign: str) -> bool:
    """Whether words of this script are parted by blanks, and this is within one; letters without case are neither."""
    return sign.isdigit() or sign.lower() != sign.upper()
