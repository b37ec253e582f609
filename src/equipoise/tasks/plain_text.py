"""Ordinary text, on which an edit should change nothing: for KL divergence and perplexity."""

from functools import cache
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

from ..errors import InputError
from ..files import read_text, text_lines

TextPart = Literal["fit", "report"]


def plain_text(part: TextPart) -> tuple[str, ...]:
    """Our own paragraphs (Apache-2.0): encyclopaedic, news, instructions, dialogue, stories, code, chat and more.

    Args:
        part: ``fit`` for what a method may look at, ``report`` for what is measured; no paragraph is in both, and
            both have the same mixture of kinds.
    """
    if part not in get_args(TextPart):
        raise InputError(f"plain text has the parts {list(get_args(TextPart))}, not {part!r}")
    # The file keeps paragraphs of a kind together, so taking turns gives each part half of every kind.
    return _built_in()[get_args(TextPart).index(part) :: 2]


@cache
def _built_in() -> tuple[str, ...]:
    return paragraphs(
        resources.files(__package__).joinpath("data/plain_text.txt").read_text(encoding="utf-8")
    )


def load_text(path: str | PathLike[str], *, min_words: int = 20) -> tuple[str, ...]:
    """The paragraphs of a user's UTF-8 text file, such as WikiText's.

    Args:
        path: the file.
        min_words: shorter paragraphs are left out (list entries, captions).

    Raises :class:`InputError` if the file can't be read or nothing is left.
    """
    file = Path(path)
    text = read_text(file, "plain text", "give a UTF-8 text file")
    found = tuple(paragraph for paragraph in paragraphs(text) if len(paragraph.split()) >= min_words)
    if not found:
        raise InputError(f"{file} has no paragraph of {min_words} or more words: give a longer text")
    return found


def paragraphs(text: str) -> tuple[str, ...]:
    """The paragraphs of ``text``, in order: runs of lines between blank lines and headings.

    A heading is a line framed by ``=``, as in ``= Title =``, and is left out. Line breaks within a paragraph and the
    indentation after them stay, so that code remains code.
    """
    found: list[str] = []
    lines: list[str] = []
    for line in [*text_lines(text), ""]:
        stripped = line.strip()
        heading = stripped.startswith("= ") and stripped.endswith(" =")
        if stripped and not heading:
            lines.append(line.rstrip())
        elif lines:
            found.append("\n".join(lines).strip())
            lines = []
    return tuple(found)
