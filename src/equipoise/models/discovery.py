"""Finding a model's anatomy by structure: module types, positions and one traced forward pass, never names.

Two passes over a dozen tokens. The first finds the list of decoder blocks: the largest ``ModuleList`` whose members
run one after the other and keep the width of what they take. The second watches inside the blocks. Before each block,
row 1's last hidden state is set to row 0's (see :mod:`.trace`), so that within any block

- the *attention* is the innermost module that takes equal last positions and returns different ones,
- its *output projection* is the linear layer in it that already takes different ones,
- a block is *parallel* if its MLP still takes equal ones.

What a vision-language model does with images is not looked at: its text backbone is found on text. Blocks that text
doesn't run through (Mllama's cross-attention to images) are no blocks here. A prefix model among them (PaliGemma),
whose tokens look at later ones unless a mask forbids it, is given that mask, and so is text later on.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..errors import InputError
from .anatomy import Anatomy, Block
from .blocks import read_block
from .logits import LogitMap, grid_like, recognise_logit_map
from .norms import Norm, could_be_norm, recognise_norm
from .outputs import hidden_of, replace_hidden
from .trace import Call, agree, causal, numbers, run, takes_images, token_wise, undisturbed, watch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_HOW = "name the list of blocks yourself: load(..., blocks='model.layers')"


def find_anatomy(model: PreTrainedModel, *, blocks: str | None = None) -> Anatomy:
    """The anatomy of ``model``, a decoder with a language-model head.

    ``blocks`` names the module that lists the decoder blocks, for a model where it is not found. Raises
    :class:`InputError` that says what was looked for when a part is missing or the model is no causal decoder. Runs
    two forward passes over twelve tokens and leaves the model as it was.
    """
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if head is None:
        raise InputError(
            f"{type(model).__name__} has no language-model head (get_output_embeddings() gives none): load the model"
            " with its head, as AutoModelForCausalLM does"
        )
    names = {module: name for name, module in model.named_modules()}
    with undisturbed(model):
        calls = _first_pass(model, names)
        list_name = blocks if blocks is not None else _find_blocks(model, calls)
        members = _members(model, list_name, calls)
        backbone_name = _owner(model, list_name, calls)
        last = calls[names[members[-1]]]
        final_norm = _final_norm(backbone_name, last, list(calls.values()))
        backbone = model.get_submodule(backbone_name)
        prefix = False
        try:
            found, logit_map = _second_pass(model, names, members, backbone, head)
        except _LooksAhead:
            if not takes_images(model):
                raise
            prefix = True
            found, logit_map = _second_pass(model, names, members, backbone, head, mask=True)
    embedding = model.get_input_embeddings()
    return Anatomy(
        backbone=backbone,
        backbone_name=backbone_name,
        blocks=found,
        final_norm=final_norm,
        head=head,
        head_name=names.get(head, "head"),
        hidden_size=last.width_out or 0,
        tied=getattr(head, "weight", None) is getattr(embedding, "weight", head),
        logit_map=logit_map,
        prefix=prefix,
    )


class _LooksAhead(InputError):
    """A block's output depends on later tokens."""


def _first_pass(model: PreTrainedModel, names: dict[nn.Module, str]) -> dict[str, Call]:
    calls: dict[str, Call] = {}

    def first(call: Call) -> None:
        calls.setdefault(call.name, call)

    with ExitStack() as stack:
        for module, name in names.items():
            watch(module, name, first, stack)
        run(model)
    return calls  # in the order in which modules were entered


def _find_blocks(model: PreTrainedModel, calls: dict[str, Call]) -> str:
    order = {name: index for index, name in enumerate(calls)}
    candidates: dict[str, int] = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or not all(
            next(m.children(), None) is not None for m in module
        ):
            continue
        children = [f"{name}.{child}" for child, _ in module.named_children()]
        members = [calls[child] for child in children if child in calls]
        if len(members) < (len(children) / 2 if takes_images(model) else len(children)) or not members:
            continue
        if not all(c.keeps_width for c in members):
            continue
        places = [order[c.name] for c in members]
        nested = any(name.startswith(f"{other}.") for other in candidates)  # experts inside a block
        if places == sorted(places) and not nested:
            candidates[name] = sum(p.numel() for p in module.parameters())
    if not candidates:
        raise InputError(
            f"found no decoder blocks in {type(model).__name__}: looked for a ModuleList whose members run one after"
            " the other on token ids and hand on one stream of hidden states [batch, tokens, width] (Gemma 3n and"
            f" hyper-connections have several: not supported); {_HOW}"
        )
    return max(candidates, key=lambda name: candidates[name])


def _members(model: PreTrainedModel, list_name: str, calls: dict[str, Call]) -> list[nn.Module]:
    try:
        members = list(model.get_submodule(list_name).children())
    except AttributeError:
        raise InputError(
            f"{type(model).__name__} has no module {list_name!r} to take as its list of blocks"
        ) from None
    names = [f"{list_name}.{child}" for child, _ in model.get_submodule(list_name).named_children()]
    if takes_images(model):
        members = [module for module, name in zip(members, names, strict=True) if name in calls]
        names = [name for name in names if name in calls]
    idle = [name for name in names if name not in calls or not calls[name].keeps_width]
    if not members or idle:
        raise InputError(
            f"{list_name!r} is no list of decoder blocks: {idle[0] if idle else 'it'} does not take and return hidden"
            " states of one width when the model runs on token ids"
        )
    return members


def _owner(model: PreTrainedModel, list_name: str, calls: dict[str, Call]) -> str:
    """The innermost module around the list of blocks that is called itself and takes tokens: the backbone."""
    owner = list_name
    while owner:
        owner = owner.rpartition(".")[0]
        takes = inspect.signature(model.get_submodule(owner).forward).parameters
        # What takes hidden states alone is the middle of a backbone (BERT's encoder).
        if owner in calls and "input_ids" in takes:
            break
    return owner


def _final_norm(backbone_name: str, last: Call, calls: Sequence[Call]) -> Norm | None:
    width = last.width_out
    found = None
    after = [c for c in calls[calls.index(last) + 1 :] if not c.within(last)]
    for call in after:
        inside = call.name.startswith(f"{backbone_name}.") if backbone_name else True
        keeps = call.width_in == call.width_out == width
        if inside and keeps and call.input is not None and could_be_norm(call.module, call.input.shape[-1]):
            found = recognise_norm("final.norm", call.name, call.module, call.input) or found
    return found


def _config_heads(model: PreTrainedModel) -> tuple[int | None, int | None]:
    """Query and key-value heads as the config has them; a number that differs between layers counts as unknown."""
    config = model.config.get_text_config(decoder=True)
    # A decoder cut out of an encoder-decoder (BART) has its own number beside the encoder's.
    heads = getattr(config, "decoder_attention_heads", None) or getattr(config, "num_attention_heads", None)
    kv_heads = getattr(config, "num_key_value_heads", None)
    return heads if isinstance(heads, int) else None, kv_heads if isinstance(kv_heads, int) else None


def _second_pass(
    model: PreTrainedModel,
    names: dict[nn.Module, str],
    members: list[nn.Module],
    backbone: nn.Module,
    head: nn.Module,
    *,
    mask: bool = False,
) -> tuple[tuple[Block, ...], LogitMap | None]:
    calls: list[Call] = []
    found: list[Block] = []
    states: list[Tensor] = []
    grid: list[Tensor] = []
    given: list[Tensor] = []
    heads, kind = _config_heads(model), type(model).__name__

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        calls.clear()
        taken = [rows for value in (*args, *kwargs.values()) if (rows := token_wise(value)) is not None]
        if given and taken and not agree(given[-1], taken[0]):
            raise InputError(
                f"{kind} changes the stream between its blocks (before {names[module]}): decoders that hand it from"
                " block to block are supported"
            )
        return _align_last(args, kwargs)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        block = Call(names[module], module, [], token_wise(hidden_of(output)))
        if len(found) == len(members):
            raise InputError(
                f"{kind} runs its blocks more than once in a pass: decoders that run each once are supported"
            )
        if _streams(output) > 1:
            raise InputError(
                f"the blocks of {kind} hand on several streams of hidden states: decoders with one are supported"
            )
        if block.output is not None:
            given.append(block.output.clone())
        if block.output is not None and not causal(block.output):
            raise _LooksAhead(
                f"{type(model).__name__} looks at later tokens, as encoders and prefix models do; decoders (causal"
                " language models) are supported"
            )
        # Reading calls norms again, which is recorded too; so it reads a copy.
        found.append(read_block(len(found), block, list(calls), *heads))
        calls.clear()

    def leave_backbone(module: nn.Module, args: Any, output: Any) -> None:
        states.append(hidden_of(output))

    def replace_logits(module: nn.Module, args: Any, output: Any) -> Any:
        states.extend(args[:1])
        grid.append(grid_like(hidden_of(output)))
        return replace_hidden(output, grid[-1])

    with ExitStack() as stack:
        for block in members:
            stack.callback(block.register_forward_pre_hook(enter, with_kwargs=True, prepend=True).remove)
            for module in block.modules():
                if module is not block:
                    watch(module, names[module], calls.append, stack)
            stack.callback(block.register_forward_hook(leave).remove)
        stack.callback(backbone.register_forward_hook(leave_backbone).remove)
        stack.callback(head.register_forward_hook(replace_logits).remove)
        output = run(model, mask=mask)
    logits = getattr(output, "logits", None)
    if all(block.attention is None for block in found):
        raise InputError(
            f"{names[members[0]]} and those after it are no decoder blocks of {kind}, as tokens see no others in them;"
            f" {_HOW}"
        )
    before = _factor(states, head)
    if before is None or not isinstance(logits, Tensor):
        return tuple(found), None
    after = recognise_logit_map(grid[-1], logits, set(numbers(model.config.to_dict())))
    return tuple(found), after and replace(after, scale=before * after.scale)


def _factor(states: Sequence[Tensor], head: nn.Module) -> float | None:
    """What the backbone's states are multiplied by before the head takes them.

    None where more is done to them: a further layer in between (ModernBERT's decoder).
    """
    if len(states) != 2 or states[0].shape != states[1].shape:
        return None
    if agree(*states):
        return 1.0
    if getattr(head, "bias", None) is not None:  # else a factor before the head is one after it (MiniCPM 3)
        return None
    given, taken = (state.double() for state in states)
    factor = float((given * taken).sum() / given.square().sum())
    return factor if agree(states[1], factor * given) else None


def _streams(output: Any) -> int:
    """How many hidden states of one shape a block hands on (two in a reversible one, Reformer)."""
    values = list(output.values()) if hasattr(output, "values") and not isinstance(output, Tensor) else output
    if not isinstance(values, list | tuple):
        return 1
    shape = hidden_of(output).shape
    return sum(isinstance(value, Tensor) and value.shape == shape for value in values)


def _align_last(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A block's arguments with the hidden state's last position in row 1 set to that of row 0."""

    def aligned(hidden: Tensor, rows: Tensor) -> Tensor:
        rows = rows.clone()
        rows[1, -1] = rows[0, -1]
        return rows.reshape(hidden.shape)

    for index, value in enumerate(args):
        if (rows := token_wise(value)) is not None:
            return (*args[:index], aligned(value, rows), *args[index + 1 :]), kwargs
    for key, value in kwargs.items():
        if (rows := token_wise(value)) is not None:
            return args, {**kwargs, key: aligned(value, rows)}
    return args, kwargs
