"""``res_fair``: RES-FAIR (arXiv 2505.23798): away from biased residuals, towards fair ones, in the last blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..analysis import FirstTokens, Streams, lens, read_streams, states_of
from ..errors import InputError
from ..interventions import AffineEdit, Intervention
from ..models import LoadedModel
from ..scoring import EncodedItem, encode_all
from ..tasks import Item, Task
from .batches import balanced
from .contrast import batch_tokens
from .ground import Ground, ground
from .progress import Report
from .selection import Budget, Candidate, Dial
from .settings import parse_settings, require, require_word

Variant = Literal["ablate_amplify", "sum", "literal"]
VARIANTS = get_args(Variant)
Centre = Literal["no", "text"]


@dataclass(frozen=True)
class ResFairSettings:
    """Settings of :func:`fit`.

    Attributes:
        variant: ``ablate_amplify``, v − λ₁ P_b v + λ₂ P_f v; ``sum``, λ₁ (v − P_b v) + λ₂ P_f v; or ``literal``, the
            update as printed, λ₂ P_f λ₁ (v − P_b v), which leaves nothing of v but its part along one vector.
        lambda1, lambda2: how much is taken off the biased, and put on the fair vector; the paper's 0.2 each.
        centre: ``text`` measures vectors and activations from the mean over plain text; ``no`` from zero, as the paper.
        layers: how many of the last blocks are edited; the paper's ten.
        items: at most so many ambiguous training items.
    """

    variant: Variant = "ablate_amplify"
    lambda1: float = 0.2
    lambda2: float = 0.2
    centre: Centre = "no"
    layers: int = 10
    items: int = 256

    def __post_init__(self) -> None:
        require_word("res_fair", self, "variant", VARIANTS)
        require_word("res_fair", self, "centre", get_args(Centre))
        require("res_fair", self, {"lambda1": 0.0, "lambda2": 0.0, "layers": 1, "items": 2})

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> ResFairSettings:
        """Settings from texts; raises InputError for an unknown key or a value that doesn't fit."""
        return parse_settings(cls, "res_fair", given)


@dataclass(frozen=True, eq=False)
class Sides:
    """The vectors of one block, [d], None where no residual has that label; from so many residuals each."""

    fair: Tensor | None
    biased: Tensor | None
    counts: tuple[int, int]

    @property
    def cosine(self) -> float | None:
        """cos(v_fair, v_biased)."""
        if self.fair is None or self.biased is None:
            return None
        return float(torch.cosine_similarity(self.fair.double(), self.biased.double(), dim=0))


def fit(
    loaded: LoadedModel,
    task: Task,
    *,
    seed: int = 0,
    settings: ResFairSettings | None = None,
    text: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    progress: Report | None = None,
) -> Intervention:
    """v' = v + λ (−λ₁ P_b v + λ₂ P_f v) at the output of the last blocks, for every token (or another variant).

    Each block's Δ₁ (its input) and Δ₂ (the stream after its attention), read at the last prompt token, are labelled
    fair or biased by the class of the answer that they give when pushed through the final norm and the head. v_f and
    v_b are the means of a block's fair and biased ones, both Δ together, and P = v vᵀ / (vᵀ v) (eq. 8 to 11).

    Fair is the task's fair class, or an answer against the stereotype (:mod:`equipoise.methods.orientation`). What
    vectors of how many residuals, and how alike the two are, stands in the provenance: means of raw residuals share
    most of what they are, so that the two projections nearly cancel.

    Args:
        settings: see :class:`ResFairSettings`. Nothing is chosen; figures on validation data are recorded.
        text: plain passages for KL and ``centre``; by default the fitting half of our own text.
        checkpoint: not used: the fit is short.
        progress: called with a :class:`Progress`.

    Raises InputError if all residuals of the last blocks have one label, or the model is steered.
    """
    settings = settings or ResFairSettings()
    blocks = [block.index for block in loaded.anatomy.blocks][-settings.layers :]
    with ground("res_fair", loaded, task, seed=seed, text=text, progress=progress) as found:
        chosen = balanced(found.train, settings.items, seed, 0, whole=True)
        asked, turned = ([of[i] for i in chosen] for of in (found.asked, found.train))
        encoded = encode_all(loaded, asked)
        streams = read_streams(loaded, encoded)
        found.tell(0.4, "labelling residuals")
        centres = _centres(found, blocks) if settings.centre == "text" else {}
        labels = fair_labels(loaded, streams, encoded, asked, turned, task.outcomes, blocks)
        sides = {at: _sides(streams, labels[at], at, centres.get(at)) for at in blocks}
        if not any(one.counts[0] for one in sides.values()) or not any(
            one.counts[1] for one in sides.values()
        ):
            lack = "fair" if not any(one.counts[0] for one in sides.values()) else "biased"
            raise InputError(
                f"res_fair: no residual of the last {len(blocks)} blocks gives a {lack} answer to task {task.name!r}, "
                "so there is nothing to tell apart: take more layers, or another task (such as choices-shuffled, where "
                "the order of the options is drawn)"
            )
        edits = {}
        for at, one in sides.items():
            edit = edit_of(one, settings, centres.get(at))
            if edit is not None:
                edits[f"block.{at}.out"] = edit
        unit = found.intervention(edits, "all")
        choice = found.choose(
            [[Candidate({"layers": len(blocks)}, lambda: unit)]],
            Budget(kl=float("inf"), accuracy_drop=1.0),
            Dial("strength", 1.0, guess=1.0),
        )
        record = {
            f"block.{at}.out": {"fair": one.counts[0], "biased": one.counts[1], "cosine": one.cosine}
            for at, one in sides.items()
        }
        return found.finished(choice, settings, residuals=record)


def fair_labels(
    loaded: LoadedModel,
    streams: Streams,
    encoded: Sequence[EncodedItem],
    asked: Sequence[Item],
    turned: Sequence[Item],
    outcomes: Sequence[str],
    blocks: Sequence[int],
) -> dict[int, Tensor]:
    """[2, n] booleans for each block: whether Δ₁, and Δ₂, gives a fair answer (eq. 8).

    ``asked`` has the task's outcomes, of which the likeliest is the answer; ``turned`` says which of them are anti.
    """
    tokens = FirstTokens.of(asked, encoded, outcomes)
    fair = torch.tensor(
        [
            [
                any(a == name and t == "anti" for a, t in zip(one.outcomes, two.outcomes, strict=True))
                for name in outcomes
            ]
            for one, two in zip(asked, turned, strict=True)
        ]
    )
    found = {}
    for at in blocks:
        said = [tokens.read(lens(loaded, part[at])).argmax(1) for part in (streams.before, streams.middle)]
        found[at] = torch.stack([fair.gather(1, one[:, None])[:, 0] for one in said])
    return found


def edit_of(sides: Sides, settings: ResFairSettings, centre: Tensor | None) -> AffineEdit | None:
    """The delta of one block at λ = 1; None if neither vector is there.

    With a centre μ, projections act on v − μ.
    """
    fair, biased = (None if v is None else v.double() / v.double().norm() for v in (sides.fair, sides.biased))
    one, two = settings.lambda1, settings.lambda2
    columns: list[tuple[Tensor, Tensor]] = []
    scale = None
    if settings.variant == "literal":
        scale = -1.0
        if fair is not None:
            seen = fair if biased is None else fair - (fair @ biased) * biased
            columns.append((one * two * fair, seen))
    else:
        if biased is not None:
            columns.append((-one * biased, biased))
        if fair is not None:
            columns.append((two * fair, fair))
        if settings.variant == "sum":
            scale = one - 1.0
    known = fair if biased is None else biased
    if known is None:
        return None
    factor = None if scale is None else torch.full((len(known),), scale)
    if not columns:  # the literal update without a fair vector leaves nothing at all
        return AffineEdit(scale=factor)
    u, v = (torch.stack(part, 1) for part in zip(*columns, strict=True))
    shift = None if centre is None else (-(u @ (v.T @ centre.double()))).float()
    return AffineEdit(factor, shift, u.float(), v.float())


def _sides(streams: Streams, labels: Tensor, block: int, centre: Tensor | None) -> Sides:
    states = torch.cat([streams.before[block], streams.middle[block]])
    if centre is not None:
        states = states - centre
    fair = labels.flatten()
    means = [states[mask].double().mean(0).float() if bool(mask.any()) else None for mask in (fair, ~fair)]
    return Sides(means[0], means[1], (int(fair.sum()), int((~fair).sum())))


def _centres(found: Ground, blocks: Sequence[int]) -> dict[int, Tensor]:
    """The mean output of each block over plain text, [d], every passage's first token left out."""
    names = [f"block.{at}.out" for at in blocks]
    rows: list[list[int]] = found.background[: max(1, 2048 // found.background.shape[1])].tolist()
    total: dict[str, Any] = dict.fromkeys(names, 0.0)
    count = 0
    for _, captured in states_of(found.loaded, rows, names, max_tokens=batch_tokens(found.loaded, names)):
        for name, states in captured.items():
            total[name] = total[name] + states[:, 1:].double().sum((0, 1)).cpu()
        count += captured[names[0]][:, 1:].shape[:2].numel()
    return {at: (total[name] / count).float() for at, name in zip(blocks, names, strict=True)}
