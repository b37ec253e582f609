"""Steering: the repository's ``HookInterventions`` and ``get_layernorms``."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import InputError
from ..interventions import Attached, Intervention, attach, convert_dso_pt
from ..models import LoadedModel, find_anatomy

Norms = Mapping[str, nn.Module] | Iterable[nn.Module]


def get_layernorms(model: PreTrainedModel | LoadedModel) -> dict[str, nn.Module]:
    """The norms that DSO edits, by site name (``block.i.norm.j``), in the order in which they run.

    Every norm inside the text backbone's blocks; norms of queries and keys and the final norm are left alone.
    Raises :class:`InputError` if the model's blocks can't be found.
    """
    anatomy = model.anatomy if isinstance(model, LoadedModel) else find_anatomy(model)
    return {norm.site: norm.module for norm in anatomy.norms}


class HookInterventions:
    """A model with an intervention attached to its norms, from construction on, at strength 1.

    The model itself is steered, so ``model.generate`` and this object's ``generate`` give the same; any attribute that
    isn't the intervention's is the model's.

    Args:
        model: a Hugging Face model, or what :func:`equipoise.load` returned.
        get_layernorms: picks the norms to steer: gives modules, or a mapping to modules, of ``model``. Edits at other
            sites are left out.
        intervention_path: our file, or a ``.pt`` file of the DSO repository.
        intervention: instead of a path, the intervention itself.

    Raises :class:`InputError` if the intervention belongs to another model, or if a picked module is no such norm.
    """

    def __init__(
        self,
        model: PreTrainedModel | LoadedModel,
        get_layernorms: Callable[[Any], Norms] = get_layernorms,
        intervention_path: str | os.PathLike[str] | None = None,
        *,
        intervention: Intervention | None = None,
    ) -> None:
        if (intervention_path is None) == (intervention is None):
            raise InputError("HookInterventions needs either intervention_path or intervention")
        self.loaded = _bare(model)
        if intervention is None:
            assert intervention_path is not None
            intervention = _read(intervention_path, self.loaded)
        sites = _sites(get_layernorms(model), self.loaded)
        edits = {site: edit for site, edit in intervention.edits.items() if site in sites}
        if not edits:
            raise InputError("the intervention edits none of the norms that get_layernorms picked")
        self.intervention = Intervention(edits, intervention.scope, intervention.provenance)
        self._attached: Attached = attach(self.loaded, self.intervention, 1.0)

    def set_strength(self, strength: float) -> None:
        """Set λ: 0 is the base model, bit for bit; 1 is the intervention as trained. Acts on tokens computed later."""
        self._attached.strength = strength

    def sparsify(self, keep: float) -> None:
        """Keep only the strongest fraction ``keep`` of the entries, of the intervention as it was loaded."""
        strength = self._attached.strength
        sparse = self.intervention.sparsify(keep)
        self._attached.detach()
        self._attached = attach(self.loaded, sparse, strength)

    def remove(self) -> None:
        """Take the intervention off the model, which is then the base model, bit for bit."""
        self._attached.detach()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The steered model's forward pass."""
        return self.loaded.model(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # Asked only for what this class lacks; before __init__ is through there is no model to ask.
        if name == "loaded":
            raise AttributeError(name)
        return getattr(self.loaded.model, name)


def _bare(model: PreTrainedModel | LoadedModel) -> LoadedModel:
    """``model`` with its anatomy. Steering needs no tokenizer, and the repository's hooks take none."""
    if isinstance(model, LoadedModel):
        return model
    return LoadedModel(
        model, cast(PreTrainedTokenizerBase, None), name=model.name_or_path or type(model).__name__
    )


def _sites(picked: Norms, loaded: LoadedModel) -> tuple[str, ...]:
    """The sites of the modules that the user's ``get_layernorms`` picked."""
    known = {norm.module: norm.site for norm in loaded.anatomy.all_norms}
    modules = list(picked.values() if isinstance(picked, Mapping) else picked)
    for module in modules:
        if module not in known:
            raise InputError(
                f"get_layernorms gave a {type(module).__name__} that is no norm of {loaded.name}'s text blocks:"
                " pick from those that equipoise.dso.get_layernorms gives"
            )
    return tuple(known[module] for module in modules)


def _read(path: str | os.PathLike[str], loaded: LoadedModel) -> Intervention:
    """Our file, or a file of the DSO repository: told apart by what is in it, since either may end in ``.pt``."""
    if Path(path).is_file():
        with open(path, "rb") as stream:
            start = stream.read(2)
        if start == b"PK" or start[:1] == b"\x80":
            # The paper's edit is y + λ (a ⊙ y + b), so a scale of 0 is the one without effect.
            return convert_dso_pt(path, loaded, scale="delta")
    return Intervention.load(path)
