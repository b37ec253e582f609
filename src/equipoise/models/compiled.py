"""Telling compiled models, which hooks that are added later don't reach."""

from torch import nn


def is_compiled(module: nn.Module) -> bool:
    """Whether ``module`` or any part of it is compiled.

    All three ways are seen: ``torch.compile(module)``, ``module.compile()`` and
    ``module.forward = torch.compile(module.forward)``.
    """
    return any(_is_compiled_itself(part) for part in module.modules())


def _is_compiled_itself(module: nn.Module) -> bool:
    return (
        hasattr(module, "_orig_mod")
        or getattr(module, "_compiled_call_impl", None) is not None
        or hasattr(module.forward, "_torchdynamo_orig_callable")
    )
