"""Recognising normalisation layers by what they compute.

A norm divides each vector by its own size, so its output does not change when its input is scaled. Nothing else in a
decoder does that, and no class name has to be known: RMSNorm, LayerNorm, their variants with a weight stored as
``w - 1`` (Gemma) and norms without any weight are told apart by three evaluations of the module.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

NormKind = Literal["rms", "layer"]


@dataclass(frozen=True, eq=False)
class Norm:
    """One normalisation layer of width ``width``.

    ``kind`` is ``"layer"`` if it subtracts the mean, else ``"rms"``. ``weight_name`` is the parameter that scales, or
    None if there is none that does; with ``unit_offset`` the scale is ``1 + weight`` (Gemma). ``bias_name`` is the
    parameter that shifts, or None.
    """

    site: str
    name: str
    module: nn.Module
    width: int
    kind: NormKind
    unit_offset: bool
    weight_name: str | None
    bias_name: str | None

    @property
    def has_bias(self) -> bool:
        """Whether the module has a bias parameter (RMSNorms have none)."""
        return self.bias_name is not None


def could_be_norm(module: nn.Module, width: int) -> bool:
    """Whether ``module`` has the shape of a norm: no submodules and no parameters but vectors of ``width``."""
    if next(module.children(), None) is not None:
        return False
    return all(p.ndim == 1 and p.shape[0] == width for p in module.parameters(recurse=False))


@torch.no_grad()
def recognise_norm(site: str, name: str, module: nn.Module, example: Tensor) -> Norm | None:
    """The :class:`Norm` that ``module`` is, or None if it is something else.

    ``example`` is an activation [..., d] that the module took: it gives the width, the dtype and the device.
    """
    width = example.shape[-1]
    probe = torch.Generator().manual_seed(width)
    random = 16 * torch.randn(1, 2, width, generator=probe)
    alternating = torch.ones(width)
    alternating[1::2] = -1
    inputs = torch.cat([random, 64 * random], dim=1)
    # Against these the kind and the scale show: no size, all mean, (almost) no mean.
    vectors = torch.stack([torch.zeros(width), 64 * torch.ones(width), 64 * alternating])
    inputs = torch.cat([inputs, vectors[None]], dim=1)
    try:
        outputs = module(inputs.to(device=example.device, dtype=example.dtype))
    except (TypeError, ValueError, RuntimeError):
        return None  # it needs more than the activation, so it is no plain norm
    if not isinstance(outputs, Tensor) or outputs.shape != inputs.shape:
        return None
    y = outputs[0].float().cpu()
    small, large, zero, constant, signs = y[0:2], y[2:4], y[4], y[5], y[6]
    reach = (small - zero).norm()
    if not torch.isfinite(y).all() or reach == 0 or (large - small).norm() > 2e-2 * reach:
        return None
    layer = bool((constant - zero).norm() < 2e-2 * (signs - zero).norm())
    scale = (signs - zero) * alternating if layer else constant - zero
    weight_name, unit_offset = _weight(module, scale)
    others = [n for n, _ in module.named_parameters(recurse=False) if n != weight_name]
    bias = next((n for n in others if weight_name is not None or zero.any()), None)
    return Norm(site, name, module, width, "layer" if layer else "rms", unit_offset, weight_name, bias)


def _weight(module: nn.Module, scale: Tensor) -> tuple[str | None, bool]:
    """The parameter that gives ``scale`` [d], as it is or plus one, and whether it is plus one."""
    for name, parameter in module.named_parameters(recurse=False):
        if (
            parameter.is_meta
        ):  # offloaded: its values are not at hand, and norms that add one are the exception
            return name, False
        weight = parameter.detach().float().cpu()
        # Weights may be in the hundreds, where one more is less than the rounding of a single entry.
        offset = bool((scale - weight).median() > 0.5)
        if (weight + float(offset) - scale).norm() <= 3e-2 * scale.norm():
            return name, offset
    return None, False
