"""The suite ``wikitext:PATH``: word-normalised perplexity of WikiText's articles, as in ``lm_eval``.

PATH is a WikiText file (``wiki.test.tokens``, raw or not). An article begins at a line ``= Title =``. The text is put
back into ordinary spelling ("@-@" is a hyphen again) by the rules of ``lm_eval``, and its negative log-likelihood is
divided by the number of words of the file's own text, so that figures do not depend on the tokenizer.
"""

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files import read_text
from ..metrics import Texts, perplexity
from .suite import Document, Reading, Readings, TextSuite

_TITLE = re.compile(r"^ ?= [^=].*[^=] = ?$|^ ?= [^=] = ?$")
# In lm_eval's order, which matters. What stands between two quotation marks or apostrophes loses its outer spaces
# however far apart they are, even where the first one closes and the second one opens.
_RULES = [
    (re.compile(pattern), meant)
    for pattern, meant in (
        ("s '", "s'"),
        *((re.escape(f" @{mark}@ "), mark) for mark in "-,."),
        *((re.escape(f" {mark} "), f"{mark} ") for mark in ":;.!?,"),
        (r"\(\s*([^)]*?)\s*\)", r"(\1)"),
        (r"\[\s*([^]]*?)\s*\]", r"[\1]"),
        (r"\{\s*([^}]*?)\s*\}", r"{\1}"),
        (r'"\s*([^"]*?)\s*"', r'"\1"'),
        (r"'\s*([^']*?)\s*'", r"'\1'"),
        ("= = = =", "===="),
        ("= = =", "==="),
        ("= =", "=="),
        (" ° ", "°"),
        (" \n", "\n"),
        ("\n ", "\n"),
        (" N ", " 1 "),
        (" 's", "'s"),
    )
]


class WikiText(TextSuite):
    """The articles of a file; raises :class:`InputError` if it has none."""

    name = "wikitext"
    about = "WikiText: perplexity a word of whole articles."

    def __init__(self, path: str | PathLike[str]) -> None:
        file = Path(path)
        articles: list[list[str]] = []
        # What follows the last line feed, nothing, is a line too in lm_eval's articles.
        for line in read_text(file, "wikitext", "give a WikiText file").split("\n"):
            if _TITLE.match(line):
                articles.append([])
            if articles:
                articles[-1].append(line)
        if not articles:
            raise InputError(f"wikitext: {file} has no article (a line '= Title ='): give a WikiText file")
        texts = ["\n".join(lines) for lines in articles]
        self._documents = [
            Document(f"article {n}", ordinary(text), len(re.split(r"\s+", text)))
            for n, text in enumerate(texts)
        ]

    def documents(self) -> Sequence[Document]:
        """One an article."""
        return self._documents

    def text_readings(self, documents: Sequence[Document], nll: NDArray[np.float64]) -> Readings:
        """``word_perplexity``: exp of all nats over all words."""
        texts = Texts(
            nll, [document.words for document in documents], [document.id for document in documents]
        )
        return {"word_perplexity": Reading(perplexity, texts)}


def ordinary(text: str) -> str:
    """WikiText's spaced-out spelling as ordinary text, by ``lm_eval``'s rules in their order."""
    for pattern, meant in _RULES:
        text = pattern.sub(meant, text)
    return text
