"""Where an intervention came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import InputError
from ..models import Fingerprint

_KINDS: dict[str, tuple[type, ...]] = {
    "method": (str,),
    "config": (dict,),
    "model": (dict, type(None)),
    "data": (str, type(None)),
    "versions": (dict,),
    "seed": (int, type(None)),
    "steps": (list,),
    "terms": (list,),
}


@dataclass(frozen=True, eq=False)
class Provenance:
    """How an intervention was made; everything in it can be written as JSON.

    Attributes:
        method: name of the method that fitted it, "sum" for a sum, "manual" when the numbers came from elsewhere.
        config: the method's settings.
        model: fingerprint of the model it was fitted on; None if unknown, then only widths can be checked.
        data: hash of the data it was fitted on.
        versions: package name -> version at the time of fitting.
        seed: the fit's seed.
        steps: what was done to it since, in order ("times 0.5", "keep 0.1").
        terms: for a sum, what was added.
    """

    method: str = "manual"
    config: Mapping[str, Any] = field(default_factory=dict)
    model: Fingerprint | None = None
    data: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    steps: tuple[str, ...] = ()
    terms: tuple[Provenance, ...] = ()

    def then(self, step: str) -> Provenance:
        """The same origin with one more step done to it."""
        return replace(self, steps=(*self.steps, step))

    def __add__(self, other: Provenance) -> Provenance:
        """The origin of a sum: the terms are kept; sums of sums are flattened. Raises if the models differ."""
        mine, theirs = self.model, other.model
        if mine is not None and theirs is not None and not mine.matches(theirs):
            raise InputError(
                f"interventions of different models can't be added: {mine.mismatch(theirs)}; "
                "fit both on the same model"
            )
        return Provenance(
            method="sum",
            model=theirs if mine is None else mine,
            versions={**other.versions, **self.versions},
            terms=self._flat() + other._flat(),
        )

    def _flat(self) -> tuple[Provenance, ...]:
        return self.terms if self.terms and not self.steps else (self,)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary; :meth:`from_json` is its inverse."""
        return {
            "method": self.method,
            "config": dict(self.config),
            "model": None if self.model is None else self.model.to_json(),
            "data": self.data,
            "versions": dict(self.versions),
            "seed": self.seed,
            "steps": list(self.steps),
            "terms": [term.to_json() for term in self.terms],
        }

    @classmethod
    def from_json(cls, value: Any) -> Provenance:
        """Inverse of :meth:`to_json`. Missing and unknown keys and wrong types raise :class:`InputError`."""
        if not isinstance(value, dict) or set(value) != set(_KINDS):
            keys = sorted(value) if isinstance(value, dict) else type(value).__name__
            raise InputError(f"provenance must have exactly the keys {sorted(_KINDS)}, not {keys}")
        for key, allowed in _KINDS.items():
            if not isinstance(value[key], allowed):
                raise InputError(f"provenance: {key} can't be a {type(value[key]).__name__}")
        return cls(
            method=value["method"],
            config=value["config"],
            model=None if value["model"] is None else Fingerprint.from_json(value["model"]),
            data=value["data"],
            versions=value["versions"],
            seed=value["seed"],
            steps=tuple(str(step) for step in value["steps"]),
            terms=tuple(cls.from_json(term) for term in value["terms"]),
        )
