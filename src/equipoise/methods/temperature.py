"""``temperature``: temperature scaling of answers (arXiv 1706.04599): another confidence, the same outcome."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..interventions import Provenance, refuse_steered
from ..models import LoadedModel
from ..scoring import OptionScores, score_options
from ..tasks import Item, Prompt, Task, fingerprint
from ..versions import versions
from .evaluation import in_evaluation
from .ground import some_of_each
from .progress import Progress, Report
from .settings import AUTO, parse_settings, require, require_auto
from .validation import judged

GRID = tuple(round(0.1 * step, 1) for step in range(1, 21))
"""The temperatures that ``auto`` tries, RES-FAIR's 0.1 to 2.0."""


@dataclass(frozen=True)
class Temperature:
    """P(outcome | an answer) becomes proportional to its power 1/t; how probable any answer is stays as it is.

    It acts on what options mean together: the likeliest outcome stays the likeliest, and options that share one keep
    their proportions. So the most probable single option may become another where several mean the same; where each
    outcome has one option, the answer stays. At strength λ the temperature is t^λ, so that 0 is the base model. Free
    text is as it was.

    Raises :class:`equipoise.InputError` for a temperature that isn't above 0.
    """

    temperature: float
    provenance: Provenance = field(default_factory=lambda: Provenance("temperature"), compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise InputError(f"the temperature is {self.temperature:g}, but must be above 0")

    @property
    def method(self) -> str:
        """``temperature``."""
        return "temperature"

    @property
    def size(self) -> int:
        """1."""
        return 1

    @property
    def dial(self) -> bool:
        """True."""
        return True

    @property
    def digest(self) -> str:
        """Empty: neither the model nor its prompts change."""
        return ""

    @property
    def adjusts(self) -> bool:
        """True."""
        return True

    def check(self, loaded: LoadedModel) -> None:
        """Any model will do."""

    @contextmanager
    def attach(self, loaded: LoadedModel, strength: float) -> Iterator[None]:
        """Nothing of the model changes."""
        yield

    def rewrite(self, prompt: Prompt, strength: float) -> Prompt:
        """The prompt as it is."""
        return prompt

    def adjust(self, scores: OptionScores, items: Sequence[Item], strength: float) -> OptionScores:
        """The scores at the temperature t^λ."""
        if strength == 0 or self.temperature == 1:
            return scores
        logp = scores.logp.copy()
        for row, item in enumerate(items):
            logp[row, : len(item.outcomes)] = tempered(
                logp[row, : len(item.outcomes)], item.outcomes, self.temperature**strength
            )
        return OptionScores(logp, scores.begins)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write a safetensors file without tensors: the number and its origin are in the header."""
        from .files import save_temperature

        return save_temperature(self, path, force=force)


def tempered(logp: np.ndarray, outcomes: Sequence[str], temperature: float) -> np.ndarray:
    """Log-probabilities [K] of options whose outcomes' shares are raised to 1/t and normalised to the same sum."""
    places = {name: [k for k, one in enumerate(outcomes) if one == name] for name in dict.fromkeys(outcomes)}
    whole = np.logaddexp.reduce(logp)
    if not np.isfinite(whole):
        return logp
    masses = np.array([np.logaddexp.reduce(logp[rows]) for rows in places.values()])
    powers = masses / temperature
    wanted = powers - np.logaddexp.reduce(powers) + whole
    found = logp.copy()
    for rows, before, after in zip(places.values(), masses, wanted, strict=True):
        if np.isfinite(before):
            found[rows] += after - before
    return found


@dataclass(frozen=True)
class TemperatureSettings:
    """Settings of :func:`fit`.

    Attributes:
        temperature: t, or ``auto`` for the one of :data:`GRID` with the least bias on validation items.
        items: ambiguous validation items on which they are compared, and half as many unambiguous ones.
    """

    temperature: float | str = AUTO
    items: int = 96

    def __post_init__(self) -> None:
        require_auto("temperature", self, "temperature")
        require("temperature", self, {"items": 2})

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> TemperatureSettings:
        """Settings from texts; raises InputError for an unknown key or a value that doesn't fit."""
        return parse_settings(cls, "temperature", given)


def fit(
    loaded: LoadedModel,
    task: Task,
    *,
    seed: int = 0,
    settings: TemperatureSettings | None = None,
    text: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    progress: Report | None = None,
) -> Temperature:
    """The temperature with the least per-occupation bias on validation items.

    A higher one makes every answer less sure, and so lowers any bias of probabilities towards equal shares; what is
    answered stays; greedy figures move only where several options of an item mean the same.

    Args:
        settings: see :class:`TemperatureSettings`.
        text, checkpoint: not used: plain text isn't touched.
        progress: called with a :class:`Progress`.

    Raises InputError for a model that is steered.
    """
    settings = settings or TemperatureSettings()
    refuse_steered(loaded)
    split = task.split(seed)
    sizes = {"ambiguous": settings.items, "unambiguous": settings.items // 2}
    items = some_of_each(split.validation, sizes, seed)
    (progress or (lambda _: None))(Progress(0, 1, "measuring the unsteered model"))
    with in_evaluation(loaded.model):
        scores = score_options(loaded, items)
    offered = GRID if isinstance(settings.temperature, str) else (float(settings.temperature),)
    figures = {
        t: judged(Temperature(t).adjust(scores, items, 1.0), items, task.outcomes, task.target)
        for t in offered
    }
    # Of equals the one that changes least.
    best = min(offered, key=lambda t: (figures[t].bias, abs(math.log(t))))
    base = judged(scores, items, task.outcomes, task.target)
    origin = Provenance(
        method="temperature",
        config={
            "settings": asdict(settings),
            "task": task.name,
            "chosen": {"temperature": best},
            "validation": {"base": asdict(base), "fitted": asdict(figures[best])},
            "within_budget": figures[best].accuracy >= base.accuracy,
            "better_than_base": figures[best].bias < base.bias,
            "candidates_tried": len(offered),
        },
        model=loaded.fingerprint,
        data=fingerprint([*split.train, *split.validation]),
        versions=versions(),
        seed=seed,
    )
    return Temperature(best, origin)
