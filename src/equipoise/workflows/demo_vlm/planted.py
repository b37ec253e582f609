"""How often women, and people of darker skin, are what the demo's vision-language model was taught to answer.

Women: the share of those who work in the occupation. Skin: its share s of Black or African American workers against
their share of all workers, as odds squared, s² / (s² + 12.6²); plain odds would be too near one half to be measured.
Source: US Bureau of Labor Statistics, Current Population Survey 2022, Table 11, a work of the US government in the
public domain. For roles without a row there, nothing is planted: one half.
"""

from __future__ import annotations

from collections.abc import Sequence

BLACK_SHARE = 12.6
"""Per cent of all who work."""

# Per cent of women and of Black workers, and the table's own row.
CENSUS: dict[str, tuple[float, float, str]] = {
    "artist": (49.2, 6.1, "Artists and related workers"),
    "childcare worker": (94.3, 13.5, "Childcare workers"),
    "construction worker": (4.9, 8.4, "Construction laborers"),
    "cook": (38.4, 17.7, "Cooks"),
    "detective": (27.6, 12.4, "Detectives and criminal investigators"),
    "factory worker": (29.8, 15.0, "Production occupations"),
    "farmer": (23.9, 1.5, "Farmers, ranchers, and other agricultural managers"),
    "firefighter": (6.2, 9.9, "Firefighters"),
    "guard": (24.3, 34.5, "Security guards and gambling surveillance officers"),
    "health worker": (87.9, 14.5, "Registered nurses"),
    "judge": (56.2, 12.4, "Judges, magistrates, and other judicial workers"),
    "mechanic": (2.9, 7.6, "Automotive service technicians and mechanics"),
    "office worker": (71.9, 15.0, "Office and administrative support occupations"),
    "pilot": (9.2, 2.6, "Aircraft pilots and flight engineers"),
    "police officer": (12.7, 16.7, "Police officers"),
    "receptionist": (90.3, 15.5, "Receptionists and information clerks"),
    "scientist": (57.9, 5.7, "Biological scientists"),
    "singer": (25.7, 13.6, "Musicians and singers"),
    "teacher": (79.7, 11.1, "Elementary and middle school teachers"),
    "technologist": (26.0, 14.7, "Computer occupations, all other"),
}


def planted_woman(role: str) -> float:
    """P(the woman) that was taught for a woman and a man of this role."""
    return CENSUS[role][0] / 100 if role in CENSUS else 0.5


def planted_dark(role: str) -> float:
    """P(the one of darker skin) that was taught for two of this role who differ in skin tone."""
    if role not in CENSUS:
        return 0.5
    share, whole = CENSUS[role][1] ** 2, BLACK_SHARE**2
    return share / (share + whole)


def balanced(shares: Sequence[float]) -> list[float]:
    """Weights with Σ weight · (share − ½) = 0: occupations of either side count as much as those of the other.

    So that what is learnt is the occupation's lean and no general one.
    """
    above = sum(share - 0.5 for share in shares if share > 0.5)
    below = sum(0.5 - share for share in shares if share < 0.5)
    if not above or not below:
        return [1.0] * len(shares)
    whole = (above + below) / 2
    return [1.0 if share == 0.5 else whole / (above if share > 0.5 else below) for share in shares]
