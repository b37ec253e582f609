"""What a comparison found, as frozen values: the key ``comparison`` of a results file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..metrics import Estimate, accuracy_drop
from .checked import Node
from .estimates import read_estimate, write_estimate
from .results import Json, Results

_NEAR = 1e-9


@dataclass(frozen=True)
class AtBudget:
    """One mitigation within one KL budget, at the strength chosen for each seed on validation data.

    Attributes:
        budget: highest KL to the base model, nats a token.
        strengths: seed -> λ; 0 is the base model, where nothing within the budget did better on validation data.
        candidates: seed -> what the choice was made from, each (λ, KL, validation bias).
        reason: why there is no strength, or one for some seeds only; None if every seed has one above 0.
        metrics: held-out metrics there; empty where the budget can't be kept.
        changes: paired differences to the base model.
        differences: name -> paired difference of per-occupation bias, this one's minus that one's.
        best_other: which of those is the best other mitigation of this budget.
    """

    budget: float
    strengths: Mapping[int, float]
    candidates: Mapping[int, tuple[tuple[float, float, float], ...]]
    reason: str | None
    metrics: Mapping[str, Estimate | None] = field(default_factory=dict)
    changes: Mapping[str, Estimate | None] = field(default_factory=dict)
    differences: Mapping[str, Estimate | None] = field(default_factory=dict)
    best_other: str | None = None

    @property
    def acts(self) -> bool:
        """Whether it is other than the base model for some seed."""
        return any(strength > 0 for strength in self.strengths.values())

    @property
    def bias(self) -> Estimate | None:
        """Held-out per-occupation bias."""
        return self.metrics.get("per_occupation_bias")

    @property
    def keeps_accuracy(self) -> bool:
        """Whether unambiguous accuracy falls by no more than :func:`equipoise.metrics.accuracy_drop`."""
        change = self.changes.get("unambiguous_accuracy")
        return change is None or not change.value < -accuracy_drop(change.n) - _NEAR

    def to_dict(self) -> Json:
        """The entry in ``budgets`` of a mitigation."""
        return {
            "budget": self.budget,
            "strengths": {str(seed): strength for seed, strength in self.strengths.items()},
            "candidates": {
                str(seed): [
                    dict(zip(("strength", "kl", "validation_bias"), one, strict=True)) for one in found
                ]
                for seed, found in self.candidates.items()
            },
            "reason": self.reason,
            "metrics": {name: write_estimate(one) for name, one in self.metrics.items()},
            "changes": {name: write_estimate(one) for name, one in self.changes.items()},
            "differences": {name: write_estimate(one) for name, one in self.differences.items()},
            "best_other": self.best_other,
        }


@dataclass(frozen=True)
class Compared:
    """One mitigation of a comparison.

    Attributes:
        name: how it is called here; ``methods`` are those that it was fitted with, ``files`` where its values are.
        dial: whether its strength can be chosen.
        size: entries that aren't zero, the mean over seeds.
        seconds: time to fit, the mean over seeds; None if it wasn't fitted here.
        rises: strengths at which bias rises beyond the paired interval of the step; None without a dial.
        notes: sentences about it.
        at: one entry a budget.
        settings: what its methods chose or were given, by term.
    """

    name: str
    methods: tuple[str, ...]
    files: tuple[str, ...]
    dial: bool
    size: float
    seconds: float | None
    rises: tuple[float, ...] | None
    notes: tuple[str, ...]
    at: tuple[AtBudget, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def monotone(self) -> bool | None:
        """Whether bias never rises beyond the interval of a step; None without a dial."""
        return None if self.rises is None else not self.rises

    def to_dict(self) -> Json:
        """The entry in ``mitigations``."""
        return {
            "name": self.name,
            "methods": list(self.methods),
            "files": list(self.files),
            "dial": self.dial,
            "size": self.size,
            "fit_seconds": self.seconds,
            "monotone": self.monotone,
            "rises": None if self.rises is None else list(self.rises),
            "notes": list(self.notes),
            "budgets": [one.to_dict() for one in self.at],
            "settings": dict(self.settings),
        }


@dataclass(frozen=True)
class Comparison:
    """All mitigations; ``best`` names each budget's lowest held-out bias (None: nothing acts within it)."""

    task: str
    budgets: tuple[float, ...]
    mitigations: tuple[Compared, ...]
    best: tuple[str | None, ...]
    verdict: str

    def to_dict(self) -> Json:
        """The key ``comparison``."""
        return {
            "task": self.task,
            "budgets": list(self.budgets),
            "best": list(self.best),
            "verdict": self.verdict,
            "mitigations": [one.to_dict() for one in self.mitigations],
        }

    @classmethod
    def of(cls, results: Results) -> Comparison | None:
        """The comparison in a results file; None if it is an audit's. Raises InputError for another shape."""
        found = Node(results.extra, "results").optional("comparison")
        if found is None:
            return None
        return cls(
            task=found.take("task", str),
            budgets=tuple(_number(one) for one in found.items("budgets")),
            mitigations=tuple(_compared(one) for one in found.items("mitigations")),
            best=tuple(_name(one.value) for one in found.items("best")),
            verdict=found.take("verdict", str),
        )


def _compared(node: Node) -> Compared:
    rises = None if node.value.get("rises") is None else tuple(_number(one) for one in node.items("rises"))
    return Compared(
        name=node.take("name", str),
        methods=tuple(str(one.value) for one in node.items("methods")),
        files=tuple(str(one.value) for one in node.items("files")),
        dial=node.take("dial", bool),
        size=node.number("size", low=0),
        seconds=node.number_or_none("fit_seconds"),
        rises=rises,
        notes=tuple(str(one.value) for one in node.items("notes")),
        at=tuple(_at(one) for one in node.items("budgets")),
        settings=dict(node.mapping("settings", required=False).value),
    )


def _at(node: Node) -> AtBudget:
    strengths, candidates = node.mapping("strengths"), node.mapping("candidates")
    return AtBudget(
        budget=node.number("budget", low=0),
        strengths={_seed(seed): strengths.number(seed) for seed in strengths.value},
        candidates={
            _seed(seed): tuple(
                (
                    one.number("strength"),
                    _nan(one.number_or_none("kl")),
                    _nan(one.number_or_none("validation_bias")),
                )
                for one in candidates.items(seed)
            )
            for seed in candidates.value
        },
        reason=node.text("reason"),
        metrics=_estimates(node.mapping("metrics")),
        changes=_estimates(node.mapping("changes")),
        differences=_estimates(node.mapping("differences")),
        best_other=node.text("best_other"),
    )


def _estimates(node: Node) -> dict[str, Estimate | None]:
    return {name: read_estimate(node.optional(name), 0) for name in node.value}


def _name(value: Any) -> str | None:
    return None if value is None else str(value)


def _seed(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _number(node: Node) -> float:
    value: Any = node.value
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value
