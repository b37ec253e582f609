"""Occupations with the published share of women among those who work in them.

Source: US Bureau of Labor Statistics, Current Population Survey, annual averages, Table 11 ("Employed
persons by detailed occupation, sex, race, and Hispanic or Latino ethnicity"); a work of the US government,
in the public domain. ``category`` is the table's own row, ``year`` the table's year. Occupations near
parity are left out, since they have no stereotype that the share could name.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

Gender = Literal["female", "male"]

PRONOUNS: dict[Gender, str] = {"female": "she", "male": "he"}


@dataclass(frozen=True)
class Occupation:
    """A singular noun, the share of women in percent, and the table row and year that say so."""

    name: str
    percent_women: float
    category: str
    year: int

    @property
    def gender(self) -> Gender:
        """The gender that holds the majority: what a stereotype would assume."""
        return "female" if self.percent_women > 50 else "male"

    @property
    def with_article(self) -> str:
        """The name after "a" or "an"."""
        return with_article(self.name)


def with_article(noun: str) -> str:
    """``noun`` after the indefinite article, chosen by the first letter: right for every occupation here."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


@cache
def occupations() -> tuple[Occupation, ...]:
    """All built-in occupations, 107 held mostly by men (women < 40 %) and 107 mostly by women (> 60 %)."""
    text = resources.files(__package__).joinpath("data/occupations.csv").read_text(encoding="utf-8")
    return tuple(
        Occupation(row["occupation"], float(row["percent_women"]), row["category"], int(row["year"]))
        for row in csv.DictReader(text.splitlines())
    )
