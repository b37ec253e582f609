"""The suite ``wikitext:PATH``: word-normalised perplexity of WikiText's articles, as in ``lm_eval``.

PATH is a WikiText file (``wiki.test.tokens``, raw or not). An article begins at a line ``= Title =``. The text is put
back into ordinary spelling ("@-@" is a hyphen again), and its negative log-likelihood is divided by the number of words
of the file's own text, so that figures do not depend on the tokenizer.
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


class WikiText(TextSuite):
    """The articles of a file; raises :class:`InputError` if it has none."""

    name = "wikitext"
    about = "WikiText: perplexity a word of whole articles."

    def __init__(self, path: str | PathLike[str]) -> None:
        file = Path(path)
        articles: list[list[str]] = []
        for line in read_text(file, "wikitext", "give a WikiText file").splitlines():
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
    """WikiText's spaced-out spelling as ordinary text."""
    for mark in "-,.":
        text = text.replace(f" @{mark}@ ", mark)
    text = re.sub(r" ([:;.,!?])(?= |\n|$)", r"\1", text)
    text = re.sub(r"([\(\[{]) ([^\)\]}]*?) ([\)\]}])", r"\1\2\3", text)
    text = re.sub(r'" ([^"\n]*?) "', r'"\1"', text)
    text = re.sub(r"(= )+(=)", lambda found: found.group(0).replace(" ", ""), text)
    text = text.replace(" 's", "'s").replace("s ' ", "s' ").replace(" N ", " 1 ")
    return re.sub(r" *\n *", "\n", text)
