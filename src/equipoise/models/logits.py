"""What a model does to its head's output before it returns it as logits: nothing, a scale or a soft cap."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

# From the straight part of a soft cap to far beyond any; inside the range of float16.
_GRID = (-1e4, -300.0, -50.0, -10.0, -1.0, -0.1, 0.0, 0.1, 1.0, 10.0, 50.0, 300.0, 1e4)


@dataclass(frozen=True)
class LogitMap:
    """Logits from the head's output x: ``scale * x``, and then, with a ``softcap`` c, ``c * tanh(scale * x / c)``."""

    scale: float = 1.0
    softcap: float | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """The logits for the head's output ``x``, of the same shape."""
        if self.scale != 1.0:
            x = x * self.scale
        return x if self.softcap is None else self.softcap * (x / self.softcap).tanh()


def grid_like(logits: Tensor) -> Tensor:
    """A tensor of the shape, dtype and device of ``logits`` that repeats a grid of values of every magnitude."""
    values = torch.tensor(_GRID, dtype=logits.dtype, device=logits.device)
    return values.repeat(logits.numel() // len(_GRID) + 1)[: logits.numel()].reshape(logits.shape)


def recognise_logit_map(x: Tensor, y: Tensor, constants: Iterable[float]) -> LogitMap | None:
    """The map that took the head's output ``x`` (see :func:`grid_like`) to the logits ``y``; None if it is another.

    ``constants`` are numbers of the model's config: a scale or cap that is one of them (or one over it) but for the
    rounding of the dtype is taken to be it.
    """
    if x.shape != y.shape:
        return None
    close = 1e-3 if y.dtype in (torch.float32, torch.float64) else 2e-2
    x, y = x.detach().flatten().double().cpu(), y.detach().flatten().double().cpu()
    straight, far = int((x - 0.1).abs().argmin()), int(x.argmax())
    exact = [1.0, *constants]
    exact += [1 / value for value in exact if value]

    def snapped(value: float) -> float:
        return (
            min(exact, key=lambda e: abs(e - value))
            if any(abs(e - value) <= close * abs(e) for e in exact)
            else value
        )

    scale = snapped(float(y[straight] / x[straight]))
    capped = abs(float(y[far]) - scale * float(x[far])) > close * abs(scale * float(x[far]))
    found = LogitMap(scale, snapped(float(y[far])) if capped else None)
    return found if bool(((found(x) - y).abs() <= close * (y.abs() + 1e-3)).all()) else None
