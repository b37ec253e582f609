"""Folding: all its arithmetic happens on the CPU, because not every device has fp64."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equipoise.interventions import AffineEdit
from equipoise.interventions.fold import FoldedNorm
from equipoise.interventions.passes import PassRecorder, TokenMap
from equipoise.interventions.terms import Dial, Term
from equipoise.models import Norm


class Away(Tensor):
    """A tensor as on a device without fp64, from which ``.to("cpu")`` brings an ordinary one."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_function__(function, types, args, kwargs or {})
        with torch._C.DisableTorchFunctionSubclass():
            if any(isinstance(value, Tensor) and value.dtype == torch.float64 for value in (*args, out)):
                raise TypeError("no fp64 here")
            return out.as_subclass(Tensor) if function is Tensor.to and "cpu" in args else out


def test_nothing_in_fp64_reaches_the_device() -> None:
    module = nn.LayerNorm(6)
    for name in ("weight", "bias"):
        delattr(module, name)
        setattr(module, name, torch.linspace(1, 2, 6).as_subclass(Away))
    with pytest.raises(TypeError, match="no fp64"):
        module.weight.detach().double()  # the twin: it would be noticed
    folded = FoldedNorm(Norm("block.0.norm.0", "norm", module, 6, "layer", False, "weight", "bias"))
    dial = Dial(torch.ones(1, 1, dtype=torch.float64), TokenMap(PassRecorder(module)))
    term = Term(dial, [0], [AffineEdit(torch.arange(6.0), torch.ones(6))], answer=False)
    folded.set(term.delta(torch.device("cpu"), torch.float64))
    given = torch.linspace(1, 2, 6, dtype=torch.float64)
    for found, expected in (
        (module.weight, given * (1 + torch.arange(6))),
        (module.bias, given * (1 + torch.arange(6)) + 1),
    ):
        assert torch.equal(found.as_subclass(Tensor), expected.float())
    folded.restore()
    assert torch.equal(module.weight.as_subclass(Tensor), torch.linspace(1, 2, 6))
