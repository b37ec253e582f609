"""Merging: the weights of a model that does by itself what an attached intervention makes it do."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import InputError
from ..interventions import Intervention, attach, refuse_steered
from ..models import LoadedModel, is_compiled, refuse_offloaded
from .biases import add_biases, bias_flags
from .check import Difference, difference, logits_of
from .llama import as_llama
from .plan import CannotMerge, Plan, apply_plan, make_plan
from .readers import probe_ids

TOLERANCE = 1e-4  # of the largest logit, in float32


@dataclass(frozen=True, eq=False)
class Merged:
    """A merged model, and what is known about it.

    Attributes:
        loaded: the model, of the same dtype as the one it came from; nothing steers it.
        strength: the λ that is in it.
        changed: names of the parameters that were changed or added.
        added: those that were not there before: biases, zero where nothing was added.
        as_llama: whether it was written as Llama to have room for the biases.
        error: merged against hooked, both in float32, on random tokens.
        effect: hooked against the base model there: what ``error`` is to be compared with.
        entries: entries of the weights that the intervention changes.
        lost: those of them that are the same after the cast to the model's dtype: the change was less than rounding.
        rounding: size of what the cast changed, relative to the size of what merging changed (root mean square).
    """

    loaded: LoadedModel
    strength: float
    changed: tuple[str, ...]
    added: tuple[str, ...]
    as_llama: bool
    error: Difference
    effect: Difference
    entries: int
    lost: int
    rounding: float


def merge(loaded: LoadedModel, intervention: Intervention, strength: float = 1.0) -> Merged:
    """A copy of ``loaded`` with λ · ``intervention`` in its weights, exactly; ``loaded`` stays as it is.

    Everything is folded in fp64 into a float32 copy, compared there with the hooks on random tokens, and cast once.
    Where an edit needs a bias that the model's class lacks, the model's own settings are asked for one
    (``attention_bias``, ``mlp_bias``), and a model that is Llama in all but name is written as Llama.

    Args:
        loaded: a model in float32, bfloat16 or float16, not steered, not compiled. A float32 copy must fit in memory.
        intervention: one with the token scope ``all``.
        strength: λ, one finite number.

    Raises :class:`CannotMerge`, an :class:`InputError` that names site and reason, for what has no exact place in the
    weights, and :class:`InputError` where merged and hooked model differ by more than 1e-4 of the largest logit.
    """
    lam = _checked(loaded, intervention, strength)
    work = _float_copy(loaded)
    ids = probe_ids(work, rows=4, length=24, seed=3)
    base = logits_of(work, ids)
    with attach(work, intervention, lam):
        hooked = logits_of(work, ids)
    work, plan, flags = _with_room(work, intervention, lam)
    added = add_biases(work.model, flags)
    changed = apply_plan(plan)
    error = difference(hooked, logits_of(work, ids))
    if not error.relative <= TOLERANCE:
        raise InputError(
            f"the merged model's logits differ from the steered one's by {error.relative:.1e} of the largest, more than"
            f" {TOLERANCE:.0e}: this {type(loaded.model).__name__} is not built as it was found to be; attach the"
            " intervention live instead, and please report the model"
        )
    entries, lost, rounding = _cast(work, loaded, changed)
    return Merged(
        loaded=work,
        strength=lam,
        changed=tuple(dict.fromkeys((*changed, *added))),
        added=added,
        as_llama=type(work.model) is not type(loaded.model),
        error=error,
        effect=difference(hooked, base),
        entries=entries,
        lost=lost,
        rounding=rounding,
    )


def _checked(loaded: LoadedModel, intervention: Intervention, strength: object) -> float:
    if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not math.isfinite(strength):
        raise InputError(f"weights hold one finite strength for all rows, not {strength!r}")
    if intervention.scope != "all":
        raise InputError(
            f"an intervention with the token scope {intervention.scope!r} can't be merged: weights act on all tokens;"
            " attach it live instead"
        )
    if is_compiled(loaded.model):
        raise InputError(f"{loaded.name} is compiled: load it again, and compile what comes of merging")
    refuse_steered(loaded)
    refuse_offloaded(loaded.name, loaded.model)
    intervention.check(loaded)
    return float(strength)


def _float_copy(loaded: LoadedModel) -> LoadedModel:
    model = copy.deepcopy(loaded.model)
    model.train(False)
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.float()
        parameter.requires_grad_(False)
    return dataclasses.replace(loaded, model=model)


def _with_room(
    work: LoadedModel, intervention: Intervention, strength: float
) -> tuple[LoadedModel, Plan, Collection[str]]:
    """The model, or the same one as Llama, in which every bias that is needed has a place; and what to turn on."""
    plan = make_plan(work, intervention, strength)
    lacking = plan.lacking()
    if not lacking:
        return work, plan, ()
    flags = bias_flags(work.model, lacking)
    if flags is not None:
        return work, plan, flags
    name, site = next(iter(lacking.items()))
    kind = type(work.model).__name__
    try:
        llama = as_llama(work)
    except InputError as error:
        why = f"it needs {name}, and no setting of {kind} gives it one ({error})"
        raise CannotMerge(site, "a shift", "no bias", why) from None
    plan = make_plan(llama, intervention, strength)
    flags = bias_flags(llama.model, plan.lacking())
    if flags is None:
        raise CannotMerge(site, "a shift", "no bias", f"{kind} has no {name}, nor has Llama")
    return llama, plan, flags


@torch.no_grad()
def _cast(work: LoadedModel, original: LoadedModel, changed: Collection[str]) -> tuple[int, int, float]:
    """Put every parameter into its original type; counts the changed entries, those lost, and the relative rounding."""
    before = dict(original.model.named_parameters(remove_duplicate=False))  # a tied head has a type too
    entries = lost = 0
    moved = rounded = 0.0
    for name, parameter in work.model.named_parameters():
        old = before.get(name)
        dtype = _type_of(name, before) if old is None else old.dtype
        folded = parameter.data
        cast = folded.to(dtype)
        if name in changed:
            start = torch.zeros_like(folded) if old is None else old.detach().float().to(folded)
            back = cast.float()
            entries += int((folded != start).sum())
            lost += int(((folded != start) & (back == start)).sum())
            moved += float((folded - start).double().pow(2).sum())
            rounded += float((back - folded).double().pow(2).sum())
        parameter.data = cast
    work.model.config.dtype = original.model.dtype
    return entries, lost, math.sqrt(rounded / moved) if moved else 0.0


def _type_of(bias: str, parameters: dict[str, Any]) -> torch.dtype:
    dtype = parameters[f"{bias.rpartition('.')[0]}.weight"].dtype
    assert isinstance(dtype, torch.dtype)
    return dtype
