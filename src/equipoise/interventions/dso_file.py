"""Converting a DSO ``.pt`` file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ..errors import InputError
from ..models import LoadedModel
from .edit import AffineEdit
from .intervention import Intervention
from .pickles import read_pickle
from .provenance import Provenance

ScaleMeaning = Literal["delta", "factor"]

_SCALE = ("scale", "scales", "weight", "a", "gamma")
_SHIFT = ("shift", "shifts", "bias", "b", "beta")
_WRAPPERS = ("interventions", "state_dict", "model_state_dict")
_PREFIXES = ("", "model.", "module.", "_orig_mod.")


def convert_dso_pt(
    path: str | os.PathLike[str], loaded: LoadedModel, *, scale: ScaleMeaning | None = None
) -> Intervention:
    """Read the interventions of a DSO ``.pt`` file for ``loaded``; save the result as safetensors.

    The layout of these files is not published, so this accepts what one could plausibly be, and refuses the rest:

    - a flat dictionary, "<norm>.scale" and "<norm>.shift" -> [d];
    - a nested dictionary, "<norm>" -> {"scale": [d], "shift": [d]} or (scale, shift);
    - a list with one such dictionary or pair for each norm, in the order of the blocks;
    - {"scale": [norms, d], "shift": [norms, d]}, the norms in the order of the blocks;

    each possibly inside {"interventions": …} or {"state_dict": …}. "<norm>" is the module's path in the model or one
    of our sites; for scale and shift also weight and bias, a and b, or gamma and beta are understood. Tensors may have
    leading dimensions of size one.

    Args:
        scale: what the file's scales are: "delta" for ``y' = y + λ (a ⊙ y + b)`` (no effect at a = 0), "factor" for
            ``y' = a ⊙ y + b`` at λ = 1 (no effect at a = 1). It can't be told from the numbers with certainty, so it
            must be said.

    Raises InputError for everything else, in one line.
    """
    return convert_dso(path, read_pickle(path), loaded, scale=scale)


def convert_dso(
    path: str | os.PathLike[str], content: Any, loaded: LoadedModel, *, scale: ScaleMeaning | None = None
) -> Intervention:
    """:func:`convert_dso_pt` for what has been read already; ``path`` is for messages."""
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and set(content) == {wrapper}:
            content = content[wrapper]
    norms = loaded.anatomy.norms
    if isinstance(content, Mapping) and content and all(_role(str(key)) for key in content):
        columns = {key: _stack(path, key, value, len(norms)) for key, value in content.items()}
        content = [{key: value[index] for key, value in columns.items()} for index in range(len(norms))]
    if isinstance(content, Mapping):
        pairs = _by_name(path, content, loaded)
    elif isinstance(content, Sequence) and not isinstance(content, str):
        if len(content) != len(norms):
            raise InputError(
                f"{path} lists {len(content)} norms and {loaded.name} has {len(norms)}: wrong model?"
            )
        pairs = {norm.site: _pair(path, norm.site, entry) for norm, entry in zip(norms, content, strict=True)}
    else:
        raise InputError(
            f"{path} holds a {type(content).__name__}, no layout that we know: see convert_dso_pt"
        )
    if any(a is not None for a, _ in pairs.values()) and scale not in ("delta", "factor"):
        raise InputError(
            f"{path}: say what its scales mean: scale='delta' if 0 has no effect, scale='factor' if 1 has none"
        )
    edits = {}
    for site, (a, b) in pairs.items():
        try:
            edits[site] = AffineEdit(a - 1 if a is not None and scale == "factor" else a, b)
        except InputError as error:
            raise InputError(f"{path}: {site}: {error}") from None
    origin = Provenance("dso", {"converted_from": Path(path).name, "scale": scale}, loaded.fingerprint)
    intervention = Intervention(edits, "all", origin)
    intervention.check(loaded)
    return intervention


def _by_name(
    path: str | os.PathLike[str], content: Mapping[Any, Any], loaded: LoadedModel
) -> dict[str, tuple[Tensor | None, Tensor | None]]:
    sites = {name: norm.site for norm in loaded.anatomy.all_norms for name in (norm.name, norm.site)}
    nested: dict[str, Any] = {}
    for key, value in content.items():
        name, _, last = str(key).rpartition(".")
        if isinstance(value, Tensor) and _role(last):
            nested.setdefault(name, {})[last] = value
        else:
            nested[str(key)] = value
    pairs: dict[str, tuple[Tensor | None, Tensor | None]] = {}
    for name, value in nested.items():
        site = _find(name, sites)
        if site is None:
            raise InputError(
                f"{path}: {name!r} names no norm of {loaded.name}: a file of another model or layout"
            )
        if site in pairs:
            raise InputError(f"{path}: {name!r} and another key both name {site}: keep one of them")
        pairs[site] = _pair(path, name, value)
    if not pairs:
        raise InputError(f"{path} is empty: there is nothing to convert")
    return pairs


def _find(name: str, sites: Mapping[str, str]) -> str | None:
    for prefix in _PREFIXES:
        if name.startswith(prefix) and name.removeprefix(prefix) in sites:
            return sites[name.removeprefix(prefix)]
        if prefix + name in sites:
            return sites[prefix + name]
    return None


def _pair(path: str | os.PathLike[str], name: str, value: Any) -> tuple[Tensor | None, Tensor | None]:
    if isinstance(value, Mapping):
        roles: dict[str, Any] = {}
        for key, tensor in value.items():
            role = _role(str(key))
            if role is None or role in roles:
                raise InputError(
                    f"{path}: {name}: unknown or repeated key {key!r}: we know {_SCALE} and {_SHIFT}"
                )
            roles[role] = tensor
        a, b = roles.get("scale"), roles.get("shift")
    elif isinstance(value, tuple | list) and len(value) == 2:
        a, b = value
    else:
        raise InputError(
            f"{path}: {name} holds a {type(value).__name__}, neither scale and shift nor a pair of them"
        )
    return _vector(path, name, a), _vector(path, name, b)


def _vector(path: str | os.PathLike[str], name: str, value: Any) -> Tensor | None:
    if value is None:
        return None
    if not isinstance(value, Tensor) or value.numel() != (value.shape[-1] if value.dim() else -1):
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"{path}: {name}: expected a tensor [width], found {shape}")
    return value.detach().float().reshape(-1)


def _stack(path: str | os.PathLike[str], key: Any, value: Any, norms: int) -> Tensor:
    if not isinstance(value, Tensor) or value.dim() != 2 or value.shape[0] != norms:
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"{path}: {key!r} must be a tensor [{norms} norms, width], found {shape}")
    return value


def _role(key: str) -> str | None:
    return "scale" if key in _SCALE else "shift" if key in _SHIFT else None
