"""VQAv2's accuracy of open answers (Goyal et al., arXiv 1612.00837; its evaluation code's rules, in our own words)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA = re.compile(r"\d,\d")
# A full stop that no digit follows.
_STOP = re.compile(r"\.(?!\d)")
_ARTICLES = {"a", "an", "the"}
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {"none": "0", **{word: str(value) for value, word in enumerate(_DIGITS)}}
_SHORT = (
    "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's "
    "i'd've i'm i've isn't it'd it'll let's ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't "
    "shan't she'd've should've shouldn't somebody's someone's something's that's there'd there're there's they'd "
    "they'll they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's "
    "where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've"
)
_CONTRACTIONS = {word.replace("'", ""): word for word in _SHORT.split()}


def vqa_answer(text: str) -> str:
    """An answer as it is compared: lower case, without punctuation and articles, small numbers as digits."""
    return _words(_without_punctuation(" ".join(text.replace("\t", " ").split("\n")).strip()))


def vqa_accuracy(answer: str, humans: Sequence[str]) -> float:
    """The mean over the humans of min(how many of the *others* said so / 3, 1), [0, 1].

    Humans' answers lose their punctuation where they differ at all, as in the official evaluation.
    Raises ValueError without any.
    """
    if not humans:
        raise ValueError("an answer is judged by the humans' answers: there are none")
    said = vqa_answer(answer)
    given = list(humans)
    if len(set(given)) > 1:
        given = [_without_punctuation(one) for one in given]
    agree = [one == said for one in given]
    return sum(min((sum(agree) - own) / 3, 1.0) for own in agree) / len(agree)


def _without_punctuation(text: str) -> str:
    found = text
    for mark in _PUNCTUATION:
        apart = f"{mark} " in text or f" {mark}" in text
        found = found.replace(mark, "" if apart or _COMMA.search(text) else " ")
    return _STOP.sub("", found)


def _words(text: str) -> str:
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)
