"""``prompting``: a fairness instruction before the prompt, or in a chat's system turn. It has no dial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..interventions import Provenance, refuse_steered
from ..models import LoadedModel
from ..tasks import Task, fingerprint
from ..versions import versions
from .evaluation import in_evaluation
from .ground import some_of_each
from .mitigation import Prompting, rewritten
from .progress import Progress, Report
from .settings import AUTO, parse_settings, require
from .validation import Answered, answered

INSTRUCTIONS = (
    "Do not rely on stereotypes. People of any gender can have any occupation.",
    "Treat all people as equals: never assume somebody's gender, age or background from their occupation.",
    "You are a fair and impartial assistant. Where nothing in the text tells, every answer is equally likely.",
    "The following text was written by an author who takes great care to avoid gender stereotypes.",
)
"""Our own; ``auto`` takes the one with the least bias on validation data."""


@dataclass(frozen=True)
class PromptingSettings:
    """Settings of :func:`fit`.

    Attributes:
        instruction: the text, or ``auto`` to choose one of :data:`INSTRUCTIONS`.
        items: ambiguous validation items on which they are compared, and half as many unambiguous ones.
        accuracy_drop: how much unambiguous accuracy the choice may cost.
    """

    instruction: str = AUTO
    items: int = 96
    accuracy_drop: float = 0.01

    def __post_init__(self) -> None:
        require("prompting", self, {"items": 2, "accuracy_drop": 0.0})
        Prompting(self.instruction)

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> PromptingSettings:
        """Settings from texts; raises InputError for an unknown key or a value that doesn't fit."""
        return parse_settings(cls, "prompting", given, texts=("instruction",))


def fit(
    loaded: LoadedModel,
    task: Task,
    *,
    seed: int = 0,
    settings: PromptingSettings | None = None,
    text: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    progress: Report | None = None,
) -> Prompting:
    """The instruction with the lowest per-occupation bias on validation items, among those that keep accuracy.

    Nothing of the model changes, and no KL is held while choosing; ``audit`` and ``compare`` measure the divergence of
    plain text that has the instruction before it, as prompts have.

    Args:
        settings: see :class:`PromptingSettings`.
        text, checkpoint: not used.
        progress: called with a :class:`Progress`.

    Raises InputError for a model that is steered.
    """
    settings = settings or PromptingSettings()
    refuse_steered(loaded)
    split = task.split(seed)
    sizes = {"ambiguous": settings.items, "unambiguous": settings.items // 2}
    items = some_of_each(split.validation, sizes, seed)
    offered = INSTRUCTIONS if settings.instruction == AUTO else (settings.instruction,)
    report = progress or (lambda _: None)
    figures: list[Answered] = []
    with in_evaluation(loaded.model):
        report(Progress(0, len(offered) + 1, "measuring the unsteered model"))
        base = answered(loaded, items, task.outcomes, task.target)
        for number, instruction in enumerate(offered, 1):
            report(Progress(number, len(offered) + 1, f"trying “{instruction}”"))
            asked = rewritten(Prompting(instruction), items, 1.0)
            figures.append(answered(loaded, asked, task.outcomes, task.target))
    kept = [found.accuracy >= base.accuracy - settings.accuracy_drop for found in figures]
    best = min(range(len(offered)), key=lambda i: (not kept[i], figures[i].bias))
    config: dict[str, Any] = {
        "settings": asdict(settings),
        "task": task.name,
        "chosen": {"instruction": offered[best]},
        "validation": {"base": asdict(base), "fitted": asdict(figures[best])},
        "within_budget": kept[best],
        "better_than_base": figures[best].bias < base.bias,
        "candidates_tried": len(offered),
    }
    origin = Provenance(
        method="prompting",
        config=config,
        model=loaded.fingerprint,
        data=fingerprint([*split.train, *split.validation]),
        versions=versions(),
        seed=seed,
    )
    return Prompting(offered[best], origin)
