"""PEFT's LN tuning: an adapter that replaces norms by copies with weights of their own, beside the unchanged model."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..models import LoadedModel
from ..models.quiet import quiet
from .merge import Merged


def require_peft() -> None:
    """Raise :class:`InputError` with the command that installs it if the package peft is missing."""
    if importlib.util.find_spec("peft") is None:
        raise InputError("writing an adapter needs the package peft: pip install 'equipoise[peft]'")


def save_ln_tuning(loaded: LoadedModel, merged: Merged, folder: Path, *, base: str = "") -> LoadedModel:
    """Write what ``merged`` changed in ``loaded`` as a LN-tuning adapter; returns the model as peft reads it back.

    Args:
        loaded: the model that the adapter is for; it stays as it is.
        merged: that model with an intervention in its weights.
        folder: gets adapter_config.json and adapter_model.safetensors.
        base: what others load the model as, for the adapter's ``base_model_name_or_path``.

    An adapter replaces whole norms and nothing else. So it is exact where merging changed norms alone: scales at norms,
    and shifts at norms that have a bias. Raises :class:`InputError` for the rest: a shift at an RMSNorm, a low-rank
    part, any other site.
    """
    require_peft()
    from peft import LNTuningConfig, PeftModel, get_peft_model

    norms = {norm.name: norm for norm in loaded.anatomy.all_norms}
    owners = {name: name.rpartition(".")[0] for name in merged.changed}
    other = next((name for name, owner in owners.items() if owner not in norms), None)
    if merged.as_llama or other is not None:
        what = f"{other} would change" if other else "the model would have to be written as Llama"
        raise InputError(
            f"PEFT's LN tuning replaces norms alone, and {what}: it holds scales at norms, and shifts where the norm"
            " has a bias (an RMSNorm has none); merge instead (--format hf)"
        )
    targets = sorted(set(owners.values()))
    if not targets:
        raise InputError("there is nothing to write: the edit is zero at this strength")
    weights = merged.loaded.model
    with quiet():
        adapted: Any = get_peft_model(
            _copied(loaded), LNTuningConfig(target_modules=targets, inference_mode=True)
        )
        with torch.no_grad():
            for name in targets:
                own = adapted.base_model.model.get_submodule(name).ln_tuning_layers["default"]
                for part, parameter in own.named_parameters():
                    parameter.copy_(weights.get_parameter(f"{name}.{part}"))
        adapted.peft_config["default"].base_model_name_or_path = base or None
        adapted.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)  # peft's template; ours says what it is
        read: Any = PeftModel.from_pretrained(_copied(loaded), str(folder))
    return dataclasses.replace(
        loaded, model=read.base_model.model.eval(), name=f"{loaded.name} with the adapter"
    )


def _copied(loaded: LoadedModel) -> Any:
    return copy.deepcopy(loaded.model)
