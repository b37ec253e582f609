"""Attaching interventions to a model: a context manager that is also a handle with a live strength."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from ..errors import InputError
from ..models import LoadedModel, Site
from .fold import FOLDED, FoldedNorm, foldable, uniform_matrix
from .guard import Claim, refuse_compiled, refuse_shared
from .intervention import Intervention
from .passes import PassRecorder, TokenMap
from .steering import release_if_empty, steered_site
from .strength import Strength, strength_matrix
from .terms import Dial, LiveEdit, Term


def attach(
    loaded: LoadedModel,
    interventions: Intervention | Sequence[Intervention],
    strength: Strength = 1.0,
    *,
    fold: bool = False,
) -> Attached:
    """Steer ``loaded.model`` from now until the handle is detached, or the ``with`` block left.

    Every intervention's delta is taken from the same unedited activation, also across several handles, so the order
    doesn't matter and attaching a and b is attaching a + b.

    Args:
        interventions: one, or several with their own strengths (and token scopes).
        strength: λ. A number; [rows] (one per row of the batch, for all interventions); or [rows, interventions].
            Given rows serve k batch rows each when the batch has k times as many (beams, several answers a prompt).
        fold: put λ a into the norms' own weights instead of computing it, for one λ for all rows: faster, and the
            saved weights come back bit for bit. Only norms can be folded, and nothing else may edit them meanwhile.

    Raises InputError, before anything is touched: for another model's intervention, an intervention that is attached
    already, a compiled model, a bad strength, or what can't be folded.
    """
    given = (interventions,) if isinstance(interventions, Intervention) else tuple(interventions)
    if not given:
        raise InputError("there is nothing to attach: give at least one intervention")
    return Attached(loaded, given, strength, fold=fold)


def attach_live(loaded: LoadedModel, edits: Mapping[str, LiveEdit]) -> LiveAttached:
    """Steer with tensors that may require grad, for training: ``y' = y + scale ⊙ y + shift`` at each site.

    The tensors are read in every pass, not copied; gradients reach them. [d] tensors edit all rows, [B, 1, d] tensors
    each row by its own (their gradients are per-sample gradients). In parallel with everything else attached.
    """
    return LiveAttached(loaded, edits)


class _Handle:
    """What both handles share: leaving once, whatever happened."""

    def __init__(self) -> None:
        self._undo = ExitStack()  # runs every step, also when one of them fails
        self._detached = False

    @property
    def attached(self) -> bool:
        """Whether it still steers."""
        return not self._detached

    def detach(self) -> None:
        """Stop steering; the model is the base model again, bit for bit. Harmless when done already."""
        self._detached = True
        self._undo.close()

    def __enter__(self) -> Self:
        self._require_attached()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def _require_attached(self) -> None:
        if self._detached:
            raise InputError("this handle is detached: attach the intervention again")

    def _record_passes(self, loaded: LoadedModel) -> None:
        backbone = loaded.anatomy.backbone
        recorder = PassRecorder.of(backbone)
        recorder.acquire(backbone)
        self._undo.callback(recorder.release)

    def _add(self, site: Site, part: Term | tuple[LiveEdit, TokenMap]) -> None:
        steered = steered_site(site, create=True)
        assert steered is not None
        own = part if isinstance(part, Term) else part[0]

        def remove() -> None:
            steered.discard(own)
            release_if_empty(site)
            if not steered.empty:
                steered.prepare(None, None)

        self._undo.callback(remove)
        if isinstance(part, Term):
            steered.add(part)
        else:
            steered.add_live(*part)
        steered.prepare(*_guess(site))


class Attached(_Handle):
    """The handle that :func:`attach` returns."""

    def __init__(
        self, loaded: LoadedModel, interventions: tuple[Intervention, ...], strength: Strength, *, fold: bool
    ) -> None:
        super().__init__()
        self._loaded = loaded
        self.interventions = interventions
        refuse_compiled(loaded)
        for intervention in interventions:
            intervention.check(loaded)
        names = list(dict.fromkeys(name for one in interventions for name in one.edits))
        self._sites = [loaded.anatomy.site(name) for name in names]
        refuse_shared(self._sites)
        self._tokens = TokenMap(PassRecorder.of(loaded.anatomy.backbone))
        self._recording = False
        self._fold = fold
        self._folded: list[tuple[FoldedNorm, Term]] = []
        self._dial = Dial(self._matrix(strength), self._tokens)
        norms = self._check_fold(names) if fold else {}
        _refuse_folded(self._sites)
        claim = Claim(loaded, interventions)
        self._undo.callback(claim.release)
        try:
            self._record_if_needed()
            for site in self._sites:
                for term in self._terms(site.name):
                    if fold:
                        norm = FoldedNorm(norms[site.name])
                        self._undo.callback(norm.restore)
                        self._folded.append((norm, term))
                    else:
                        self._add(site, term)
            self._refold()
        except BaseException:
            self.detach()
            raise

    @property
    def strength(self) -> Tensor:
        """λ as fp64 [rows, interventions] (a copy). Assign a number, [rows], or [rows, interventions].

        It acts on tokens computed from then on: keys and values in a kept cache belong to the λ they were made with.
        """
        return self._dial.matrix.clone()

    @strength.setter
    def strength(self, value: Strength) -> None:
        self._require_attached()
        self._dial.turn(self._matrix(value))
        self._record_if_needed()
        for site in self._sites:
            steered = steered_site(site)
            if steered is not None:
                steered.prepare(None, None)
        self._refold()

    def answer_from(self, positions: Sequence[int] | Tensor | None) -> None:
        """For the token scope "answer": where each row's answer is about to start.

        Args:
            positions: column of each row's last prompt token, [B] (or one for all rows), counted from the first
                token of the row as the model gets it: padding and cached tokens count. None goes back to the rule:
                the last token of the prefill that isn't padding.
        """
        self._tokens.answer_from(positions)

    def pack(self, rows: Sequence[int] | Tensor | None) -> None:
        """Announce packed batches [1, N]: the row of every token, [N], from 0; None for ordinary batches again."""
        self._tokens.pack(rows)

    def _matrix(self, value: Strength) -> Tensor:
        return (uniform_matrix if self._fold else strength_matrix)(value, len(self.interventions))

    def _record_if_needed(self) -> None:
        answers = any(intervention.scope == "answer" for intervention in self.interventions)
        if not self._recording and (answers or self._dial.matrix.shape[0] > 1):
            self._record_passes(self._loaded)
            self._recording = True

    def _terms(self, name: str) -> Iterable[Term]:
        for answer in (False, True):
            chosen = [
                (column, one.edits[name])
                for column, one in enumerate(self.interventions)
                if name in one.edits and (one.scope == "answer") == answer
            ]
            if chosen:
                columns, edits = zip(*chosen, strict=True)
                yield Term(self._dial, columns, edits, answer=answer)

    def _check_fold(self, names: Iterable[str]) -> dict[str, Any]:
        for one in self.interventions:
            if one.scope != "all":
                raise InputError("only the token scope 'all' can be folded into weights: attach without fold")
            for name, edit in one.edits.items():
                if edit.rank:
                    raise InputError(
                        f"{name}: a low-rank edit can't be folded into a norm: attach without fold"
                    )
        return {name: foldable(self._loaded, name) for name in names}

    def _refold(self) -> None:
        for norm, term in self._folded:
            norm.set(term.delta(torch.device("cpu"), torch.float64))


class LiveAttached(_Handle):
    """The handle that :func:`attach_live` returns."""

    def __init__(self, loaded: LoadedModel, edits: Mapping[str, LiveEdit]) -> None:
        super().__init__()
        refuse_compiled(loaded)
        sites = [loaded.anatomy.site(name) for name in edits]
        refuse_shared(sites)
        _refuse_folded(sites)
        for site in sites:
            _check_live(site, edits[site.name])
        tokens = TokenMap(PassRecorder.of(loaded.anatomy.backbone))
        try:
            self._record_passes(loaded)
            for site in sites:
                self._add(site, (edits[site.name], tokens))
        except BaseException:
            self.detach()
            raise


def _check_live(site: Site, edit: LiveEdit) -> None:
    for name, tensor in (("scale", edit.scale), ("shift", edit.shift)):
        if tensor is None:
            continue
        flat = tensor.dim() == 1
        rows = tensor.dim() == 3 and tensor.shape[1] == 1
        if not (flat or rows) or tensor.shape[-1] != site.width:
            raise InputError(
                f"{site.name}: the live {name} has shape {list(tensor.shape)}: "
                f"it must be [{site.width}] or [rows, 1, {site.width}]"
            )


def _refuse_folded(sites: Iterable[Site]) -> None:
    for site in sites:
        if site.module in FOLDED:
            raise InputError(
                f"{site.name} carries a folded intervention, and nothing can be parallel to it: detach that one, "
                "or attach it without fold"
            )


def _guess(site: Site) -> tuple[torch.device | None, torch.dtype | None]:
    """Where and in which type the activation will be, so that nothing is left to the first pass; None if unknown."""
    for parameter in site.module.parameters():
        if parameter.is_floating_point() and not parameter.is_meta:
            return parameter.device, parameter.dtype
    return None, None
