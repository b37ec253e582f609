"""Which row and which position every token of a forward pass has."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..models import LoadedModel
from .strength import spread


@dataclass(frozen=True, eq=False)
class Pass:
    """One forward pass of a text backbone.

    Attributes:
        rows, length: B and T of the tokens that it computes.
        past: number of cached positions before them.
        last: for a prefill, the column of each row's last token that isn't padding, [B], counted from the start of
            the cache; None when the pass continues an earlier one.
        starts: where the caller says that answers start (:func:`answers_start`), [R]; None if it doesn't.
    """

    rows: int
    length: int
    past: int
    last: Tensor | None
    starts: Tensor | None = None

    def rows_of(self, y: Tensor) -> Tensor:
        """``y`` as [B, T, d], from [B, T, d] or flattened [B·T, d]; it shares its memory."""
        if y.dim() == 3 and y.shape[0] == self.rows:
            return y
        if y.dim() == 2 and y.shape[0] == self.rows * self.length:
            return y.reshape(self.rows, self.length, y.shape[1])
        raise InputError(
            f"an activation of shape {list(y.shape)} can't be assigned to the {self.rows} rows of {self.length} tokens "
            "of this pass: use one strength for the whole batch and the token scope 'all'"
        )


class PassRecorder:
    """A hook before a backbone's forward that keeps the present :class:`Pass`.

    A pass is a prefill if nothing is cached, or less than the last prefill left behind: then the cache is another
    one. Everything else continues.
    """

    def __init__(self, backbone: nn.Module) -> None:
        self.current: Pass | None = None
        self.starts: Tensor | None = None
        self._prefill_end: int | None = None
        self._names = list(inspect.signature(backbone.forward).parameters)
        self._users = 0
        self._handle: Any = None

    @classmethod
    def of(cls, backbone: nn.Module) -> PassRecorder:
        """The one recorder of this backbone."""
        if backbone not in _RECORDERS:
            _RECORDERS[backbone] = cls(backbone)
        return _RECORDERS[backbone]

    def acquire(self, backbone: nn.Module) -> None:
        """One more user: the hook is there while anyone needs it."""
        self._users += 1
        if self._users == 1:
            self._prefill_end = None
            self._handle = backbone.register_forward_pre_hook(self._record, prepend=True, with_kwargs=True)

    def release(self) -> None:
        """One user fewer; the last one takes the hook away."""
        self._users -= 1
        if self._users == 0:
            self._handle.remove()
            self._handle = self.current = None

    def _record(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = {**dict(zip(self._names, args, strict=False)), **kwargs}
        tokens = given.get("input_ids")
        tokens = given.get("inputs_embeds") if tokens is None else tokens
        if tokens is None:
            raise InputError(
                "the backbone was called without input_ids and inputs_embeds: pass one of them by name"
            )
        rows, length = tokens.shape[:2]
        past = _cached(given.get("past_key_values"))
        last = None
        if past == 0 or self._prefill_end is None or past < self._prefill_end:
            last = _last_columns(given.get("attention_mask"), rows, past + length, tokens.device)
            self._prefill_end = past + length
        self.current = Pass(rows, length, past, last, self.starts)


_RECORDERS: WeakKeyDictionary[nn.Module, PassRecorder] = WeakKeyDictionary()


@contextmanager
def answers_start(loaded: LoadedModel, positions: Any) -> Iterator[None]:
    """Say where the answers start in all passes until the block is left, for the token scope "answer".

    It holds for whatever steers and goes before what a handle was told by ``answer_from``: it is who calls the model
    that knows what is prompt and what is padding.

    Args:
        loaded: the model.
        positions: as in :meth:`equipoise.interventions.Attached.answer_from`.
    """
    recorder = PassRecorder.of(loaded.anatomy.backbone)
    before = recorder.starts
    recorder.starts = _integers(positions, "answer positions")
    try:
        yield
    finally:
        recorder.starts = before


class TokenMap:
    """What one handle says about rows and positions, resolved against the present pass."""

    def __init__(self, recorder: PassRecorder) -> None:
        self._recorder = recorder
        self._starts: Tensor | None = None
        self._packed: Tensor | None = None
        self._mask: tuple[Pass, bool | Tensor] | None = None

    def answer_from(self, positions: Any) -> None:
        """See :meth:`equipoise.interventions.Attached.answer_from`."""
        self._starts = None if positions is None else _integers(positions, "answer positions")
        self._mask = None

    def pack(self, rows: Any) -> None:
        """See :meth:`equipoise.interventions.Attached.pack`."""
        self._packed = None if rows is None else _integers(rows, "the rows of packed tokens")
        self._mask = None

    def view(self, y: Tensor) -> Tensor:
        """``y`` as [B, T, d] ([1, N, d] if packed)."""
        if self._packed is None:
            return self._pass().rows_of(y)
        if y.shape[:-1].numel() != self._packed.shape[0]:
            raise InputError(
                f"{self._packed.shape[0]} packed tokens were announced and the pass has {y.shape[:-1].numel()}: "
                "set the rows of this pass with .pack(rows), or .pack(None) for an ordinary batch"
            )
        return y.reshape(1, -1, y.shape[-1])

    def per_token(self, values: Tensor, y: Tensor) -> Tensor:
        """Per-row values [R, w] as a tensor that broadcasts against the view [B, T, w] of ``y``."""
        if values.shape[0] == 1:
            return values
        if self._packed is None:
            return spread(values, y.shape[0], "strengths")[:, None]
        self._check_packed(values.shape[0])
        return values[self._packed.to(values.device)][None]

    def answers(self, y: Tensor) -> bool | Tensor:
        """Which tokens of the view ``y`` lie at or after their row's last prompt token: all, none, or [B, T, 1]."""
        now = self._pass()
        if self._mask is None or self._mask[0] is not now:
            self._mask = now, self._answers(now) if self._packed is None else self._packed_answers(now)
        mask = self._mask[1]
        return mask if isinstance(mask, bool) else mask.to(y.device)

    def _answers(self, now: Pass) -> bool | Tensor:
        given = self._given(now)
        if given is None:
            if now.last is None:
                return True
            starts = now.last
        else:
            if now.past >= int(given.max()):
                return True
            if now.past + now.length <= int(given.min()):
                return False
            starts = spread(given, now.rows, "answer positions")
        columns = torch.arange(now.past, now.past + now.length, device=starts.device)
        return (columns >= starts[:, None])[..., None]

    def _packed_answers(self, now: Pass) -> Tensor:
        assert self._packed is not None
        if now.past:
            raise InputError("a packed batch with a kept cache has no positions: use the token scope 'all'")
        same = self._packed[:, None] == self._packed
        position = same.tril(-1).sum(1)
        given = self._given(now)
        if given is None:
            starts = same.sum(1) - 1
        elif given.shape[0] == 1:
            starts = given
        else:
            self._check_packed(given.shape[0])
            starts = given[self._packed]
        return (position >= starts)[None, :, None]

    def _given(self, now: Pass) -> Tensor | None:
        return self._starts if now.starts is None else now.starts

    def _check_packed(self, given: int) -> None:
        assert self._packed is not None
        if int(self._packed.max()) >= given:
            raise InputError(
                f"packed tokens name row {int(self._packed.max())} and only {given} rows were given"
            )

    def _pass(self) -> Pass:
        if self._recorder.current is None:
            raise InputError(
                "per-row strengths and the token scope 'answer' need a whole forward pass: "
                "call the model or its backbone, not a part of it"
            )
        return self._recorder.current


def _integers(values: Any, what: str) -> Tensor:
    try:
        tensor = torch.as_tensor(values).detach().to("cpu")
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{what} must be a list of integers, not {values!r}") from None
    tensor = tensor[None] if tensor.dim() == 0 else tensor
    if tensor.is_floating_point() or tensor.dim() != 1 or tensor.numel() == 0 or bool((tensor < 0).any()):
        raise InputError(f"{what} must be a list of integers from 0 on, not {values!r}")
    return tensor.long()


def _cached(cache: Any) -> int:
    if cache is None:
        return 0
    if hasattr(cache, "get_seq_length"):
        return int(cache.get_seq_length())
    return int(cache[0][0].shape[-2]) if len(cache) else 0


def _last_columns(mask: Any, rows: int, columns: int, device: torch.device) -> Tensor:
    """The last column of each row that isn't padding, [rows]; the last one of all where no mask tells."""
    if isinstance(mask, dict):  # one prepared mask for each kind of attention
        mask = mask.get("full_attention", next(iter(mask.values()), None))
    if (
        isinstance(mask, Tensor) and mask.dim() == 4
    ):  # prepared, [B or 1, 1, T, columns]: what the last query sees
        mask = mask[:, 0, -1]
        mask = mask if mask.dtype == torch.bool else mask > -1
    if not isinstance(mask, Tensor) or mask.dim() != 2 or mask.shape[1] < columns:
        return torch.full((rows,), columns - 1, device=device)
    seen = mask[:, :columns] != 0
    return (seen * torch.arange(columns, device=mask.device)).amax(1).expand(rows)
