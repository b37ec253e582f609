"""Single occupations, and the groups that hold them, at every setting: tables that follow the dial.

With two sides an occupation leans to one of them. With more there is no lean: it has a bias, and an answer given most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..metrics import Estimate
from . import wording
from .curves import TaskView
from .estimates import read_estimates
from .results import Group, Run

STRATA = "strata"


@dataclass(frozen=True)
class Lean:
    """One row at one setting, in points, with its bar's places in % of the bar's cell.

    ``most`` is, where there are more than two sides, the one that is said most.
    """

    name: str
    base: str
    now: str
    interval: str
    change: str
    places: Mapping[str, str]
    most: str = ""


@dataclass(frozen=True)
class LeanTable:
    """A table of leans, or of biases where ``sides`` says so: then bars begin at the left.

    ``rows`` are at the setting shown first; ``data`` has, for a script, every setting's numbers: key -> name ->
    [value, low, high, most] in points; ``reach``, the points at the ends of a bar, and ``middle``, where bars begin.
    """

    title: str
    rows: tuple[Lean, ...]
    data: Mapping[str, Any]
    sides: bool = False


def occupation_table(view: TaskView, start: str) -> LeanTable | None:
    """Every group (occupation), strongest lean of the base model first; None where groups have no lean."""
    return _table("Occupation", {key: _groups(run) for key, run in view.runs}, start)


def strata_table(view: TaskView, start: str) -> LeanTable | None:
    """The groups that the occupations belong to; None where the file doesn't say them."""
    return _table("Group", {key: _strata(run) for key, run in view.runs}, start)


def bias_table(view: TaskView, start: str) -> LeanTable | None:
    """Every group (occupation) with its bias, the base model's largest first; None where groups lean to two sides."""
    most = {key: {group.name: _most(group) for group in run.groups} for key, run in view.runs}
    return _table("Occupation", {key: _biases(run) for key, run in view.runs}, start, most)


def _table(
    title: str,
    leans: Mapping[str, Mapping[str, Estimate]],
    start: str,
    most: Mapping[str, Mapping[str, str]] | None = None,
) -> LeanTable | None:
    known = {key: found for key, found in leans.items() if found}
    if not known:
        return None
    first = known.get("base") or next(iter(known.values()))
    now = known.get(start, {})
    names = sorted(first, key=lambda name: -abs(first[name].value))
    ends = [abs(lean.value) for found in known.values() for lean in found.values()]
    reach = max(20.0, 10 * math.ceil(max(ends) / 10))
    reach = reach if most else min(100.0, reach)
    middle = 0 if most else 50
    named = most or {}
    rows = tuple(
        _row(name, first.get(name), now.get(name), reach, middle, named.get(start, {}).get(name, ""))
        for name in names
    )
    data = {
        "reach": reach,
        "middle": middle,
        "keys": {
            key: {
                name: [*_numbers(lean), *([named[key][name]] if most else [])] for name, lean in found.items()
            }
            for key, found in known.items()
        },
    }
    return LeanTable(title, rows, data, sides=most is not None)


def _row(
    name: str, base: Estimate | None, now: Estimate | None, reach: float, middle: int, most: str
) -> Lean:
    change = math.nan if base is None or now is None else now.value - base.value
    places = {}
    for part, lean in (("before", base), ("now", now)):
        if lean is not None:
            places[part] = _span(0.0, lean.value, reach, middle)
    if now is not None and wording.has_interval(now):
        places["range"] = _span(now.low, now.high, reach, middle)
    return Lean(
        name,
        "–" if base is None else wording.number(base.value / 100, "points"),
        "–" if now is None else wording.number(now.value / 100, "points"),
        "" if now is None else wording.interval(_scaled(now, 0.01), "points"),
        wording.number(change / 100, "points"),
        places,
        most,
    )


def _span(one: float, other: float, reach: float, middle: int) -> str:
    low, high = (middle + (100 - middle) * max(-1.0, min(1.0, end / reach)) for end in sorted((one, other)))
    return f"left:{low:.1f}%;width:{high - low:.1f}%"


def _groups(run: Run) -> dict[str, Estimate]:
    """Group -> P(pro) − P(anti) in points, where it is known."""
    return {
        group.name: Estimate(200 * p.value - 100, 200 * p.low - 100, 200 * p.high - 100, p.n)
        for group in run.groups
        if (p := group.p_pro) is not None and wording.is_known(p)
    }


def _biases(run: Run) -> dict[str, Estimate]:
    """Group -> its bias in points, where it is known."""
    return {
        group.name: _scaled(group.bias, 100)
        for group in run.groups
        if group.bias is not None and wording.is_known(group.bias)
    }


def _most(group: Group) -> str:
    """The outcome with the largest share."""
    known = {name: share.value for name, share in group.shares.items() if share is not None}
    return max(known, key=lambda name: known[name], default="")


def _strata(run: Run) -> dict[str, Estimate]:
    return {
        name: _scaled(lean, 100)
        for name, lean in read_estimates(run.extra.get(STRATA), run.n).items()
        if lean is not None and wording.is_known(lean)
    }


def _scaled(lean: Estimate, factor: float) -> Estimate:
    return Estimate(factor * lean.value, factor * lean.low, factor * lean.high, lean.n)


def _numbers(lean: Estimate) -> list[float | None]:
    return [None if math.isnan(x) else round(x, 2) for x in (lean.value, lean.low, lean.high)]
