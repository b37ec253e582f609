"""What can be set about a DSO fit."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, cast, get_args, get_type_hints

from ...errors import InputError

T = TypeVar("T")

Objective = Literal["smooth", "paper"]
Precision = Literal["auto", "bfloat16", "model"]


@dataclass(frozen=True)
class DsoSettings:
    """Settings of :func:`equipoise.methods.dso.fit`; every one can be given as ``--set key=value``.

    Attributes:
        objective: ``smooth`` drives the squared log-odds between outcomes to zero; ``paper`` the expectation of
            the paper's ±1 reward, −|P(pro) − P(anti)| (its sign is estimated anew at every step).
        steps: passes over fresh training items.
        items: ambiguous training items a step, the same number for every occupation.
        unambiguous: unambiguous training items a step, whose answers must not move.
        passages: plain passages from which the metric of KL is estimated.
        passage_tokens: tokens of each.
        kl: ε, the KL budget on plain text, mean nats a token.
        kl_unambiguous: the KL budget at the answer of unambiguous prompts, nats.
        item_weight: weight of single items' log-odds beside those of whole occupations; 0 leaves wordings free.
        mass_weight: how firmly the probability of answering at all is held.
        density: the largest share of entries that the ℓ1 proximal step leaves other than zero; 1 is no ℓ1.
        precision: ``auto`` computes in bf16 where a float32 model runs on a CPU with fast bf16 products, ``bfloat16``
            always, ``model`` in the model's own type.
    """

    objective: Objective = "smooth"
    steps: int = 5
    items: int = 160
    unambiguous: int = 64
    passages: int = 96
    passage_tokens: int = 32
    kl: float = 0.06
    kl_unambiguous: float = 0.1
    item_weight: float = 0.5
    mass_weight: float = 0.1
    density: float = 0.1
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for name in ("steps", "items", "unambiguous", "passages"):
            if getattr(self, name) < 1:
                raise InputError(f"dso setting {name}={getattr(self, name)}: it must be at least 1")
        if self.passage_tokens < 2:
            raise InputError(f"dso setting passage_tokens={self.passage_tokens}: it must be at least 2")
        for name in ("kl", "kl_unambiguous"):
            if not getattr(self, name) > 0:
                raise InputError(f"dso setting {name}={getattr(self, name)}: a budget must be above 0")
        for name in ("item_weight", "mass_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"dso setting {name}={getattr(self, name)}: a weight must be at least 0")
        if not 0 < self.density <= 1:
            raise InputError(f"dso setting density={self.density}: a share must be above 0 and at most 1")
        for name in ("objective", "precision"):
            if getattr(self, name) not in get_args(hints[name]):
                raise InputError(
                    f"dso setting {name}={getattr(self, name)!r}: choose one of {', '.join(get_args(hints[name]))}"
                )

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> "DsoSettings":
        """Settings from texts, as the command line gives them.

        Raises InputError for an unknown key (naming those there are) or a value that doesn't fit.
        """
        return parse_settings(cls, "dso", given)


def parse_settings(kind: type[T], method: str, given: Mapping[str, str]) -> T:
    """A settings dataclass from texts; each field's default says whether it is an int, a float or a word."""
    known: dict[str, Any] = {field.name: field.default for field in fields(cast(Any, kind))}
    values: dict[str, Any] = {}
    for key, text in given.items():
        if key not in known:
            raise InputError(f"{method} has no setting {key!r}: choose from {', '.join(known)}")
        wanted = type(known[key])
        try:
            values[key] = wanted(text)
        except ValueError:
            raise InputError(
                f"{method} setting {key}={text!r}: give a number, such as {known[key]}"
            ) from None
    return kind(**values)
