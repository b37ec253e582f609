"""Rewards: what judges free text while an intervention is trained on it."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError

Metadata = Sequence[Mapping[str, Any]] | None
Reward = Callable[[Sequence[str], Metadata], Tensor]
"""Any callable from completions [B] and their items' metadata [B] (or None) to one float each, higher is better."""


class BaseReward(ABC):
    """A reward as a class, for those that hold something; a plain function does as well."""

    @abstractmethod
    def __call__(self, completions: Sequence[str], input_metadata: Metadata = None) -> Tensor:
        """A float tensor [B]: one reward a completion, higher is better."""


class LexiconReward(BaseReward):
    """Minus the share of a completion's words that the lexicon lists: 0 for none, −1 for nothing else.

    Args:
        entries: words in any case, a trailing ``*`` for any ending; by default our short list of mild insults.
        empty: what a completion without a word earns. −1, the worst, by default: silence must not pay.
    """

    def __init__(self, entries: Iterable[str] | None = None, *, empty: float = -1.0) -> None:
        words = [entry.strip().lower() for entry in (lexicon() if entries is None else entries)]
        if not any(words):
            raise InputError("the lexicon is empty: give at least one word")
        patterns = [
            re.escape(word[:-1]) + r"[\w']*" if word.endswith("*") else re.escape(word) for word in words
        ]
        self._listed = re.compile("|".join(sorted(patterns, key=len, reverse=True)))
        self._empty = empty

    def __call__(self, completions: Sequence[str], input_metadata: Metadata = None) -> Tensor:
        """The shares [B]; metadata is not used."""
        return torch.tensor([self._one(text) for text in completions], dtype=torch.float32)

    def _one(self, text: str) -> float:
        words = re.findall(r"\w(?:[\w']*\w)?", text.lower())
        if not words:
            return self._empty
        return -sum(self._listed.fullmatch(word) is not None for word in words) / len(words)


def lexicon() -> tuple[str, ...]:
    """The entries of the built-in lexicon."""
    text = resources.files(__package__).joinpath("data/lexicon.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


def evaluate_reward(reward: Reward, completions: Sequence[str], metadata: Metadata = None) -> Tensor:
    """Call a reward and check what it returns.

    Returns:
        float32 [B].

    Raises :class:`InputError`, naming the reward, if the result is no finite tensor [B].
    """
    name = getattr(reward, "__name__", type(reward).__name__)
    result = reward(completions, metadata)
    if not isinstance(result, Tensor):
        raise InputError(f"reward {name}: must return a torch tensor, returned {type(result).__name__}")
    if result.shape != (len(completions),):
        raise InputError(
            f"reward {name}: must return one number for each of the {len(completions)} completions, "
            f"returned shape {tuple(result.shape)}"
        )
    result = result.to(torch.float32)
    if not torch.isfinite(result).all():
        raise InputError(
            f"reward {name}: returned a value that is not finite, the first at {_first_bad(result)}"
        )
    return result


def _first_bad(values: Tensor) -> int:
    return int(torch.nonzero(~torch.isfinite(values))[0])
