"""Culture: what annotators of several communities see in images, and whose readings a model's answers match."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import InputError
from ..files import write_atomic
from ..metrics import Estimate, jaccard, krippendorff_alpha
from ..models import LoadedModel, describe, load
from ..reports import CultureResults, CultureRow, render_culture
from ..scoring import by_outcome, score_options
from ..tasks import DIMENSIONS, Annotations, Item, fingerprint, load_annotations
from ..versions import equipoise_version, versions
from .estimates import mean_of_shares
from .inputs import check_level, free_outputs
from .progress import Report, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OUTPUTS = ("results.json", "report.html")


def culture(
    annotations: str | Annotations | Sequence[str | Annotations],
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel | None = None,
    *,
    level: float = 0.95,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    command: str | None = None,
    progress: Report = silent,
) -> CultureResults:
    """Agreement among annotators by dimension, and with a model given, its agreement with each community.

    A model is asked about every label of every subject whether it holds, yes or no; where it takes images it is shown
    the subject's, otherwise its description stands in the question. Its agreement on a label with a community of whose
    annotators a share s gave it is p s + (1 − p) (1 − s), p = P(Yes | Yes or No): the probability of answering as one
    of them does.

    Args:
        annotations: files, names of built-in examples, or values; communities of one name are one.
        source: a model, see :func:`equipoise.models.load`; None looks at the annotations alone.
        level: coverage of the intervals, over subjects; there is none with fewer than five.
        out: a folder for ``results.json`` and ``report.html``; ``force`` overwrites them.
        progress: called with the share done and a message.

    Raises :class:`InputError` for a file that isn't right, naming the place.
    """
    folder = None if out is None else free_outputs(out, OUTPUTS, force=force)
    check_level(level)
    given = [annotations] if isinstance(annotations, str | Annotations) else list(annotations)
    if not given:
        raise InputError("there are no annotations: give at least one file")
    files = [load_annotations(one) if isinstance(one, str) else one for one in given]
    names = [one.name for one in files]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two files of annotations are called {name!r}: give each its own name")
    communities = list(dict.fromkeys(name for one in files for name in one.communities))
    items: list[Item] = []
    said = np.zeros(0)
    described = None
    if source is not None:
        progress(0.0, "loading the model")
        loaded = load(source, dtype=dtype, device=device)
        items = [item for one in files for item in one.items(images=loaded.processor is not None)]
        progress(0.2, f"asking {len(items)} questions")
        table = by_outcome(score_options(loaded, items).probabilities, items, ("yes", "no"))
        said = table[:, 0] / np.maximum(table.sum(1), np.finfo(float).tiny)
        described = describe(loaded).as_dict()
    rows = [_row(name, files, communities, items, said, level) for name in (one.name for one in DIMENSIONS)]
    asked = [str(item.metadata["dimension"]) for item in items]
    results = CultureResults(
        model=described,
        sources=[one if isinstance(one, str) else one.name for one in given],
        notes=[one.note for one in files],
        communities=communities,
        rows=tuple(row for row in rows if row is not None),
        subjects=sum(len(one.subjects) for one in files),
        records=sum(len(one.records) for one in files),
        questions={name: asked.count(name) for name in dict.fromkeys(asked)},
        level=level,
        equipoise=equipoise_version(),
        command=command,
        extra={"versions": versions(), **({"data": f"sha256:{fingerprint(items)}"} if items else {})},
    )
    if folder is not None:
        page = render_culture(results)
        results.write(folder / OUTPUTS[0], force=force)
        write_atomic(folder / OUTPUTS[1], page, force=force)
    progress(1.0, "done")
    return results


def _row(
    dimension: str,
    files: Sequence[Annotations],
    communities: Sequence[str],
    items: Sequence[Item],
    said: np.ndarray,
    level: float,
) -> CultureRow | None:
    """One dimension; None if nobody annotated it."""
    units = [unit for one in files for unit in one.values(dimension)]
    if not any(units):
        return None
    within = {
        name: krippendorff_alpha([u for one in files for u in one.values(dimension, name)], jaccard)
        for name in communities
    }
    agreement: dict[str, Estimate | None] = {}
    silent_no: dict[str, float] = {}
    for community in communities if len(items) else ():
        values, no, groups = [], [], []
        for item, p in zip(items, said, strict=True):
            share = _share(files, item, dimension, community)
            if share is not None:
                values.append(p * share + (1 - p) * (1 - share))
                no.append(1 - share)
                groups.append(item.groups[0])
        agreement[community] = mean_of_shares(values, groups, level) if values else None
        if values:
            silent_no[community] = float(np.mean(no))
    return CultureRow(
        dimension, krippendorff_alpha(units, jaccard), within, _split(files, dimension), agreement, silent_no
    )


def _share(files: Sequence[Annotations], item: Item, dimension: str, community: str) -> float | None:
    if item.metadata["dimension"] != dimension:
        return None
    (home,) = (one for one in files if item.groups[0] == f"{one.name}/{item.metadata['subject']}")
    return home.share(str(item.metadata["subject"]), dimension, str(item.metadata["label"]), community)


def _split(files: Sequence[Annotations], dimension: str) -> float:
    """The share of annotated subjects that communities see differently: some label has other shares."""
    found = []
    for one in files:
        for subject in one.subjects:
            by_label = [
                {s for c in one.communities if (s := one.share(subject, dimension, label, c)) is not None}
                for label in one.labels.get(dimension, ())
            ]
            if any(by_label):
                found.append(any(len(shares) > 1 for shares in by_label))
    return float(np.mean(found)) if found else 0.0
