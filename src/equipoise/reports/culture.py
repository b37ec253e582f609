"""results.json of ``equipoise culture``, its page and its table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from ..files import json_text, write_atomic
from ..metrics import Estimate
from . import wording
from .estimates import write_estimate
from .flat import flat
from .rendering import template
from .terminal import plain_table

SCHEMA = 1


@dataclass(frozen=True)
class CultureRow:
    """One dimension.

    Attributes:
        dimension: its name.
        alpha: Krippendorff's α of the label sets (Jaccard distance) over all annotators; None where nothing varies.
        alphas: the same within each community.
        split: share of the subjects about which communities' annotators differ in any label.
        agreement: how well the model agrees with each community, [0, 1]; empty without a model, None where a community
            annotated nothing.
        no_label: what always answering No would get, for each community.
    """

    dimension: str
    alpha: float | None
    alphas: Mapping[str, float | None]
    split: float
    agreement: Mapping[str, Estimate | None] = field(default_factory=dict)
    no_label: Mapping[str, float] = field(default_factory=dict)

    @property
    def worst(self) -> str | None:
        """The community that the model agrees with least."""
        known = {name: one.value for name, one in self.agreement.items() if one is not None}
        return min(known, key=lambda name: known[name]) if known else None

    @property
    def gap(self) -> float | None:
        """The best community's agreement minus the worst's; None for fewer than two."""
        known = [one.value for one in self.agreement.values() if one is not None]
        return max(known) - min(known) if len(known) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """The entry in ``dimensions``."""
        return {
            "dimension": self.dimension,
            "alpha": self.alpha,
            "alpha_within": dict(self.alphas),
            "split": self.split,
            "agreement": {name: write_estimate(one) for name, one in self.agreement.items()},
            "always_no": dict(self.no_label),
            "worst": self.worst,
            "gap": self.gap,
        }


@dataclass(frozen=True)
class CultureResults:
    """A whole file; ``model`` is None where only annotations were looked at."""

    model: Mapping[str, Any] | None
    sources: Sequence[str]
    notes: Sequence[str]
    communities: Sequence[str]
    rows: tuple[CultureRow, ...]
    subjects: int
    records: int
    questions: Mapping[str, int] = field(default_factory=dict)
    level: float = 0.95
    equipoise: str = ""
    command: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def row(self, dimension: str) -> CultureRow:
        """The entry of one dimension."""
        return next(one for one in self.rows if one.dimension == dimension)

    def to_dict(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "schema": SCHEMA,
            "kind": "culture",
            "equipoise": self.equipoise,
            "model": None if self.model is None else dict(self.model),
            "annotations": list(self.sources),
            "notes": list(self.notes),
            "communities": list(self.communities),
            "subjects": self.subjects,
            "records": self.records,
            "questions": dict(self.questions),
            "level": self.level,
            **self.extra,
            "dimensions": [one.to_dict() for one in self.rows],
            **({} if self.command is None else {"command": self.command}),
        }

    def write(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the file whole or not at all; an existing one is replaced only with ``force``."""
        return write_atomic(path, json_text(self.to_dict()), force=force)


def render_culture(results: CultureResults) -> str:
    """The page, as HTML text."""
    return template("culture.html").render(
        results=results,
        made_by=results.equipoise,
        headline=headline(results),
        level=f"{100 * results.level:g}",
        rows=[_row(results, one) for one in results.rows],
        facts=[("equipoise", results.equipoise)]
        + [(f"model {k}", v) for k, v in flat(results.model or {})]
        + [("annotations", ", ".join(results.sources))]
        + [(k, v) for key, value in results.extra.items() for k, v in flat({key: value})],
    )


def headline(results: CultureResults) -> str:
    """The widest gap between communities, or what annotators agree on least."""
    gaps = [(one.gap, one) for one in results.rows if one.gap is not None]
    if gaps:
        gap, row = max(gaps, key=lambda entry: entry[0])
        size = wording.points(gap)
        return f"The widest gap is {size} points, in {row.dimension}: least agreement with “{row.worst}”."
    known = [(one.alpha, one.dimension) for one in results.rows if one.alpha is not None]
    if not known:
        return "Nothing in these annotations varies."
    alpha, dimension = min(known)
    return f"Annotators agree least on {dimension}: α = {alpha:.2f}."


def culture_table(results: CultureResults) -> Group:
    """One row a dimension; print it with a rich ``Console``."""
    asked = results.model is not None
    name = (
        ", ".join(results.sources)
        if results.model is None
        else f"{results.model['name']}, {', '.join(results.sources)}"
    )
    agreement = "Agreement with each community in %, beside it what always answering No would get. "
    table = plain_table(
        f"culture: {name}",
        (agreement if asked else "") + "α: Krippendorff's, over label sets, all annotators.",
    )
    table.add_column("dimension", no_wrap=True)
    for head in (
        "α",
        "split, %",
        *(results.communities if asked else ()),
        *(("gap", "worst") if asked else ()),
    ):
        table.add_column(head, justify="right")
    for one in results.rows:
        cells = ["–" if one.alpha is None else f"{one.alpha:.2f}", f"{100 * one.split:.0f}"]
        if asked:
            cells += [_short(one, community) for community in results.communities]
            cells += ["–" if one.gap is None else f"{100 * one.gap:.0f}", one.worst or "–"]
        table.add_row(one.dimension, *cells)
    return Group(table, *(Text(note, style="dim") for note in dict.fromkeys(results.notes) if note))


def _short(row: CultureRow, community: str) -> str:
    estimate = row.agreement.get(community)
    return "–" if estimate is None else f"{100 * estimate.value:.0f} ({100 * row.no_label[community]:.0f})"


def _row(results: CultureResults, row: CultureRow) -> dict[str, Any]:
    def alpha(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    cells = []
    for community in results.communities:
        estimate = row.agreement.get(community)
        cells.append(
            None
            if estimate is None
            else (
                wording.number(estimate.value, "percent"),
                wording.interval(estimate, "percent") if wording.has_interval(estimate) else "no interval",
                wording.number(row.no_label[community], "percent"),
            )
        )
    return {
        "dimension": row.dimension,
        "alpha": alpha(row.alpha),
        "alphas": [alpha(row.alphas.get(community)) for community in results.communities],
        "split": f"{100 * row.split:.0f}",
        "cells": cells,
        "worst": row.worst or "–",
        "gap": "–" if row.gap is None else f"{100 * row.gap:.1f}",
        "questions": results.questions.get(row.dimension, 0),
    }
