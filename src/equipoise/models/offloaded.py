"""Weights that are elsewhere until they are needed, as accelerate puts those of a model that doesn't fit."""

from torch import nn

from ..errors import InputError


def is_offloaded(module: nn.Module) -> bool:
    """Whether a weight of the module is not at hand (on the meta device)."""
    return any(parameter.is_meta for parameter in module.parameters())


def refuse_offloaded(name: str, *modules: nn.Module) -> None:
    """Raise :class:`InputError` where one of the modules of the model ``name`` is offloaded."""
    if any(is_offloaded(module) for module in modules):
        raise InputError(f"{name} is partly offloaded: load it where all its weights fit")
