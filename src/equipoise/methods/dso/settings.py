"""What can be set about a DSO fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, cast, get_args

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
        passages: pieces of plain text from which the metric of KL is estimated.
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
    steps: int = 6
    items: int = 216
    unambiguous: int = 64
    passages: int = 256
    passage_tokens: int = 16
    kl: float = 0.046
    kl_unambiguous: float = 0.1
    item_weight: float = 0.5
    mass_weight: float = 0.1
    density: float = 0.1
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        require(self, {"steps": 1, "items": 1, "unambiguous": 1, "passages": 1, "passage_tokens": 2})
        require(self, {"item_weight": 0.0, "mass_weight": 0.0})
        require_share(self, "density")
        require_budget(self, "kl", "kl_unambiguous")
        require_word(self, "objective", get_args(Objective))
        require_word(self, "precision", get_args(Precision))

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


def require(settings: object, least: Mapping[str, float]) -> None:
    """Raise InputError for a setting below its least value, or not finite."""
    for name, value in least.items():
        found = getattr(settings, name)
        if not value <= found < float("inf"):
            raise InputError(f"dso setting {name}={found}: it must be at least {value:g}")


def require_budget(settings: object, *names: str) -> None:
    """Raise InputError for a budget that isn't above 0."""
    for name in names:
        if not getattr(settings, name) > 0:
            raise InputError(f"dso setting {name}={getattr(settings, name)}: a budget must be above 0")


def require_share(settings: object, name: str) -> None:
    """Raise InputError for a share outside (0, 1]."""
    if not 0 < getattr(settings, name) <= 1:
        raise InputError(
            f"dso setting {name}={getattr(settings, name)}: a share must be above 0 and at most 1"
        )


def require_word(settings: object, name: str, words: Sequence[str]) -> None:
    """Raise InputError, naming the words there are, for another one."""
    if getattr(settings, name) not in words:
        raise InputError(f"dso setting {name}={getattr(settings, name)!r}: choose one of {', '.join(words)}")
