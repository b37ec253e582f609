"""Low-rank adapters (LoRA, arXiv 2106.09685) as a mitigation: attached by peft, scaled by λ, gone on leaving."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..interventions import Provenance
from ..models import LoadedModel, is_compiled, refuse_offloaded
from ..scoring import OptionScores
from ..tasks import Item, Prompt

_NAME = "equipoise"


@dataclass(frozen=True, eq=False)
class Adapter:
    """W' = W + λ (α / r) B A at linear layers of the text backbone.

    Attributes:
        layers: by the layer's path in the model A [r, in] and B [out, r], fp32 on the CPU.
        alpha: α.
        provenance: where it came from.

    Raises :class:`equipoise.InputError` for shapes that don't fit, values that aren't finite, or no layer at all.
    """

    layers: Mapping[str, tuple[Tensor, Tensor]]
    alpha: float
    provenance: Provenance = field(default_factory=lambda: Provenance("lora"))

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError("an adapter needs at least one layer")
        if not 0 < self.alpha < float("inf"):
            raise InputError(f"the adapter's alpha is {self.alpha:g}, but must be above 0")
        ranks = {a.shape[0] for a, _ in self.layers.values()} | {b.shape[1] for _, b in self.layers.values()}
        if len(ranks) != 1:
            raise InputError(f"the adapter's layers have the ranks {sorted(ranks)}: they must have one")
        for name, pair in self.layers.items():
            if not all(bool(part.isfinite().all()) for part in pair):
                raise InputError(f"{name}: the adapter has values that are not finite: fit it again")

    @property
    def method(self) -> str:
        """The method that trained it."""
        return self.provenance.method

    @property
    def rank(self) -> int:
        """r."""
        return next(iter(self.layers.values()))[0].shape[0]

    @property
    def size(self) -> int:
        """Entries that are not zero."""
        return sum(int(torch.count_nonzero(part)) for pair in self.layers.values() for part in pair)

    @property
    def dial(self) -> bool:
        """True."""
        return True

    @property
    def digest(self) -> str:
        """A hash of α and of every layer's matrices."""
        found = hashlib.sha256(f"adapter {self.alpha!r}".encode())
        for name, pair in sorted(self.layers.items()):
            for part in pair:
                found.update(f"\0{name}\0{tuple(part.shape)}\0".encode())
                found.update(part.float().contiguous().numpy().tobytes())
        return found.hexdigest()

    @property
    def adjusts(self) -> bool:
        """False."""
        return False

    def check(self, loaded: LoadedModel) -> None:
        """Raise InputError unless it was trained on this model, and the model has its layers."""
        known = self.provenance.model
        if known is not None and not known.matches(loaded.fingerprint):
            raise InputError(
                f"this adapter was trained on another model than {loaded.name}: {known.mismatch(loaded.fingerprint)}"
            )
        for name, (a, b) in self.layers.items():
            layer = _layer(loaded, name)
            if layer is None or widths(layer) != (a.shape[1], b.shape[0]):
                raise InputError(
                    f"{loaded.name} has no linear layer {name!r} of {a.shape[1]} to {b.shape[0]}"
                )

    @contextmanager
    def attach(self, loaded: LoadedModel, strength: float) -> Iterator[None]:
        """Act inside the context; at strength 0 nothing is attached."""
        if strength == 0:
            yield
            return
        refuse_adapted(loaded)
        self.check(loaded)
        with injected(loaded, list(self.layers), self.rank, self.alpha) as parts:
            with torch.no_grad():
                for name, (a, b) in self.layers.items():
                    parts[name].a.copy_(a)
                    parts[name].b.copy_(b)
                    parts[name].scale(strength * self.alpha / self.rank)
            yield

    def rewrite(self, prompt: Prompt, strength: float) -> Prompt:
        """The prompt as it is."""
        return prompt

    def adjust(self, scores: OptionScores, items: Sequence[Item], strength: float) -> OptionScores:
        """The scores as they are."""
        return scores

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write a safetensors file of the kind ``adapter``."""
        from .files import save_adapter

        return save_adapter(self, path, force=force)


@dataclass(frozen=True, eq=False)
class Part:
    """The live parameters of one layer's adapter."""

    a: nn.Parameter
    b: nn.Parameter
    wrapper: Any

    def scale(self, value: float) -> None:
        """Set what B A is multiplied by."""
        self.wrapper.scaling[_NAME] = value


@contextmanager
def injected(loaded: LoadedModel, names: Sequence[str], rank: int, alpha: float) -> Iterator[dict[str, Part]]:
    """Wrap linear layers by peft's LoRA layers, B zero; on leaving every layer is the one that it was.

    Raises InputError where peft is missing, an adapter is attached already, the model is compiled, or a layer is
    offloaded.
    """
    refuse_adapted(loaded)
    from peft import LoraConfig, inject_adapter_in_model

    model: Any = loaded.model
    if is_compiled(model):
        raise InputError(
            f"{loaded.name} is compiled, and compiled code ignores what is added later: load it again"
        )
    before = {name: model.get_submodule(name) for name in names}
    refuse_offloaded(loaded.name, *before.values())
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    kept = model.__dict__.get("peft_config")
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        lora_dropout=0.0,
        bias="none",
        target_modules=list(names),
        fan_in_fan_out=not any(isinstance(layer, nn.Linear) for layer in before.values()),
    )
    try:
        inject_adapter_in_model(config, model, adapter_name=_NAME)
        parts = {}
        for name in names:
            wrapper = model.get_submodule(name)
            wrapper.lora_A[_NAME].float()
            wrapper.lora_B[_NAME].float()
            wrapper.train(before[name].training)
            parts[name] = Part(wrapper.lora_A[_NAME].weight, wrapper.lora_B[_NAME].weight, wrapper)
            parts[name].scale(alpha / rank)
        yield parts
    finally:
        for name, layer in before.items():
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        if kept is None:
            model.__dict__.pop("peft_config", None)
        else:
            model.peft_config = kept


def refuse_adapted(loaded: LoadedModel) -> None:
    """Raise InputError where peft is missing, or the model has an adapter already."""
    try:
        from peft.tuners.lora import LoraLayer
    except ImportError:
        raise InputError("adapters are attached by peft: pip install 'equipoise[peft]'") from None
    if any(isinstance(module, LoraLayer) for module in loaded.model.modules()):
        raise InputError(f"{loaded.name} has an adapter already: one at a time")


def attention_layers(loaded: LoadedModel) -> list[str]:
    """Paths of the linear layers inside the attention of every text block. Raises InputError if there are none."""
    names = {id(module): name for name, module in loaded.model.named_modules()}
    found = []
    for block in loaded.anatomy.blocks:
        if block.attention is not None:
            found += [
                names[id(module)]
                for module in block.attention.module.modules()
                if widths(module) is not None and id(module) in names
            ]
    if not found:
        raise InputError(
            f"no linear layers were found in the attention of {loaded.name}: it can't be adapted"
        )
    return list(dict.fromkeys(found))


def widths(module: nn.Module) -> tuple[int, int] | None:
    """Inputs and outputs of a linear layer that peft adapts (nn.Linear, GPT-2's Conv1D); None for anything else."""
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, Conv1D):
        return int(module.nx), int(module.nf)
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    return None


def _layer(loaded: LoadedModel, name: str) -> nn.Module | None:
    try:
        return loaded.model.get_submodule(name)
    except AttributeError:
        return None
