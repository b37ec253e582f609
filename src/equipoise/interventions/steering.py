"""The one hook of a steered module: y + the sum of all deltas, each taken from the same y."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..models import Site, hidden_of, replace_hidden
from .edit import plus, total
from .passes import TokenMap
from .strength import spread
from .terms import Delta, LiveEdit, Term

# From this many values on, memory traffic outweighs the checks that allow writing in place.
_LARGE = 1 << 15


class SteeredSite:
    """All that edits one module's input or output; shared by every handle, so that their deltas are parallel.

    With one strength for all rows and tokens the hook is a single ``addcmul`` of tensors made when λ changed.
    """

    def __init__(self, site: Site) -> None:
        self.name = site.name
        self._fresh = site.kind == "norm" and site.where == "output"
        self._terms: list[Term] = []
        self._live: list[tuple[LiveEdit, TokenMap]] = []
        self._dtype: torch.dtype | None = None
        self._device: torch.device | None = None
        self._scale: Tensor | None = None
        self._shift: Tensor | None = None
        self._half = False
        self._idle = False  # nothing to add at the present strengths
        self._plain = False  # one addcmul does it
        self._by_row = False
        self._deltas: list[Delta] = []
        if site.where == "input":
            self._handle = site.module.register_forward_pre_hook(self._on_input, prepend=True)
        else:
            self._handle = site.module.register_forward_hook(self._on_output, prepend=True)

    @property
    def empty(self) -> bool:
        """Whether nothing edits here any more."""
        return not self._terms and not self._live

    def add(self, term: Term) -> None:
        """Let ``term`` contribute from the next forward pass on."""
        self._terms.append(term)

    def add_live(self, edit: LiveEdit, tokens: TokenMap) -> None:
        """Let live tensors contribute."""
        self._live.append((edit, tokens))

    def discard(self, part: Term | LiveEdit) -> None:
        """Take one contribution back."""
        self._terms = [term for term in self._terms if term is not part]
        self._live = [live for live in self._live if live[0] is not part]

    def remove(self) -> None:
        """Take the hook away."""
        self._handle.remove()

    @torch.inference_mode(False)  # a later pass may need gradients
    def prepare(self, device: torch.device | None, dtype: torch.dtype | None) -> None:
        """Precompute (1 + λa) and λb for activations of this device and type; None keeps the last ones seen."""
        device, dtype = device or self._device, dtype or self._dtype
        if device is None or dtype is None:
            return
        self._device, self._dtype = device, dtype
        self._half = dtype.itemsize < 4
        found = [delta for term in self._terms if (delta := term.delta(device, dtype)) is not None]
        flat = [delta for delta in found if delta.uniform]
        self._deltas = [delta for delta in found if not delta.uniform]
        self._deltas += [
            Delta(d.tokens, d.answer, None, None, d.weights, d.u, d.v) for d in flat if d.u is not None
        ]
        scale, shift = total(d.scale for d in flat), total(d.shift for d in flat)
        self._by_row = bool(self._deltas or self._live)
        self._scale = None if scale is None else scale[0]
        self._shift = None if shift is None else shift[0]
        if not self._by_row:
            self._scale, self._shift = self._finish(self._scale, self._shift)
        self._idle = not self._by_row and scale is None and shift is None
        self._plain = not (self._by_row or self._half or self._scale is None or self._shift is None)

    def _on_input(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args:
            raise InputError(
                f"{self.name}: its module was called by keywords only, so there is no input to edit"
            )
        return (self._steer(args[0]), *args[1:])

    def _on_output(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        # The hot path, once for each norm and token: as few attribute look-ups and calls as possible.
        if not self._plain or output.__class__ is not Tensor or output.dtype is not self._dtype:
            return self._replace(output, args)
        if output.numel() >= _LARGE or output.device != self._device:
            return self._replace(output, args)
        return torch.addcmul(self._shift, output, self._scale)  # type: ignore[arg-type]

    def _replace(self, output: Any, args: tuple[Any, ...]) -> Any:
        if self._idle:
            return None
        hidden = hidden_of(output)
        steered = self._steer(hidden, in_place=self._fresh and _owned(hidden, args))
        return None if steered is hidden else replace_hidden(output, steered)

    def _steer(self, y: Tensor, *, in_place: bool = False) -> Tensor:
        if self._idle:
            return y
        if y.dtype is not self._dtype or y.device != self._device:
            self.prepare(y.device, y.dtype)
        if self._by_row:
            return self._steer_by_row(y)
        return _affine(y, self._scale, self._shift, self._half, out=y if in_place else None)

    def _steer_by_row(self, y: Tensor) -> Tensor:
        scale, shift, flat = self._scale, self._shift, y
        for edit, tokens in self._live:
            if any(part is not None and part.dim() == 3 for part in (edit.scale, edit.shift)):
                y = tokens.view(flat)
            scale = plus(scale, self._live_part(edit.scale, y))
            shift = plus(shift, self._live_part(edit.shift, y))
        for delta in self._deltas:
            if not delta.uniform:
                y = delta.tokens.view(flat)
            if not delta.answer:
                scale = plus(scale, _per_token(delta, delta.scale, y))
                shift = plus(shift, _per_token(delta, delta.shift, y))
        out = _affine(y, *self._finish(scale, shift), self._half)
        for delta in self._deltas:
            mask = delta.tokens.answers(y) if delta.answer else True
            if mask is False:
                continue
            steered = self._with_low_rank(delta, y, out)
            if delta.answer:
                scale, shift = _per_token(delta, delta.scale, y), _per_token(delta, delta.shift, y)
                steered = steered if scale is None else torch.addcmul(steered, y, scale.to(y.dtype))
                steered = steered if shift is None else steered + shift.to(y.dtype)
            out = steered if isinstance(mask, bool) else torch.where(mask, steered, out)
        return out if out.shape == flat.shape else out.reshape(flat.shape)

    @staticmethod
    def _with_low_rank(delta: Delta, y: Tensor, out: Tensor) -> Tensor:
        weights = _per_token(delta, delta.weights, y)
        if weights is None or delta.u is None or delta.v is None:
            return out
        return out + ((y @ delta.v) * weights) @ delta.u.T

    def _live_part(self, part: Tensor | None, y: Tensor) -> Tensor | None:
        if part is None:
            return None
        if part.dim() == 3 and part.shape[0] > 1:  # one row broadcasts
            part = spread(part, y.shape[0], f"rows of live tensors at {self.name}")
        return part.to(y.device)

    def _finish(self, scale: Tensor | None, shift: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """The factors that :func:`_affine` takes: 1 + scale in the type of the activations, the bare scale in half."""
        if scale is not None:
            scale = (scale if self._half else 1 + scale).to(self._dtype)
        return scale, None if shift is None else shift.to(self._dtype)


_SITES: WeakKeyDictionary[nn.Module, dict[str, SteeredSite]] = WeakKeyDictionary()


def steered_site(site: Site, *, create: bool = False) -> SteeredSite | None:
    """The one steered site of this module and side, if there is one (or made now)."""
    sides = _SITES.setdefault(site.module, {})
    if site.where not in sides and create:
        sides[site.where] = SteeredSite(site)
    return sides.get(site.where)


def is_steered(module: nn.Module) -> bool:
    """Whether anything edits this module's input or output."""
    return bool(_SITES.get(module))


def release_if_empty(site: Site) -> None:
    """Remove the hook once nothing edits at this site."""
    sides = _SITES.get(site.module, {})
    steered = sides.get(site.where)
    if steered is not None and steered.empty:
        steered.remove()
        del sides[site.where]


def _affine(
    y: Tensor, scale: Tensor | None, shift: Tensor | None, half: bool, out: Tensor | None = None
) -> Tensor:
    """y (1 + a) + b from scale = 1 + a. In half precision from scale = a: 1 + a would round small edits away."""
    if scale is None:
        return y if shift is None else torch.add(y, shift, out=out)
    if half:
        return torch.addcmul(y if shift is None else y + shift, y, scale, out=out)
    return torch.mul(y, scale, out=out) if shift is None else torch.addcmul(shift, y, scale, out=out)


def _owned(y: Tensor, args: tuple[Any, ...]) -> bool:
    """Whether ``y`` may be overwritten: no gradient needs it and it is not the module's own input."""
    return (
        not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and y.is_contiguous()
        and not (args and isinstance(args[0], Tensor) and args[0].data_ptr() == y.data_ptr())
    )


def _per_token(delta: Delta, values: Tensor | None, y: Tensor) -> Tensor | None:
    return None if values is None else delta.tokens.per_token(values, y)
