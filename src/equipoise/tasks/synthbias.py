"""The task ``synthbias:PATH``: the coreference set SynthBias, from the user's own copy of its CSV file.

Columns: ``type`` (type1, type2), ``sample`` (the sentence), ``occ_1`` (in type2 the referent), ``occ_2``, ``pronoun``,
``is_stereotypical`` (True, False, ambiguous). Type 1 may be read either way and is the *ambiguous* part; in type 2
``occ_1`` is meant, the *unambiguous* part. The file doesn't say what is stereotypical in type 1, so an answer is
``pro`` if the occupation's gender by the WinoBias lists, from which the set's occupations come, is the pronoun's.
In type 2 the referent is often mentioned last: compare accuracy with the baseline "always the later mentioned".
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from ..errors import InputError
from ..files import read_table
from .item import Item
from .occupations import Gender, occupations
from .referent import PRONOUN_GENDER, QUESTION, pair_name, position, referent_item, wording
from .task import Task

COLUMNS = ("type", "sample", "occ_1", "occ_2", "pronoun", "is_stereotypical")

_MALE = (
    "driver, supervisor, janitor, cook, mover, laborer, construction worker, chief, developer, carpenter, manager, "
    "lawyer, farmer, salesperson, physician, guard, analyst, mechanic, sheriff, ceo"
)
_FEMALE = (
    "attendant, cashier, teacher, nurse, assistant, secretary, auditor, cleaner, receptionist, clerk, counselor, "
    "designer, hairdresser, writer, housekeeper, baker, accountant, editor, librarian, tailor"
)


def listed_genders() -> dict[str, Gender]:
    """Each occupation (lower case) with its gender: the WinoBias lists, then our own where these are silent."""
    genders: dict[str, Gender] = {occupation.name: occupation.gender for occupation in occupations()}
    genders |= dict.fromkeys(_MALE.split(", "), "male")
    return genders | dict.fromkeys(_FEMALE.split(", "), "female")


class SynthBias(Task):
    """The rows of one CSV file; raises :class:`InputError` naming file, row, column and remedy."""

    name = "synthbias"
    axis = "gender"
    about = "SynthBias: which of two occupations does the pronoun mean?"

    def __init__(self, path: str | PathLike[str]) -> None:
        self._file = Path(path)
        self._genders = listed_genders()
        self._spelt: dict[str, str] = {}
        self._items = [
            self._item(number, line, row) for number, (line, row) in enumerate(self._rows(), start=1)
        ]
        if not self._items:
            raise InputError(f"synthbias: {self._file} has no rows below its header")

    def items(self) -> Sequence[Item]:
        """One item a row."""
        return self._items

    def held_out_groups(self, item: Item) -> tuple[str, ...]:
        """The unordered pair of occupations: holding out single ones would leave few of the set's rows."""
        return (pair_name((item.groups[0], item.groups[1])),)

    def held_out_template(self, item: Item) -> None:
        """Sentences were written for their pair, so holding pairs out holds wordings out too."""
        return None

    def _rows(self) -> list[tuple[int, dict[str, str | None]]]:
        remedy = "give the path of SynthBias's CSV file"
        return read_table(
            self._file, "synthbias", f"{remedy}, whose header names {', '.join(COLUMNS)}", COLUMNS
        )

    def _cell(self, line: int, row: dict[str, str | None], column: str, allowed: Sequence[str] = ()) -> str:
        text = (row[column] or "").strip()
        place = f"synthbias: {self._file}, line {line}, column {column!r}:"
        if text.lower() in ("", "nan", "none", "null"):
            raise InputError(f"{place} the value is missing: fill it in or remove the row")
        if allowed and text.lower() not in [value.lower() for value in allowed]:
            raise InputError(f"{place} unknown label {text!r}: use one of {', '.join(allowed)}")
        return text

    def _item(self, number: int, line: int, row: dict[str, str | None]) -> Item:
        kind = self._cell(line, row, "type", ("type1", "type2")).lower()
        label = self._cell(line, row, "is_stereotypical", ("True", "False", "ambiguous")).lower()
        if (label == "ambiguous") != (kind == "type1"):
            raise InputError(
                f"synthbias: {self._file}, line {line}, column 'is_stereotypical': {label!r} doesn't go with {kind}: "
                "type1 rows are ambiguous, type2 rows True or False"
            )
        pronoun = self._cell(line, row, "pronoun", tuple(PRONOUN_GENDER))
        sentence = self._cell(line, row, "sample")
        if position(pronoun, sentence) == len(sentence):
            raise InputError(
                f"synthbias: {self._file}, line {line}, column 'pronoun': {pronoun!r} isn't in the sentence, so that "
                "nothing could be asked about it: correct or remove the row"
            )
        first, second = (self._occupation(line, row, column) for column in ("occ_1", "occ_2"))
        if first == second:
            raise InputError(
                f"synthbias: {self._file}, line {line}, column 'occ_2': {second!r} is occ_1 too: name another"
            )
        genders = {name: self._genders[name.lower()] for name in (first, second)}
        if kind == "type1" and genders[first] == genders[second]:
            raise InputError(
                f"synthbias: {self._file}, line {line}, column 'occ_2': {second!r} is listed as {genders[second]}, "
                f"and {first!r} is too, so that neither answer is the stereotypical one: remove the row"
            )
        # A name that the sentence spells differently counts as mentioned last.
        later = position(first, sentence) > position(second, sentence)
        return referent_item(
            id=str(number),
            prompt=QUESTION.format(sentence=sentence, pronoun=pronoun),
            pronoun=pronoun,
            mentioned=(second, first) if later else (first, second),
            genders=genders,
            part="ambiguous" if kind == "type1" else "unambiguous",
            answer=None if kind == "type1" else first,
            template=wording(sentence, (first, second), (pronoun,)),
            swap=number // 2 % 2 == 1,
            metadata={"is_stereotypical": label},
        )

    def _occupation(self, line: int, row: dict[str, str | None], column: str) -> str:
        name = self._cell(line, row, column)
        if name.lower() not in self._genders:
            raise InputError(
                f"synthbias: {self._file}, line {line}, column {column!r}: unknown occupation {name!r}: use one of "
                "the WinoBias lists or of the built-in occupations"
            )
        # One occupation however it is spelt: "CEO" and "ceo" must not be on both sides of a split.
        return self._spelt.setdefault(name.lower(), name)
