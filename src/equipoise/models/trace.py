"""Watching a forward pass over a few tokens: which modules run, in which order, on what.

The pass runs three rows of four tokens. Rows 0 and 1 share only their last token, rows 0 and 2 all but their last. So
at the last position, whatever has seen other tokens differs between rows 0 and 1, and at the first three positions
rows 0 and 2 must agree in every causal model. Information flow shows what a module does; its name does not matter.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .outputs import hidden_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS, TOKENS = 3, 4


@dataclass
class Call:
    """A module's first call in the pass: its token-wise inputs and output, each [ROWS, TOKENS, width]."""

    name: str
    module: nn.Module
    inputs: list[Tensor]
    output: Tensor | None = None

    @property
    def input(self) -> Tensor | None:
        """The first of the inputs."""
        return self.inputs[0] if self.inputs else None

    @property
    def width_in(self) -> int | None:
        """Width of the first input."""
        return self.inputs[0].shape[-1] if self.inputs else None

    @property
    def width_out(self) -> int | None:
        """Width of the output."""
        return None if self.output is None else self.output.shape[-1]

    @property
    def keeps_width(self) -> bool:
        """Whether it returns vectors as wide as those that it takes."""
        return self.width_in is not None and self.width_in == self.width_out

    def within(self, other: Call) -> bool:
        """Whether this module lies inside the other one."""
        return self.name.startswith(f"{other.name}.")


def token_wise(value: Any) -> Tensor | None:
    """``value`` as [ROWS, TOKENS, width] if it holds one vector a token (OPT flattens the first two), else None."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim < 2:
        return None
    if value.numel() != ROWS * TOKENS * value.shape[-1]:
        return None
    return value.detach().reshape(ROWS, TOKENS, value.shape[-1])


def agree(a: Tensor, b: Tensor) -> bool:
    """Whether two activations are the same but for rounding (rows of one batch may use different kernels)."""
    tolerance = 1e-4 if a.dtype in (torch.float32, torch.float64) else 1.5e-2
    a, b = a.float(), b.float().to(a.device)
    return bool((a - b).norm() <= tolerance * a.norm())


def mixed(activation: Tensor) -> bool:
    """Whether the last position of ``activation`` has seen other tokens (when the two last tokens were made equal)."""
    return not agree(activation[0, -1], activation[1, -1])


def causal(activation: Tensor) -> bool:
    """Whether no position of ``activation`` has seen a later one."""
    return agree(activation[0, :-1], activation[2, :-1])


def watch(module: nn.Module, name: str, record: Callable[[Call], None], stack: ExitStack) -> None:
    """Call ``record`` when ``module`` is entered; the call's output is filled in when it is left."""
    pending: list[Call] = []

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        values = (token_wise(value) for value in (*args, *kwargs.values()))
        # Copies, because some blocks add to a sublayer's output in place (Falcon).
        call = Call(name, module, [value.clone() for value in values if value is not None])
        pending.append(call)
        record(call)

    def after(_: nn.Module, args: Any, output: Any) -> None:
        call = pending.pop()
        with suppress(TypeError):  # it returns no tensor
            value = token_wise(hidden_of(output))
            call.output = None if value is None else value.clone()

    handle = module.register_forward_pre_hook(before, with_kwargs=True)
    stack.callback(handle.remove)
    stack.callback(module.register_forward_hook(after).remove)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, no compilation, no hooks; everything is put back on leaving.

    Without hooks what is watched is the model itself, whatever steers it at present.
    """
    training = [module for module in model.modules() if module.training]
    # Emptied and filled again in place: the handles that remove hooks keep hold of these dictionaries.
    hooks = [held for m in model.modules() for held in (m._forward_hooks, m._forward_pre_hooks)]
    aside = [dict(held) for held in hooks]
    model.eval()
    for held in hooks:
        held.clear()
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for held, before in zip(hooks, aside, strict=True):
            added = dict(held)  # what the model itself installed in its first pass
            held.clear()
            held.update({**before, **added})
        for module in training:
            module.training = True


def token_device(model: PreTrainedModel) -> torch.device:
    """Where token ids go: the embedding's device; if that is offloaded, the first weight's that isn't."""
    weight = getattr(model.get_input_embeddings(), "weight", None)
    weights = chain([] if weight is None else [weight], model.parameters())
    return next((weight.device for weight in weights if not weight.is_meta), torch.device("cpu"))


def run(model: PreTrainedModel, *, mask: bool = False) -> Any:
    """The forward pass described above; returns the model's output.

    With ``mask`` the model is told to be causal. A model that can't run without images (BLIP-2) is left out: its
    language model runs, which is a model of its own.
    """
    embedding = model.get_input_embeddings()
    weight = getattr(embedding, "weight", None)
    if weight is None:
        raise InputError(f"{type(model).__name__} has no token embedding: a text model with one is needed")
    ids = torch.tensor(_token_ids(model), device=token_device(model))
    seen = causal_mask(ids.shape[1], 0, ids.device, model.dtype) if mask else torch.ones_like(ids)
    try:
        return speaker(model)(input_ids=ids, attention_mask=seen, use_cache=False)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{type(model).__name__} doesn't run on token ids alone ({type(error).__name__}: {error}): a model is"
            " needed that reads text without further input"
        ) from error


def causal_mask(length: int, past: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """[1, 1, length, past + length], added to attention scores: nothing looks at later tokens."""
    mask = torch.full((length, past + length), torch.finfo(dtype).min, device=device, dtype=dtype)
    return mask.triu(past + 1)[None, None]


def takes_images(model: nn.Module) -> bool:
    """Whether the model's forward has a place for pixels."""
    return "pixel_values" in inspect.signature(model.forward).parameters


def speaker(model: PreTrainedModel) -> Any:
    """The model, or if it needs more than token ids (BLIP-2) the smallest language model inside that has its head."""
    needed = inspect.signature(model.forward).parameters.values()
    required = {p.name for p in needed if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    if required <= {"input_ids"}:
        return model
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    inside = [m for m in model.modules() if m is not model and hasattr(m, "get_output_embeddings")]
    found = [m for m in inside if any(part is head for part in m.modules())]
    return min(found, key=lambda m: sum(1 for _ in m.modules()), default=model)


def ordinary_tokens(model: PreTrainedModel) -> list[int]:
    """Token ids that mean text, as far as the config tells.

    Padding, image placeholders and the like are numbers in it; a model may treat their tokens specially.
    """
    weight: Any = model.get_input_embeddings().weight
    vocabulary = int(weight.shape[0])
    special = set(numbers(model.config.to_dict()))
    ordinary = [token for token in range(vocabulary // 3, vocabulary) if token not in special]
    return ordinary if len(ordinary) >= 8 else list(range(vocabulary))


def _token_ids(model: PreTrainedModel) -> list[list[int]]:
    a, b, c, d, e, f, g, h = (ordinary_tokens(model) * 8)[:8]
    return [[a, b, c, d], [e, f, g, d], [a, b, c, h]]


def numbers(value: Any) -> Iterator[float]:
    """All numbers in a config, at any depth."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value
