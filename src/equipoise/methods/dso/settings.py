"""What can be set about a DSO fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import InputError
from ..settings import parse_settings, require, require_budget, require_share, require_word

Objective = Literal["smooth", "paper"]
Precision = Literal["auto", "bfloat16", "model"]


@dataclass(frozen=True)
class DsoSettings:
    """Settings of :func:`equipoise.methods.dso.fit`; every one can be given as ``--set key=value``.

    Attributes:
        objective: ``smooth`` drives the squared log-odds between outcomes to zero; ``paper`` the expectation of
            the paper's ±1 reward, −|P(pro) − P(anti)| (its sign is estimated anew at every step).
        steps: passes over fresh training items.
        items: ambiguous training items in each of the last two steps, half as many in those before, if that
            is one for every occupation; the same number for each, and turns where there are more.
        unambiguous: unambiguous training items a step, whose answers must not move.
        confidence: the probability of the right answer up to which these should rise all the same, in [0, 1). Where
            a model is often wrong, an edit that removes what it leaned on costs right answers, unless others are won.
        passages: pieces of plain text from which the metric of KL is estimated.
        passage_tokens: tokens of each.
        kl: ε, the KL budget on plain text, mean nats a token.
        kl_unambiguous: the KL budget at the answer of unambiguous prompts, nats.
        accuracy_drop: how far accuracy on unambiguous validation items may fall, a share; 0 for a point, or two answers
            where that is more, ten points at most.
        item_weight: weight of single items' log-odds beside those of whole occupations; 0 leaves wordings free.
        mass_weight: how firmly the probability of answering at all is held.
        density: the largest share of entries that the ℓ1 proximal step leaves other than zero; 1 is no ℓ1.
        reach: how many times longer the first step may become where the answers fall short of the linear model; 1 is
            never. A single step may become as much longer again, until it spends ``kl``, if that lowers bias.
        precision: ``auto`` computes in bf16 where a float32 model runs on a CPU with fast bf16 products, ``bfloat16``
            always, ``model`` in the model's own type.
    """

    objective: Objective = "smooth"
    steps: int = 5
    items: int = 216
    unambiguous: int = 64
    confidence: float = 0.0
    passages: int = 256
    passage_tokens: int = 16
    kl: float = 0.05
    kl_unambiguous: float = 0.1
    accuracy_drop: float = 0.0
    item_weight: float = 0.5
    mass_weight: float = 0.1
    density: float = 0.2
    reach: float = 2.0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        require("dso", self, {"steps": 1, "items": 1, "unambiguous": 1, "passages": 1, "passage_tokens": 2})
        require("dso", self, {"accuracy_drop": 0.0, "item_weight": 0.0, "mass_weight": 0.0, "reach": 1.0})
        require_share("dso", self, "density")
        if not 0 <= self.confidence < 1:
            raise InputError(f"dso setting confidence={self.confidence}: it must be at least 0 and below 1")
        require_budget("dso", self, "kl", "kl_unambiguous")
        require_word("dso", self, "objective", get_args(Objective))
        require_word("dso", self, "precision", get_args(Precision))

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> "DsoSettings":
        """Settings from texts, as the command line gives them.

        Raises InputError for an unknown key (naming those there are) or a value that doesn't fit.
        """
        return parse_settings(cls, "dso", given)
