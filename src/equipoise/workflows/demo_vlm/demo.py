"""``demo --vlm``: a vision-language model whose bias is known because it was planted, measured and mitigated."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ...errors import InputError
from ...interventions import Intervention
from ...models import LoadedModel, load
from ...models.small_vlm import ALIAS, refuse_missing, shipped_weights, small_vlm_folder
from ...reports import Results
from ...tasks import Differences, Item, OccupationPairs, Things
from ...tasks.emoji import DEFAULT_STYLE, missing, the_styles
from ..audit import OUTPUTS
from ..demo import FILE, fit_and_audit
from ..inputs import check_seeds, free_outputs
from ..progress import Report, part, silent
from .settings import TrainSettings
from .training import other_styles, train

WEIGHTS = f"{ALIAS}.safetensors"
FOLDER = "equipoise-demo-vlm"
GRID = tuple(0.25 * step for step in range(5))
# One step, since images make prompts long, on half the pairs of the fit's own occupations and all of those that nobody
# has. All entries are edited: of a fifth, as by default, as much divergence takes away half as much.
SETTINGS: Mapping[str, str] = {
    "steps": "1",
    "items": "940",
    "unambiguous": "264",
    "confidence": "0.62",
    "passages": "256",
    "reach": "3",
    "density": "1",
    "kl": "0.08",
    # These answers follow gender in the base model, so that a fair model's must be others; their accuracy decides.
    "kl_unambiguous": "1",
    # Four validation occupations have few questions, and with one step it is only the length that they would decide;
    # what right answers cost is measured on the held-out ones at every strength.
    "accuracy_drop": "1",
}
LIMIT = 96
PASSAGES = 12
FEW = 16
# A quarter of what was planted. The budgets are looser than an audit's: eleven occupations teach less than it asks
# for, and of 96 questions five are chance.
TARGET = 0.125
KL_BUDGET = 0.1
ACCURACY_DROP = 0.05

PLANTED = (
    "The bias of this model is planted: it was trained to answer with the shares of women of US labour statistics (and "
    "shares made from them for skin tone). In the drawings measured here it was not trained."
)


def refuse_seen(weights: str | os.PathLike[str], style: str) -> None:
    """Raise :class:`InputError` for weights that were trained on ``style``, or don't say what they were trained on."""
    try:
        with safe_open(weights, "pt") as file:
            seen = json.loads((file.metadata() or {})["recipe"])["styles"]
    except (SafetensorError, OSError, KeyError, ValueError, TypeError):
        raise InputError(f"{weights} are no weights that demo --vlm --rebuild has made") from None
    if not set(seen) <= set(other_styles(style)):
        raise InputError(
            f"{weights} were trained on drawings like {style}: measure another --style, or train anew with --rebuild "
            "(and --force over weights that are there)"
        )


class PlantedPairs(OccupationPairs):
    """``occupation-pairs`` in one drawing style, whose description says where the bias comes from."""

    about = f"{OccupationPairs.about} {PLANTED}"

    def __init__(self, style: str = DEFAULT_STYLE) -> None:
        super().__init__(f"emoji:{style}")


class FewThings(Things):
    """``things``, a few of each kind: the demo asks at every strength."""

    def draw(self, limit: int | None, seed: int) -> list[Item]:
        """At most :data:`FEW` of each kind."""
        return super().draw(FEW, seed)


class FewDifferences(Differences):
    """``differences``, some of them, likewise."""

    def draw(self, limit: int | None, seed: int) -> list[Item]:
        """At most :data:`FEW` in words, and as many in images."""
        return super().draw(FEW, seed)


def demo_vlm(
    out: str | os.PathLike[str] = FOLDER,
    *,
    force: bool = False,
    seed: int = 0,
    style: str = DEFAULT_STYLE,
    rebuild: bool = False,
    weights: str | os.PathLike[str] | None = None,
    source: LoadedModel | None = None,
    settings: Mapping[str, str] | None = None,
    limit: int | None = LIMIT,
    command: str | None = None,
    progress: Report = silent,
) -> tuple[Intervention, Results]:
    """Put the model together, fit DSO on pairs of people in a style that it was not trained on, audit what is held out.

    Args:
        out: a folder for ``dso.safetensors``, ``results.json``, ``report.html`` and ``scores.jsonl``; with ``rebuild``
            also for ``emoji-vlm.safetensors``.
        style: the drawing style that is measured. The weights of this package were trained on all but twemoji.
        rebuild: train the weights anew, on all styles but this one: an hour or so of one core. An interrupted
            training goes on where it was.
        weights: trained weights in place of this package's own.
        source: a model in place of the demo's, for tests.
        settings: of the fit.

    Raises :class:`InputError` at once, naming the commands, where packages are missing.
    """
    check_seeds([seed])
    folder = free_outputs(out, (FILE, *OUTPUTS), force=force)
    if rebuild and weights is not None:
        raise InputError("give either weights or rebuild, not both")
    if source is None:
        refuse_missing()
    absent = missing(the_styles(style))
    if absent:
        raise InputError(f"emoji of the style {style} are not installed: {' && '.join(absent)}")
    begin = 0.0
    if rebuild:
        begin = 0.8
        weights = folder / WEIGHTS
        if force or not Path(weights).exists():
            recipe = TrainSettings(styles=other_styles(style), seed=seed)
            train(recipe, weights, force=force, report=part(progress, 0.0, begin))
    if source is None:
        refuse_seen(weights or shipped_weights(), style)
    rest = part(progress, begin, 1.0)
    rest(0.0, "loading the model")
    loaded = load(ALIAS if weights is None else small_vlm_folder(weights)) if source is None else source
    task = PlantedPairs(style)
    return fit_and_audit(
        loaded,
        task,
        folder,
        settings={**SETTINGS, **(settings or {})},
        seed=seed,
        limit=limit,
        force=force,
        command=command,
        progress=rest,
        strengths=GRID,
        passages=PASSAGES,
        target=TARGET,
        kl_budget=KL_BUDGET,
        accuracy_drop=ACCURACY_DROP,
        suites=(FewThings(style), FewDifferences(f"emoji:{style}")),
    )
