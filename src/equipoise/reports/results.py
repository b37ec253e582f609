"""results.json: what an audit or a comparison measured, as frozen values, checked when read.

The file's shape is in docs/contract.md (schema 1). Keys that this version doesn't know are kept. A number that is not
finite is written as null, and what was not measured is null.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import json_text, write_atomic
from ..metrics import Estimate
from .checked import Node
from .estimates import estimates, read_estimate, write_estimate

SCHEMA = 1
Json = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """One group (occupation) and its number of items.

    ``p_pro`` is the share of the stereotypical answer given an answer. Where outcomes are not pro and anti it is None;
    then there is the group's ``bias`` (as per-occupation bias), and the share of every outcome given an answer. Where
    targets are other than equal shares, ``bias`` stands beside ``p_pro``.
    """

    name: str
    p_pro: Estimate | None
    n: int
    bias: Estimate | None = None
    shares: Mapping[str, Estimate | None] = field(default_factory=dict)

    def to_dict(self) -> Json:
        """The entry in ``groups``."""
        entry: Json = {"name": self.name, "p_pro": write_estimate(self.p_pro), "n": self.n}
        if self.shares or self.bias is not None:
            entry["bias"] = write_estimate(self.bias)
        if self.shares:
            entry["shares"] = {outcome: write_estimate(share) for outcome, share in self.shares.items()}
        return entry


@dataclass(frozen=True)
class Run:
    """One task at one strength of one mitigation.

    ``mitigation`` is None for the base model, ``strength`` None where there is no dial, ``keep`` the kept share of an
    intervention's entries (None: all of them). ``seed`` None is the mean over all seeds of the file.
    ``metrics`` maps a metric's name to its estimate, or to None where it was not measured; ``changes`` the same for
    paired differences to the base model. ``baseline`` names the trivial baseline behind ``trivial_accuracy``.
    """

    task: str
    mitigation: str | None
    strength: float | None
    n: int
    metrics: Mapping[str, Estimate | None]
    groups: tuple[Group, ...] = ()
    split: str = "heldout"
    file: str | None = None
    keep: float | None = None
    seed: int | None = None
    changes: Mapping[str, Estimate | None] = field(default_factory=dict)
    baseline: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> Json:
        """The entry in ``runs``."""
        entry: Json = {
            **self.extra,
            "task": self.task,
            "split": self.split,
            "mitigation": self.mitigation,
            "file": self.file,
            "strength": self.strength,
            "keep": self.keep,
            "seed": self.seed,
            "n": self.n,
            "metrics": {name: write_estimate(estimate) for name, estimate in self.metrics.items()},
            "groups": [group.to_dict() for group in self.groups],
        }
        if self.changes:
            entry["changes"] = {name: write_estimate(estimate) for name, estimate in self.changes.items()}
        if self.baseline is not None:
            entry["baseline"] = self.baseline
        return entry


@dataclass(frozen=True)
class Advice:
    """The recommendation: ``strength`` None means that no strength fits, and ``reason`` says why."""

    mitigation: str | None
    strength: float | None
    reason: str
    budgets: Mapping[str, float | None] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> Json:
        """The entry ``recommendation``."""
        return {
            **self.extra,
            "mitigation": self.mitigation,
            "strength": self.strength,
            "reason": self.reason,
            "budgets": dict(self.budgets),
        }


@dataclass(frozen=True)
class Detection:
    """What a detector says, P(biased), of texts that the unsteered model reads.

    Attributes:
        category, site: the detector's.
        prompt: of the prompt.
        base: of the prompt and what the unsteered model wrote to it.
        steered: of the prompt and what was written with steering; None without an intervention.
        share: share of the new tokens during which steering was on; None without an intervention.
    """

    category: str
    site: str
    prompt: float
    base: float
    steered: float | None = None
    share: float | None = None


@dataclass(frozen=True)
class Generation:
    """What the model writes to a prompt, without and with the mitigation at the recommended strength.

    ``detection`` is there where a detector watched.
    """

    prompt: str
    base: str
    steered: str | None = None
    detection: Detection | None = None

    def to_dict(self) -> Json:
        """The entry in ``generations``."""
        entry: Json = {"prompt": self.prompt, "base": self.base, "steered": self.steered}
        return entry if self.detection is None else {**entry, "detection": asdict(self.detection)}


@dataclass(frozen=True)
class Results:
    """A whole results.json.

    ``model`` describes the model and has at least its ``name``; ``recommendation`` is None where there was nothing to
    recommend (the base model alone). ``extra`` holds further keys, for example ``versions`` and ``data``.
    """

    model: Mapping[str, Any]
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    recommendation: Advice | None = None
    level: float = 0.95
    equipoise: str = ""
    generations: tuple[Generation, ...] = ()
    command: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> Json:
        """The file's content; only finite numbers, strings, lists and dicts."""
        content: Json = {
            "schema": SCHEMA,
            "equipoise": self.equipoise,
            "model": dict(self.model),
            "seeds": list(self.seeds),
            "level": self.level,
            "recommendation": None if self.recommendation is None else self.recommendation.to_dict(),
            **self.extra,
            "runs": [run.to_dict() for run in self.runs],
        }
        if self.command is not None:
            content["command"] = self.command
        if self.generations:
            content["generations"] = [generation.to_dict() for generation in self.generations]
        cleaned: Json = _finite(content)
        return cleaned

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "results") -> Results:
        """Check and type a file's content. Raises :class:`InputError` that names ``source`` and the place in it."""
        top = Node(content, source)
        schema = top.take("schema", int)
        if schema != SCHEMA:
            raise InputError(f"{source}: schema is {schema}, but this version of equipoise reads {SCHEMA}")
        model = top.mapping("model")
        model.take("name", str)
        advice = top.optional("recommendation")
        return cls(
            model=model.value,
            seeds=tuple(item.integer() for item in top.items("seeds")),
            runs=tuple(_run(item) for item in top.items("runs")),
            recommendation=None if advice is None else _advice(advice),
            level=top.number("level", low=0, high=1),
            equipoise=top.take("equipoise", str),
            generations=tuple(
                Generation(item.take("prompt", str), item.take("base", str), item.text("steered"))
                for item in top.items("generations", required=False)
            ),
            command=top.text("command"),
            extra=top.rest(),
        )

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Results:
        """Read a file. Raises :class:`InputError` if it isn't there, is no JSON, or has another shape."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: can't be read ({error.strerror})") from error
        except ValueError as error:
            raise InputError(f"{path}: is no JSON ({error})") from error
        return cls.from_dict(content, str(path))

    def write(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the file whole or not at all; an existing one is replaced only with ``force``."""
        return write_atomic(path, json_text(self.to_dict()), force=force)


def _run(node: Node) -> Run:
    count = node.count("n")
    return Run(
        task=node.take("task", str),
        mitigation=node.text("mitigation"),
        strength=node.number_or_none("strength"),
        n=count,
        metrics=estimates(node.mapping("metrics"), count),
        groups=tuple(_group(item) for item in node.items("groups", required=False)),
        split=node.text("split") or "heldout",
        file=node.text("file"),
        keep=node.number_or_none("keep"),
        seed=node.integer_or_none("seed"),
        changes=estimates(node.mapping("changes", required=False), count),
        baseline=node.text("baseline"),
        extra=node.rest(),
    )


def _group(node: Node) -> Group:
    count = node.count("n")
    return Group(
        node.take("name", str),
        read_estimate(node.optional("p_pro"), count),
        count,
        read_estimate(node.optional("bias"), count),
        estimates(node.mapping("shares", required=False), count),
    )


def _advice(node: Node) -> Advice:
    budgets = node.mapping("budgets", required=False)
    return Advice(
        mitigation=node.text("mitigation"),
        strength=node.number_or_none("strength"),
        reason=node.take("reason", str),
        budgets={name: budgets.number_or_none(name) for name in budgets.value},
        extra=node.rest(),
    )


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_finite(item) for item in value]
    if hasattr(value, "item"):  # NumPy's scalars
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
