"""Reading and rewriting a linear layer as y = W x + β, whichever way round it keeps its weight."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..models import Projection


class Linear:
    """The matrix and bias of one linear layer, to be changed in fp64 and stored once.

    ``nn.Linear`` keeps its weight as [out, in] and GPT-2's ``Conv1D`` as [in, out]; which of them it is shows in what
    the layer computes. Raises :class:`InputError` for a layer whose weight is no plain matrix (quantised, with
    adapters, offloaded).
    """

    def __init__(self, layer: Projection) -> None:
        self.name = layer.name
        self.module = layer.module
        weight = getattr(layer.module, "weight", None)
        if not isinstance(weight, nn.Parameter) or weight.ndim != 2 or not weight.is_floating_point():
            raise InputError(
                f"{layer.name} keeps no plain matrix (is it quantised, or has it adapters?): load the model in float32,"
                " bfloat16 or float16, without adapters"
            )
        if weight.is_meta:
            raise InputError(f"{layer.name} is offloaded: load the model where all weights fit")
        self.weight_name, self.bias_name = f"{layer.name}.weight", f"{layer.name}.bias"
        self._transposed = self._is_transposed(layer, weight)
        stored = weight.detach().to("cpu", torch.float64)
        self.matrix: Tensor = stored.T if self._transposed else stored
        bias = getattr(layer.module, "bias", None)
        self.bias: Tensor | None = None if bias is None else bias.detach().to("cpu", torch.float64)

    @torch.no_grad()
    def store(self) -> None:
        """Write matrix and bias back, cast once to the layer's own type."""
        weight = self.module.weight
        assert isinstance(weight, Tensor)
        weight.copy_(self.matrix.T if self._transposed else self.matrix)
        if self.bias is not None:
            bias = self.module.bias
            assert isinstance(bias, Tensor)
            bias.copy_(self.bias)

    @staticmethod
    @torch.no_grad()
    def _is_transposed(layer: Projection, weight: Tensor) -> bool:
        generator = torch.Generator().manual_seed(layer.width_in)
        x = torch.randn(2, layer.width_in, generator=generator).to(weight)
        y = layer.module(x[None])[0].to("cpu", torch.float64)
        computed = y[0] - y[1]
        difference = (x[0] - x[1]).to("cpu", torch.float64)
        for transposed in (False, True):
            matrix = (weight.T if transposed else weight).to("cpu", torch.float64)
            if matrix.shape == (layer.width_out, layer.width_in):
                expected = matrix @ difference
                if (expected - computed).norm() <= 2e-2 * computed.norm():
                    return transposed
        raise InputError(
            f"{layer.name} doesn't compute W x + b from its weight, so nothing can be folded into it"
        )
