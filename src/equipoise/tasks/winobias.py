"""The task ``winobias:PATH``: WinoBias sentences (Zhao et al., 2018), asked as "who is meant".

PATH is the folder with the set's own files: ``{pro,anti}_stereotyped_type{1,2}.txt.{dev,test}`` and
``{male,female}_occupations.txt``. A line is a number and a sentence in which ``[brackets]`` mark the referent and its
pronouns. Both directions, both types, dev and test are read.

Type 2 is solved by syntax ("The developer argued with the designer and slapped her": it can't be the developer), so
it is the *unambiguous* part. Type 1 needs world knowledge that its writers had in mind but that the sentence doesn't
state ("… because she did not like the design"), and every sentence comes with both pronouns, so that an unbiased model
prefers neither direction: it is the part on which bias is measured, and called *ambiguous* although one referent is
intended; that one is kept in ``metadata["referent"]``. An answer is ``pro`` if the set's lists give its occupation the
pronoun's gender.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import read_text, text_lines
from ..metrics import Table, anti_f1, f1_gap, pro_f1
from .item import Item
from .occupations import Gender
from .referent import PRONOUN_GENDER, QUESTION, referent_item, wording
from .suite import Evidence, Reading, Readings
from .task import Task

_FILES = tuple(
    (direction, kind, part)
    for kind in ("type1", "type2")
    for part in ("dev", "test")
    for direction in ("pro", "anti")
)


class WinoBias(Task):
    """The sentences in a folder; raises :class:`InputError` for a missing file or a line of another form."""

    name = "winobias"
    axis = "gender"
    about = "WinoBias: which of two occupations does the pronoun mean?"

    def __init__(self, path: str | PathLike[str]) -> None:
        self._folder = Path(path)
        self._genders: dict[str, Gender] = {}
        for gender in ("male", "female"):
            for line in self._read(f"{gender}_occupations.txt"):
                if line.strip():
                    self._genders[line.strip()] = gender
        self._items = [
            item
            for direction, kind, part in _FILES
            for item in self._file(f"{direction}_stereotyped_{kind}.txt.{part}", kind)
        ]

    def items(self) -> Sequence[Item]:
        """Every line of every file, one item each."""
        return self._items

    def readings(self, items: Sequence[Item], evidence: Evidence) -> Readings:
        """F1 on pro- and on anti-stereotypical sentences and their difference, of each type.

        The more probable option is the answer, so that every sentence is answered and F1 is accuracy.
        """
        chosen = evidence.logp.argmax(1)
        answered = evidence.logp.max(1) > -np.inf
        right = np.array([item.options.index(f" {item.metadata['referent']}") for item in items])
        table = Table(
            {
                "pro": [item.outcomes[own] == "pro" for item, own in zip(items, right, strict=True)],
                "right": (chosen == right) & answered,
                "answered": answered,
            },
            [item.groups for item in items],
            [item.template for item in items],
        )
        kinds = np.array([item.metadata["type"] for item in items])
        return {
            f"{statistic.name}.{kind}": Reading(
                statistic, table.take(kinds == kind), self.axis, 0.0 if statistic is f1_gap else None
            )
            for kind in dict.fromkeys(kinds)
            for statistic in (pro_f1, anti_f1, f1_gap)
        }

    def strata(self) -> Mapping[str, str]:
        """The set's lists of occupations are divided separately."""
        return self._genders

    def held_out_template(self, item: Item) -> None:
        """All wordings but four belong to one pair of occupations, so holding these out holds them out too."""
        return None

    def _read(self, name: str) -> list[str]:
        text = read_text(
            self._folder / name,
            "winobias",
            "give the folder that holds WinoBias's own files, {pro,anti}_stereotyped_type{1,2}.txt.{dev,test} and "
            "the occupation lists",
        )
        return text_lines(text)

    def _file(self, name: str, kind: str) -> Iterator[Item]:
        for number, line in enumerate(self._read(name), start=1):
            if line.strip():
                yield self._line(f"{name}/{number}", kind, line.strip(), swap=(number - 1) // 2 % 2 == 1)

    def _line(self, place: str, kind: str, line: str, *, swap: bool) -> Item:
        bracketed = [text.strip() for text in re.findall(r"\[([^\]]*)\]", line)]
        pronouns = [text for text in bracketed if text.lower() in PRONOUN_GENDER]
        referents = [
            re.sub(r"^(the|an?) ", "", t, flags=re.IGNORECASE) for t in bracketed if t not in pronouns
        ]
        if not pronouns or len(referents) != 1:
            raise InputError(
                f"winobias: {self._folder}/{place}: expected one [occupation] and its [pronoun] in brackets, "
                f"found {bracketed}"
            )
        # One line of the published set doubles the article: "the [the chief]".
        sentence = re.sub(r"\b(the) +\[ *the ", r"\1 [", re.sub(r"^\d+\s+", "", line))
        sentence = re.sub(r"\[ *([^\]]*?) *\]", r"\1", sentence)
        referent = next((name for name in self._genders if name.lower() == referents[0].lower()), None)
        if referent is None:
            raise InputError(
                f"winobias: {self._folder}/{place}: {referents[0]!r} is in neither male_occupations.txt nor "
                "female_occupations.txt: add it to one"
            )
        found = self._mentioned(sentence, referent)
        if found is None:
            raise InputError(
                f"winobias: {self._folder}/{place}: expected two occupations from the lists, found only {referent!r}"
            )
        return referent_item(
            id=place,
            prompt=QUESTION.format(sentence=sentence, pronoun=pronouns[0]),
            pronoun=pronouns[0],
            mentioned=found,
            genders=self._genders,
            part="ambiguous" if kind == "type1" else "unambiguous",
            answer=None if kind == "type1" else referent,
            template=wording(sentence, found, pronouns),
            swap=swap,
            metadata={"referent": referent, "type": kind},
        )

    def _mentioned(self, sentence: str, referent: str) -> tuple[str, str] | None:
        """The referent and the first other occupation of the opposite list, in the order of mention."""
        places = {}
        for name in self._genders:
            match = re.search(rf"\b{re.escape(name)}\b", sentence, flags=re.IGNORECASE)
            if match:
                places[name] = match.start()
        others = sorted((place, name) for name, place in places.items() if name != referent)
        # "… and reported him to the manager" has a third; pairs are always across the lists, early in the sentence.
        across = [name for _, name in others if self._genders[name] != self._genders[referent]]
        if referent not in places or not across:
            return None
        pair = sorted((referent, across[0]), key=places.__getitem__)
        return pair[0], pair[1]
