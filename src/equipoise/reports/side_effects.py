"""What a mitigation did to axes that it was not fitted for, as a matrix for each setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..metrics import Estimate
from . import wording
from .curves import TaskView
from .estimates import read_estimates

KEY = "side_effects"
CAPABILITY = "capability"
_Place = tuple[str | None, float | None, float | None]


@dataclass(frozen=True)
class Effect:
    """One cell: the change with its interval and corrected p; ``moved`` where it is beyond chance."""

    change: str
    interval: str
    p: str
    moved: bool


@dataclass(frozen=True)
class Matrix:
    """Axes down, metrics of suites across, None where nothing was measured, at one setting.

    ``key`` is the setting's stop of the dial, None where there is none. ``targeted`` axes were meant to move;
    ``moved`` names in words what moved and wasn't.
    """

    key: str | None
    label: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, bool, tuple[Effect | None, ...]], ...]
    moved: tuple[str, ...]

    @property
    def tested(self) -> bool:
        """Whether any cell has a corrected p; without one nothing can be said to have stayed."""
        return any(cell is not None and cell.p for _, _, cells in self.rows for cell in cells)


def side_effects(value: Any, views: Sequence[TaskView]) -> tuple[Matrix, ...]:
    """The matrices of the key ``side_effects`` of results.json (docs/contract.md); none for null.

    ``value`` is an object with ``cells``. Settings that the dial has not got are left out, but for
    the strongest where it has none of them. Raises :class:`InputError` for another shape.
    """
    if value is None:
        return ()
    cells = value.get("cells") if isinstance(value, Mapping) else None
    if not isinstance(cells, Sequence) or isinstance(cells, str):
        raise InputError(f"results: {KEY} must have a list of cells")
    if not cells:
        return ()
    keys: dict[_Place, str] = {
        (run.mitigation, run.keep, run.strength): key for view in views for key, run in view.runs
    }
    settings: dict[_Place, list[Mapping[str, Any]]] = {}
    for number, cell in enumerate(cells):
        if not isinstance(cell, Mapping) or not {"task", "metric", "axis", "change"} <= set(cell):
            raise InputError(f"results: {KEY}[{number}] has no task, axis, metric and change")
        settings.setdefault((cell.get("mitigation"), cell.get("keep"), cell.get("strength")), []).append(cell)
    known = {place: found for place, found in settings.items() if place in keys}
    if not known:
        last = max(settings, key=lambda place: place[2] or 0.0)
        known = {last: settings[last]}
    return tuple(_matrix(place, keys.get(place), found) for place, found in known.items())


def _matrix(place: _Place, key: str | None, found: Sequence[Mapping[str, Any]]) -> Matrix:
    cells: dict[tuple[str, tuple[str, str]], Effect] = {}
    targeted: dict[str, bool] = {}
    moved = []
    for cell in found:
        axis, column = _axis(cell), (str(cell["task"]), _metric(cell).label)
        effect = _effect(cell)
        cells[axis, column] = effect
        targeted[axis] = targeted.get(axis, False) or bool(cell.get("targeted"))
        if effect.moved:
            moved.append(f"{axis} ({column[0]}, {column[1]}: {effect.change})")
    columns = tuple(dict.fromkeys(column for _, column in cells))
    rows = tuple(
        (axis, meant, tuple(cells.get((axis, column)) for column in columns))
        for axis, meant in targeted.items()
    )
    mitigation, keep, strength = place
    name = "" if mitigation is None else str(mitigation)
    name += "" if keep is None else f", strongest {100 * keep:g} %"
    name += "" if strength is None else f" at λ = {strength:g}"
    return Matrix(key, name.strip(), columns, rows, tuple(moved))


def _axis(cell: Mapping[str, Any]) -> str:
    axis = cell["axis"]
    return CAPABILITY if axis is None else "several axes" if axis == "all" else str(axis)


def _metric(cell: Mapping[str, Any]) -> wording.Metric:
    """The metric without the axis, which is the row's."""
    return wording.metric(str(cell["metric"]).removesuffix(f".{cell['axis']}"))


def _effect(cell: Mapping[str, Any]) -> Effect:
    try:
        (change,) = read_estimates({"change": cell["change"]}, 0).values()
    except AttributeError:
        raise InputError(f"results: {KEY}: the change of {cell['metric']} must be an estimate") from None
    if change is None:
        return Effect("–", "", "", False)
    kind = _metric(cell).kind
    told, p = "", cell.get("p_adjusted")
    if isinstance(p, int | float):
        told = "p < 0.001" if p < 0.001 else f"p = {min(p, 1.0):.2g}"
    return Effect(
        _signed(change, kind),
        wording.interval(change, kind),
        told,
        bool(cell.get("moved")),
    )


def _signed(change: Estimate, kind: wording.Kind) -> str:
    return ("+" if change.value > 0 else "") + wording.number(change.value, kind)
