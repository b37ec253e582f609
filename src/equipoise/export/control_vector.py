"""llama.cpp's control vectors: shifts of the residual stream after blocks, as a file beside the unchanged model."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from ..errors import InputError
from ..interventions import Intervention
from ..models import LoadedModel
from .gguf import require_gguf

_OUT = re.compile(r"block\.(\d+)\.out")
_ELSE = "merge it instead (--format hf or gguf)"


def save_control_vector(
    loaded: LoadedModel, intervention: Intervention, strength: float, path: Path
) -> tuple[int, ...]:
    """Write λ b of every ``block.i.out`` as ``direction.i``; returns the blocks.

    llama.cpp adds ``direction.i`` to what block i gives, when it is told ``--control-vector FILE`` (scale 1), and knows
    none for block 0. Raises :class:`InputError` for whatever the format can't say: a scale, a low-rank part, other
    sites, block 0, the token scope ``answer``.
    """
    require_gguf()
    from gguf import GGUFWriter

    intervention.check(loaded)
    if intervention.scope != "all":
        raise InputError(
            f"a control vector acts on all tokens, not on {intervention.scope!r}: attach it live"
        )
    directions: dict[int, torch.Tensor] = {}
    for site, edit in (strength * intervention).edits.items():
        if not edit.nonzero:
            continue
        found = _OUT.fullmatch(site)
        if found is None:
            raise InputError(f"{site}: a control vector acts on block outputs (block.i.out) only: {_ELSE}")
        if (edit.scale is not None and bool(edit.scale.any())) or edit.rank:
            raise InputError(
                f"{site}: a control vector only adds, and this edit also multiplies: attach it live"
            )
        if int(found[1]) == 0:
            raise InputError(f"{site}: llama.cpp's control vectors begin with block 1: {_ELSE}")
        assert edit.shift is not None
        directions[int(found[1])] = edit.shift
    if not directions:
        raise InputError("there is nothing to write: the edit is zero at this strength")
    writer = GGUFWriter(path, "controlvector")
    writer.add_string(
        "controlvector.model_hint", str(loaded.model.config.get_text_config(decoder=True).model_type)
    )
    writer.add_uint32("controlvector.layer_count", len(directions))
    for block, shift in sorted(directions.items()):
        writer.add_tensor(f"direction.{block}", shift.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tuple(sorted(directions))
