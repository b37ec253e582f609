"""Probe: at which layer a model's activations tell biased from neutral statements; detectors and steering vectors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch

from ..analysis import (
    Detector,
    ProbeSettings,
    Reading,
    activations,
)
from ..errors import InputError
from ..files import write_atomic
from ..interventions import Intervention, refuse_steered
from ..methods.settings import parse_settings
from ..models import LoadedModel, SiteKind, describe, load
from ..reports import CategoryProbes, ProbeResults, render_probes
from ..scoring import refuse_unreadable, text_ids
from ..tasks import (
    Statement,
    categories_of,
    check_statements,
    load_statements,
    statements_fingerprint,
)
from ..versions import equipoise_version, versions
from .inputs import check_level, check_seeds, free_outputs
from .probing import HELD_OUT, Probing
from .progress import Report, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KINDS: tuple[SiteKind, ...] = ("out", "heads")
OUTPUTS = ("probes.json", "report.html")


@dataclass(frozen=True, eq=False)
class Probed:
    """What :func:`probe` returns: the results, and a detector and a steering vector for each category."""

    results: ProbeResults
    detectors: Mapping[str, Detector]
    interventions: Mapping[str, Intervention]


def probe(
    source: str | os.PathLike[str] | PreTrainedModel | LoadedModel,
    statements: str | os.PathLike[str] | Sequence[Statement] = "builtin",
    *,
    categories: Sequence[str] = (),
    kinds: Sequence[SiteKind] = KINDS,
    reading: Reading = "last",
    settings: ProbeSettings | Mapping[str, str] | None = None,
    steering: float = 0.1,
    threshold: float = 0.5,
    seed: int = 0,
    level: float = 0.95,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    command: str | None = None,
    progress: Report = silent,
) -> Probed:
    """Probe every block for each category of bias, and keep the best detector and a steering vector of each.

    A quarter of each category's groups is held out before anything is fitted. On the others every site is
    cross-validated; the most accurate gives the detector, trained on all of them, and the most accurate residual site
    the steering vector v = mean(neutral) − mean(biased). The held-out groups say how good the detector is.

    Args:
        source: see :func:`equipoise.models.load`.
        statements: as :func:`equipoise.tasks.load_statements` takes them, or statements.
        categories: which of them; all by default.
        kinds: kinds of sites: ``out``, the residual stream after each block, must be among them; ``heads``, and others.
        reading: ``last`` token, or the ``mean`` over all but the first.
        settings: of the probes, or texts by name as ``--set`` takes them.
        steering: the steering vector's length at λ = 1, in units of the residual stream's median norm.
        threshold: P(biased) above which a detector fires.
        seed: decides what is held out, the folds and the shuffled labels.
        level: coverage of the intervals.
        out: a folder for probes.json, report.html, and detector-CATEGORY.safetensors and steering-CATEGORY.safetensors
            of each category; None writes nothing.
        force: overwrite them.
        dtype, device: how to load the model.
        command: what made these results, for the report.
        progress: called with the fraction done and a message.

    Raises :class:`InputError`, before the model is loaded where possible and with nothing written, for bad input.
    """
    check_seeds([seed])
    chosen_settings = (
        settings
        if isinstance(settings, ProbeSettings)
        else parse_settings(ProbeSettings, "probe", settings or {})
    )
    name, found = _the_statements(statements)
    wanted = _chosen(found, categories)
    folder = None if out is None else free_outputs(out, _outputs(wanted), force=force)
    _check(kinds, reading, threshold, steering, level)
    progress(0.0, "loading the model")
    loaded = load(source, dtype=dtype, device=device)
    refuse_steered(loaded)
    used = [one for one in found if one.category in wanted]
    rows = [text_ids(loaded.tokenizer, one.text) for one in used]
    refuse_unreadable(loaded, rows, what="statement")
    progress(0.02, f"reading {len(used)} statements")
    sites = [site for kind in kinds for site in loaded.anatomy.sites(kind)]
    states = activations(loaded, rows, sites, reading=reading)
    part = Probing(loaded, states, chosen_settings, reading, threshold, steering, seed, level)
    probed: list[tuple[CategoryProbes, Detector, Intervention]] = []
    for number, category in enumerate(wanted):
        progress(0.3 + 0.7 * number / len(wanted), f"probing {category}")
        place = [index for index, one in enumerate(used) if one.category == category]
        probed.append(part.category(category, [used[i] for i in place], [rows[i] for i in place], place))
    results = ProbeResults(
        model=describe(loaded).as_dict(),
        statements=name,
        seed=seed,
        categories=tuple(
            replace(
                entry,
                detector=None if folder is None else _file("detector", entry.category),
                steering=None if folder is None else _file("steering", entry.category),
            )
            for entry, _, _ in probed
        ),
        level=level,
        equipoise=equipoise_version(),
        command=command,
        extra={
            "data": f"sha256:{statements_fingerprint(used)}",
            "settings": {
                **vars(chosen_settings),
                "reading": reading,
                "held_out": HELD_OUT,
                "threshold": threshold,
            },
            "versions": versions(),
        },
    )
    whole = Probed(
        results,
        {entry.category: detector for entry, detector, _ in probed},
        {entry.category: vector for entry, _, vector in probed},
    )
    if folder is not None:
        _write(whole, folder, force=force)
    progress(1.0, "done")
    return whole


def _the_statements(
    given: str | os.PathLike[str] | Sequence[Statement],
) -> tuple[str, tuple[Statement, ...]]:
    if isinstance(given, (str, os.PathLike)):
        return os.fspath(given), load_statements(given)
    return "given", check_statements(given)


def _chosen(found: Iterable[Statement], categories: Sequence[str]) -> tuple[str, ...]:
    there = categories_of(found)
    for name in categories:
        if name not in there:
            raise InputError(
                f"there is no category {name!r} in these statements: choose from {', '.join(there)}"
            )
    return tuple(dict.fromkeys(categories)) or there


def _outputs(categories: Iterable[str]) -> list[str]:
    names = [_file(kind, category) for category in categories for kind in ("detector", "steering")]
    if len(set(names)) < len(names):
        raise InputError("two categories would give one file name: rename one of them")
    return [*OUTPUTS, *names]


def _file(kind: str, category: str) -> str:
    """A category's file: whatever a name may hold, it stays in the folder."""
    safe = re.sub(r"[^\w-]+", "-", category)
    return f"{kind}-{safe}.safetensors"


def _check(kinds: Sequence[str], reading: str, threshold: float, steering: float, level: float) -> None:
    if "out" not in kinds:
        raise InputError(f"sites {', '.join(kinds) or 'none'}: 'out' must be among them, steering acts there")
    if reading not in get_args(Reading):
        raise InputError(f"reading {reading!r}: use {' or '.join(get_args(Reading))}")
    if not 0 < threshold < 1:
        raise InputError(f"the threshold is {threshold:g}, but must be between 0 and 1")
    if not 0 < steering < float("inf"):
        raise InputError(f"the steering vector's length is {steering:g}, but must be above 0")
    check_level(level)


def _write(probed: Probed, folder: Path, *, force: bool) -> None:
    """Everything into ``folder``; the page is rendered first, so that a failure leaves nothing behind."""
    page = render_probes(probed.results)
    for category, detector in probed.detectors.items():
        detector.save(folder / _file("detector", category), force=force)
        probed.interventions[category].save(folder / _file("steering", category), force=force)
    probed.results.write(folder / OUTPUTS[0], force=force)
    write_atomic(folder / OUTPUTS[1], page, force=force)
