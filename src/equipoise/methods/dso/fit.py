"""``dso``: Direct Steering Optimization (arXiv 2512.15926): a learned scale and shift at every norm output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ...errors import InputError
from ...interventions import Intervention, Provenance, refuse_steered
from ...models import LoadedModel
from ...tasks import Task, fingerprint, plain_text
from ...versions import versions
from ..progress import Report
from .checkpoint import Checkpoint, checkpoint_key
from .exact import ExactFit
from .settings import DsoSettings
from .working_copy import working_copy


def fit(
    loaded: LoadedModel,
    task: Task,
    *,
    seed: int = 0,
    settings: DsoSettings | None = None,
    text: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    progress: Report | None = None,
) -> Intervention:
    """Find y' = y + λ (a ⊙ y + b) at every norm of every block that takes the task's bias away (DSO, section 3).

    Training and validation items come from ``task.split(seed)``; the held-out part is not touched. Two fits with one
    seed on one machine are identical.

    Args:
        settings: see :class:`DsoSettings`.
        text: plain passages for the KL budget; by default the fitting half of our own text.
        checkpoint: a file for the state after each step: an interrupted fit resumes from it to the same result.
            It is removed when the fit is done.
        progress: called with a :class:`Progress` after each step.

    Raises InputError if the task lacks ambiguous items or the model can't be steered, or is steered already.
    """
    refuse_steered(loaded)
    settings = settings or DsoSettings()
    split = task.split(seed)
    for name, items in (("training", split.train), ("validation", split.validation)):
        if not any(item.part == "ambiguous" for item in items):
            raise InputError(
                f"task {task.name!r}: there is no ambiguous {name} item, and only these show a bias"
            )
    unequal = task.target is not None or any(item.target is not None for item in split.train)
    if settings.objective == "paper" and unequal:
        raise InputError(
            f"task {task.name!r} wants other shares than equal ones, and the objective paper is for equal ones: "
            "leave out --set objective=paper"
        )
    passages = plain_text("fit") if text is None else text
    data = fingerprint([*split.train, *split.validation])
    with working_copy(loaded, settings.precision) as working:
        trainer = ExactFit(
            working, split.train, split.validation, task.outcomes, passages, settings, seed, task.target
        )
        saved = None
        if checkpoint is not None:
            saved = Checkpoint(checkpoint, checkpoint_key(settings, data, loaded, seed, passages))
        vector, figures, base = trainer.run(saved, progress)
        edits = trainer.parameters.edits(vector)
    config: Mapping[str, object] = {
        **asdict(settings),
        "task": task.name,
        "validation": {"base": asdict(base), "fitted": asdict(figures)},
    }
    found = Intervention(
        edits,
        "all",
        Provenance(
            method="dso", config=config, model=loaded.fingerprint, data=data, versions=versions(), seed=seed
        ),
    )
    if saved is not None:
        saved.remove()
    return found
