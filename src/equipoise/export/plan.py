"""Which weights an intervention goes into, and why where it can't: the algebra of merging, site by site.

With M = I + λ (D + U Vᵀ) and D = diag(a), y' = M y + λ b is exactly

- at a norm's output: w' = (1 + λ a) w in the norm's own weight ((1 + w)(1 + λ a) − 1 where it multiplies by 1 + w), and
  λ b in its bias, c' = (1 + λ a) c + λ b; a norm without a bias hands the shift to its readers, β' = β + λ W b. A
  low-rank part makes the readers take everything, W' = W M (the norm's bias may take λ M⁻¹ b if they have none);
- at a linear layer's input (heads): W' = W M, β' = β + λ W b;
- at a linear layer's output (attention, MLP): W' = M W, β' = M β + λ b;
- at a block's output: a shift alone, into the bias of the block's last linear layer. The residual passes every weight
  by, so neither a scale nor a low-rank part has anywhere to go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError
from ..interventions import AffineEdit, Intervention
from ..models import Block, LoadedModel, Norm, Projection
from .linear import Linear
from .readers import Readers, adds_to_output, find_readers

Reason = Literal["no bias", "other readers", "no single layer", "residual", "norm after", "tied"]


class CannotMerge(InputError):
    """An edit has no exact place in the weights. ``reason`` says why in a word, the message in a line."""

    def __init__(self, site: str, what: str, reason: Reason, why: str) -> None:
        super().__init__(
            f"{site}: {what} can't be merged: {why}; it can still be attached live (equipoise.attach, equipoise serve)"
        )
        self.reason: Reason = reason


@dataclass(frozen=True, eq=False)
class NormFold:
    """λ a into a norm's weight, and λ b into its bias if ``shift`` is there; both [d] in fp64, λ multiplied in."""

    norm: Norm
    scale: Tensor | None
    shift: Tensor | None


@dataclass(frozen=True, eq=False)
class LinearFold:
    """An edit of a linear layer's input or output, λ multiplied in; ``site`` is what messages name."""

    site: str
    layer: Projection
    edit: AffineEdit

    @property
    def changes_matrix(self) -> bool:
        """Whether it needs the weight itself changed, not the bias alone."""
        return self.edit.scale is not None or bool(self.edit.rank)

    @property
    def needs_bias(self) -> bool:
        """Whether it adds something that doesn't depend on the input."""
        return self.edit.shift is not None


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be folded where. Inputs are folded before outputs, as the layer itself works."""

    norms: list[NormFold] = field(default_factory=list)
    inputs: list[LinearFold] = field(default_factory=list)
    outputs: list[LinearFold] = field(default_factory=list)

    def lacking(self) -> dict[str, str]:
        """Names of the bias parameters that are needed and not there -> a site that needs each."""
        found: dict[str, str] = {}
        for fold in [*self.inputs, *self.outputs]:
            if fold.needs_bias and getattr(fold.layer.module, "bias", None) is None:
                found.setdefault(f"{fold.layer.name}.bias", fold.site)
        return found


def make_plan(loaded: LoadedModel, intervention: Intervention, strength: float) -> Plan:
    """The plan for ``strength`` · ``intervention``; raises :class:`CannotMerge` if there is none.

    Biases that are :meth:`Plan.lacking` are not judged here.
    """
    anatomy = loaded.anatomy
    plan = Plan()
    scaled = {name: _without_zeros(edit) for name, edit in (strength * intervention).edits.items()}
    edits = {name: edit for name, edit in scaled.items() if edit is not None}
    norms = {norm.site: norm for norm in anatomy.all_norms if norm.site in edits}
    read = find_readers(loaded, list(norms.values())) if norms else {}
    # Sites of blocks come in the order attention, MLP, whole block, in which their shifts add up.
    for name in sorted(edits, key=lambda name: anatomy.sites().index(name)):
        site, edit = anatomy.site(name), edits[name]
        if site.kind == "norm":
            _at_norm(plan, norms[name], edit, read[name])
            continue
        block = anatomy.blocks[int(name.split(".")[1])]
        if site.kind == "out":
            plan.outputs.append(_at_block(loaded, name, block, edit))
        elif site.kind == "heads":
            assert block.attention is not None and block.attention.heads is not None
            plan.inputs.append(LinearFold(name, block.attention.heads.projection, edit))
        else:
            sublayer = block.attention if site.kind == "attn" else block.mlp
            assert sublayer is not None
            if sublayer.projection is None:
                raise CannotMerge(
                    name,
                    "an edit",
                    "no single layer",
                    f"no single linear layer gives the output of {sublayer.name}",
                )
            plan.outputs.append(LinearFold(name, sublayer.projection, edit))
    _refuse_tied(loaded, plan)
    return plan


def _without_zeros(edit: AffineEdit) -> AffineEdit | None:
    """The parts that do something."""
    low = _any(edit.u) and _any(edit.v)
    parts = {
        "scale": edit.scale if _any(edit.scale) else None,
        "shift": edit.shift if _any(edit.shift) else None,
    }
    if not low and not any(part is not None for part in parts.values()):
        return None
    return AffineEdit(**parts, u=edit.u if low else None, v=edit.v if low else None)


def _at_norm(plan: Plan, norm: Norm, edit: AffineEdit, readers: Readers) -> None:
    if edit.rank:
        inner = _shift_before(edit) if _wants_bias(norm, edit, readers) else None
        rest: AffineEdit | None = edit if inner is None else replace(edit, shift=None)
        if inner is not None:
            plan.norms.append(NormFold(norm, None, inner))
    else:
        shift = None if edit.shift is None else edit.shift.double()
        scale = None if edit.scale is None else edit.scale.double()
        into_bias = shift is not None and norm.bias_name is not None
        if norm.weight_name is not None:
            rest = None if shift is None or into_bias else AffineEdit(shift=shift)
            if scale is not None or into_bias:
                plan.norms.append(NormFold(norm, scale, shift if into_bias else None))
        else:
            rest = edit
    if rest is None:
        return
    if not readers.complete or not readers.layers:
        what = "a low-rank part" if edit.rank else "a shift" if rest.scale is None else "an edit"
        why = f"not only linear layers read {norm.name}, but also the residual sum or a mixture of experts"
        raise CannotMerge(norm.site, what, "other readers", why)
    plan.inputs.extend(LinearFold(norm.site, layer, rest) for layer in readers.layers)


def _wants_bias(norm: Norm, edit: AffineEdit, readers: Readers) -> bool:
    """Whether only the norm itself has a bias that could take the shift of a low-rank edit."""
    bare = any(getattr(layer.module, "bias", None) is None for layer in readers.layers)
    return edit.shift is not None and norm.bias_name is not None and bare


def _shift_before(edit: AffineEdit) -> Tensor | None:
    """The s with M (y + s) = M y + b, or None if M is (almost) singular; λ is in the edit."""
    assert edit.u is not None and edit.v is not None and edit.shift is not None
    matrix = torch.eye(edit.width, dtype=torch.float64) + edit.u.double() @ edit.v.double().T
    if edit.scale is not None:
        matrix += torch.diag(edit.scale.double())
    shift = edit.shift.double()
    found, failed = torch.linalg.solve_ex(matrix, shift)
    tame = bool(failed == 0) and bool(found.norm() <= 100 * shift.norm())
    return found if tame and bool((matrix @ found - shift).norm() <= 1e-9 * shift.norm()) else None


def _at_block(loaded: LoadedModel, name: str, block: Block, edit: AffineEdit) -> LinearFold:
    if edit.scale is not None or edit.rank:
        what = "a low-rank part" if edit.rank else "a scale"
        raise CannotMerge(name, what, "residual", "the residual stream passes every weight of the block by")
    last = block.mlp or block.attention
    if last is None or last.projection is None:
        why = "no single linear layer gives what the block adds last"
        raise CannotMerge(name, "a shift", "no single layer", why)
    if not adds_to_output(loaded, block, last.projection):
        why = f"what {last.projection.name} gives goes through a norm or a factor before the residual stream takes it"
        raise CannotMerge(name, "a shift", "norm after", why)
    return LinearFold(name, last.projection, AffineEdit(shift=edit.shift))


def _refuse_tied(loaded: LoadedModel, plan: Plan) -> None:
    """Two modules with one weight (a tied head, shared blocks): a change for one would be a change for the other."""
    users: dict[int, list[str]] = {}
    for name, parameter in loaded.model.named_parameters(remove_duplicate=False):
        users.setdefault(id(parameter), []).append(name)

    def refuse(site: str, parameter: object) -> None:
        others = users.get(id(parameter), [])
        if len(others) > 1:
            why = f"{others[0]} and {others[1]} are one weight, and one of them must stay as it is"
            raise CannotMerge(site, "an edit", "tied", why)

    for fold in plan.norms:
        for parameter in fold.norm.module.parameters():
            refuse(fold.norm.site, parameter)
    for linear in [*plan.inputs, *plan.outputs]:
        if linear.changes_matrix:
            refuse(linear.site, linear.layer.module.weight)
        if linear.needs_bias:
            refuse(linear.site, getattr(linear.layer.module, "bias", None))


@torch.no_grad()
def apply_plan(plan: Plan) -> tuple[str, ...]:
    """Fold the plan into the weights, in fp64 and cast once to their own type; returns the parameters' names.

    Every bias that is needed must be there.
    """
    changed: dict[str, None] = {}
    for fold in plan.norms:
        changed.update(dict.fromkeys(_fold_norm(fold)))
    steps: dict[str, list[tuple[Callable[[Linear, AffineEdit], None], LinearFold]]] = {}
    for one in plan.inputs:
        steps.setdefault(one.layer.name, []).append((_fold_input, one))
    for one in plan.outputs:
        steps.setdefault(one.layer.name, []).append((_fold_output, one))
    for wanted in steps.values():  # one layer at a time: its matrix is in fp64 meanwhile
        layer = Linear(wanted[0][1].layer)
        for step, one in wanted:
            step(layer, one.edit)
            if one.changes_matrix:
                changed[layer.weight_name] = None
            if layer.bias is not None and (one.needs_bias or step is _fold_output):
                changed[layer.bias_name] = None
        layer.store()
    return tuple(changed)


def _fold_norm(fold: NormFold) -> list[str]:
    norm = fold.norm
    assert norm.weight_name is not None
    names = []
    factor = torch.ones(norm.width, dtype=torch.float64) if fold.scale is None else 1 + fold.scale
    if fold.scale is not None:
        weight, offset = norm.module.get_parameter(norm.weight_name), float(norm.unit_offset)
        weight.copy_((weight.to("cpu", torch.float64) + offset) * factor - offset)
        names.append(norm.weight_name)
    if norm.bias_name is not None:
        bias = norm.module.get_parameter(norm.bias_name)
        folded = bias.to("cpu", torch.float64) * factor
        bias.copy_(folded if fold.shift is None else folded + fold.shift)
        names.append(norm.bias_name)
    return [f"{norm.name}.{name}" for name in names]


def _fold_input(layer: Linear, edit: AffineEdit) -> None:
    """W x' + β with x' = M x + b (λ is in the edit): W' = W M, β' = β + W b."""
    matrix = layer.matrix
    if edit.shift is not None:
        assert layer.bias is not None
        layer.bias = layer.bias + matrix @ edit.shift.double()
    changed = matrix
    if edit.scale is not None:
        changed = changed + matrix * edit.scale.double()
    if edit.u is not None and edit.v is not None:
        changed = changed + (matrix @ edit.u.double()) @ edit.v.double().T
    layer.matrix = changed


def _fold_output(layer: Linear, edit: AffineEdit) -> None:
    """M (W x + β) + b: W' = M W, β' = M β + b."""
    layer.matrix = _moved(layer.matrix, edit)
    if layer.bias is not None:
        layer.bias = _moved(layer.bias[:, None], edit)[:, 0]
        if edit.shift is not None:
            layer.bias = layer.bias + edit.shift.double()


def _moved(columns: Tensor, edit: AffineEdit) -> Tensor:
    """M times each column."""
    changed = columns
    if edit.scale is not None:
        changed = changed + edit.scale.double()[:, None] * columns
    if edit.u is not None and edit.v is not None:
        changed = changed + edit.u.double() @ (edit.v.double().T @ columns)
    return changed


def _any(tensor: Tensor | None) -> bool:
    return tensor is not None and bool(tensor.any())
