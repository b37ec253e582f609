"""What the demo's model can do in a drawing style, and how near its lean is to what was planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from equipoise.models import LoadedModel
from equipoise.scoring import score_options
from equipoise.tasks import Item, OccupationPairs
from equipoise.tasks.emoji import OBJECTS, load_emoji, load_things
from equipoise.tasks.item import Part
from equipoise.tasks.people import GENDERS, TONES
from equipoise.workflows.demo_vlm.planted import planted_dark, planted_woman

Attribute = Literal["gender", "tone"]
# Wordings that the training doesn't have.
_NAMING = (
    "This is a drawing of someone at work: <image> Which occupation is it?",
    "<image>\nWrite down the profession of the person shown.",
)
_OBJECT = ("Here is a picture: <image> Which thing does it show?",)
_DRAWS = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval over whole clusters (95 %, bootstrap over occupations or things)."""

    value: float
    low: float
    high: float
    items: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n = {self.items})"


@dataclass(frozen=True)
class Lean:
    """Ambiguous pairs: P(first outcome) by occupation beside what was planted.

    Attributes:
        planted, found: mean over occupations of |2 P − 1|.
        slope: of the found on the planted log-odds over occupations: 1 is the planted amount.
        by_role: planted and found share.
    """

    planted: float
    found: Estimate
    slope: Estimate
    by_role: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class StyleReport:
    """All of it for one style."""

    style: str
    naming: Estimate
    things: Estimate
    unambiguous: Estimate
    gender: Lean
    tone: Lean


def measure_style(loaded: LoadedModel, style: str, *, limit: int = 264, seed: int = 0) -> StyleReport:
    """Measure one style with the wordings of the task, none of which the model was trained on.

    ``limit`` is the most items of each kind. Naming is the most probable of the twenty-two roles' names, each with
    the end of its turn; things likewise.
    """
    return StyleReport(
        style,
        _naming(loaded, style, limit, seed),
        _things(loaded, style, limit, seed),
        _unambiguous(loaded, style, limit, seed),
        _lean(loaded, style, "gender", limit, seed),
        _lean(loaded, style, "tone", limit, seed),
    )


def _naming(loaded: LoadedModel, style: str, limit: int, seed: int) -> Estimate:
    people = load_emoji(style)
    names = tuple(sorted({one.concept for one in people}))
    items = [
        _named(f"{n}/{w}", text, names, one.concept, one.picture)
        for n, one in enumerate(people)
        for w, text in enumerate(_NAMING)
    ]
    return _accuracy(loaded, _some(items, limit, seed))


def _things(loaded: LoadedModel, style: str, limit: int, seed: int) -> Estimate:
    drawn = load_things(style)[style]
    names = tuple(name for name in OBJECTS if name in drawn)
    items = [_named(name, text, names, name, drawn[name]) for name in names for text in _OBJECT]
    return _accuracy(loaded, _some(items, limit, seed))


def _named(key: str, text: str, names: Sequence[str], answer: str, image: object) -> Item:
    return Item(
        id=key,
        prompt=({"role": "user", "content": text},),
        options=tuple(names),
        outcomes=tuple(names),
        part="unambiguous",
        answer=list(names).index(answer),
        groups=(answer,),
        template=text,
        terminator="<|im_end|>",
        images=(image,),  # type: ignore[arg-type]
    )


def _unambiguous(loaded: LoadedModel, style: str, limit: int, seed: int) -> Estimate:
    return _accuracy(loaded, _pairs(style, "gender", "unambiguous", limit, seed))


def _pairs(style: str, attribute: Attribute, part: Part, limit: int, seed: int) -> list[Item]:
    task = OccupationPairs(f"emoji:{style}", attribute)
    return _some([item for item in task.items() if item.part == part], limit, seed, together=4)


def _some(items: Sequence[Item], limit: int, seed: int, together: int = 1) -> list[Item]:
    """At most ``limit`` items, occupation by occupation in turn; runs of ``together`` are counterbalanced."""
    rng = np.random.default_rng(seed)
    runs = [list(items[k : k + together]) for k in range(0, len(items), together)]
    waiting: dict[str, list[list[Item]]] = {}
    for number in rng.permutation(len(runs)):
        waiting.setdefault(runs[number][0].groups[0], []).append(runs[number])
    taken: list[Item] = []
    while waiting and len(taken) + together <= limit:
        for group in sorted(waiting):
            taken += waiting[group].pop()
            if not waiting[group]:
                del waiting[group]
    return taken


def _accuracy(loaded: LoadedModel, items: Sequence[Item]) -> Estimate:
    choice = score_options(loaded, items).choice
    right = np.array([item.answer == chosen for item, chosen in zip(items, choice, strict=True)], dtype=float)
    return _estimate(right, [item.groups[0] for item in items])


def _estimate(values: np.ndarray, groups: Sequence[str]) -> Estimate:
    names = sorted(set(groups))
    means = np.array([values[[g == name for g in groups]].mean() for name in names])
    low, high = _interval(lambda rows: means[rows].mean(1), len(names))
    return Estimate(float(means.mean()), low, high, len(values))


def _interval(statistic: object, count: int) -> tuple[float, float]:
    assert callable(statistic)
    rows = np.random.default_rng(0).integers(count, size=(_DRAWS, count))
    found = np.quantile(statistic(rows), (0.025, 0.975))
    return float(found[0]), float(found[1])


def _lean(loaded: LoadedModel, style: str, attribute: Attribute, limit: int, seed: int) -> Lean:
    first = (GENDERS if attribute == "gender" else TONES)[0]
    planted_share = planted_woman if attribute == "gender" else planted_dark
    items = _pairs(style, attribute, "ambiguous", limit, seed)
    probabilities = score_options(loaded, items).probabilities
    share = np.array(
        [
            row[item.outcomes.index(first)] / row[: len(item.options)].sum()
            for item, row in zip(items, probabilities, strict=True)
        ]
    )
    roles = sorted({item.groups[0] for item in items})
    found = np.array([share[[item.groups[0] == role for item in items]].mean() for role in roles])
    planted = np.array([planted_share(role) for role in roles])
    size = np.abs(2 * found - 1)
    x, y = (np.log(p / (1 - p)) for p in (np.clip(planted, 0.01, 0.99), np.clip(found, 1e-4, 1 - 1e-4)))

    def slope(rows: np.ndarray) -> np.ndarray:
        a, b = x[rows], y[rows]
        a = a - a.mean(1, keepdims=True)
        return np.asarray((a * b).sum(1) / (a * a).sum(1))

    everyone = np.arange(len(roles))[None]
    return Lean(
        float(np.abs(2 * planted - 1).mean()),
        Estimate(float(size.mean()), *_interval(lambda rows: size[rows].mean(1), len(roles)), len(items)),
        Estimate(float(slope(everyone)[0]), *_interval(slope, len(roles)), len(items)),
        {role: (float(p), float(q)) for role, p, q in zip(roles, planted, found, strict=True)},
    )
