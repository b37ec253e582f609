"""The task ``winogender:PATH``: Winogender sentences (Rudinger et al., 2018) about an occupation's own pronoun.

PATH is the folder with the set's ``all_sentences.tsv`` and ``occupations-stats.tsv``. Each sentence names an
occupation, a participant ("the customer" or "someone") and a pronoun that refers to one of them. Read are those in
which it is the *occupation* (answer 0 in the set's sentence ids), with "he" and "she" forms: nothing states the
person's gender, so all are the *ambiguous* part and parity is right. Where the pronoun is the participant's, the
occupation says nothing about it, and there is no share to call an answer stereotypical by; those sentences and the
neutral "they" are left out.

The prompt is the sentence up to its first pronoun; an option is the pronoun *and the rest of the sentence*, equal in
both but for the pronouns, because only the rest says that the occupation is meant. Absolute option probabilities are
therefore tiny, and what is left of them is no abstention: use what is computed given an answer.
"""

import csv
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import read_table
from ..metrics import Table, share_correlation
from .item import Item
from .suite import Evidence, Reading, Readings
from .task import Task


class WinoGender(Task):
    """The sentences in a folder; raises :class:`InputError` for a missing file, column or twin, or a wrong share."""

    name = "winogender"
    axis = "gender"
    exhaustive = False
    about = (
        "Winogender: a sentence about the person of an occupation goes on with he or she. Nothing says which, so an "
        "even split is right."
    )

    def __init__(self, path: str | PathLike[str]) -> None:
        self._folder = Path(path)
        shares = {row["occupation"]: self._share(row) for row in self._rows("occupations-stats.tsv", _STATS)}
        sentences: dict[str, dict[str, str]] = {}
        for row in self._rows("all_sentences.tsv", _SENTENCES):
            parts = row["sentid"].removesuffix(".txt").split(".")
            if len(parts) != 4 or parts[2] not in ("0", "1"):
                raise self._error(
                    "all_sentences.tsv",
                    row,
                    "sentid",
                    "expected occupation.participant.answer.gender.txt with answer 0 or 1",
                )
            occupation, participant, answer, gender = parts
            if answer == "0" and gender in ("male", "female"):
                sentences.setdefault(f"{occupation}.{participant}", {})[gender] = row["sentence"]
        self._items = [self._item(name, pair, shares, n) for n, (name, pair) in enumerate(sentences.items())]

    def items(self) -> Sequence[Item]:
        """One item an occupation and participant."""
        return self._items

    def readings(self, items: Sequence[Item], evidence: Evidence) -> Readings:
        """The correlation of P("she" | he or she) with the occupations' shares of women."""
        female = np.array([item.metadata["female"] for item in items])
        rows = np.arange(len(items))
        gap = evidence.logp[rows, 1 - female] - evidence.logp[rows, female]
        table = Table(
            {
                "female": 1 / (1 + np.exp(np.clip(gap, -500, 500))),
                "percent_women": [item.metadata["percent_women"] for item in items],
            },
            [item.groups for item in items],
        )
        return {"share_correlation": Reading(share_correlation, table, self.axis, 0.0)}

    def held_out_template(self, item: Item) -> None:
        """Each wording belongs to one occupation, so holding these out holds it out too."""
        return None

    def _rows(self, name: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
        file = self._folder / name
        remedy = "give the folder that holds Winogender's own all_sentences.tsv and occupations-stats.tsv"
        tabs: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
        rows = []
        for line, row in read_table(file, "winogender", remedy, columns, **tabs):
            whole = {column: text for column, text in row.items() if text is not None}
            if not whole.keys() >= set(columns):
                raise InputError(
                    f"winogender: {file}, line {line}: too few columns: complete or remove the row"
                )
            rows.append({**whole, "line": str(line)})
        return rows

    def _error(self, file: str, row: dict[str, str], column: str, remedy: str) -> InputError:
        return InputError(
            f"winogender: {self._folder / file}, line {row['line']}, column {column!r}: {row[column]!r}: {remedy}"
        )

    def _share(self, row: dict[str, str]) -> float:
        try:
            share = float(row["bls_pct_female"])
        except ValueError:
            share = float("nan")
        if not 0 <= share <= 100:
            raise self._error(
                "occupations-stats.tsv", row, "bls_pct_female", "expected a share of women, 0 to 100"
            )
        return share

    def _item(self, name: str, pair: dict[str, str], shares: dict[str, float], number: int) -> Item:
        occupation = name.split(".")[0]
        if occupation not in shares:
            raise InputError(
                f"winogender: occupations-stats.tsv has no row for {occupation!r}: add its share of women"
            )
        if set(pair) != {"male", "female"}:
            raise InputError(
                f"winogender: all_sentences.tsv has {name} in its {next(iter(pair))} form only: add the other gender's"
            )
        words = {gender: sentence.split() for gender, sentence in pair.items()}
        start = next(
            (
                i
                for i, two in enumerate(zip(words["male"], words["female"], strict=False))
                if two[0] != two[1]
            ),
            0,
        )
        if start == 0:
            raise InputError(
                f"winogender: all_sentences.tsv: the two forms of {name} need a pronoun after some text"
            )
        majority = "female" if shares[occupation] > 50 else "male"
        order = ("female", "male") if number % 2 else ("male", "female")
        return Item(
            id=name,
            prompt=" ".join(words["male"][:start]),
            options=tuple(" " + " ".join(words[gender][start:]) for gender in order),
            outcomes=tuple("pro" if gender == majority else "anti" for gender in order),
            part="ambiguous",
            answer=None,
            groups=(occupation,),
            template=name,
            metadata={"percent_women": shares[occupation], "female": order.index("female")},
        )


_STATS = ("occupation", "bls_pct_female")
_SENTENCES = ("sentid", "sentence")
