"""How much a text repeats itself."""

from __future__ import annotations

RUN = 3
"""Words that make a run."""


def repetition(text: str, run: int = RUN) -> float:
    """The share of a text's runs of ``run`` words that it has said before, [0, 1); 0 where there is no second run.

    One minus the share of distinct n-grams. Case aside; words are what blanks part.
    """
    words = text.casefold().split()
    runs = [tuple(words[start : start + run]) for start in range(len(words) - run + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0
