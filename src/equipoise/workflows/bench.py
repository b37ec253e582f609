"""Measuring one task at many strengths: held-out answers, validation answers and text, each once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from ..methods.mitigation import Mitigation
from ..metrics import Candidate, best_within, crossing, kl_to_base, per_occupation_bias, vertex
from ..models import LoadedModel
from .estimates import Measured
from .ledger import Ledger
from .measure import Acting, Answers, Asked, PlainText, TextMeasure, measure_text

# How often a strength that spends a budget is sought.
_TRIES = 3


class Bench:
    """What the mitigations of one comparison do, measured when asked for and remembered.

    The base model is every mitigation's strength 0.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        heldout: Asked,
        validation: Asked,
        text: PlainText,
        ledger: Ledger | None = None,
    ) -> None:
        self._loaded, self._text, self._ledger = loaded, text, ledger
        self._asked = {"heldout": heldout, "validation": validation}
        self._answers: dict[tuple[int, float, str, int], Answers] = {}
        self._texts: dict[tuple[int, float], TextMeasure] = {}
        # Kept, so that an id stays that of one object.
        self._seen: dict[int, Mitigation] = {}

    def measure(
        self, mitigation: Mitigation | None, strength: float, seeds: Sequence[int], sets: Sequence[str] = ()
    ) -> None:
        """Measure the text, and the ``sets`` ("heldout", "validation") of these seeds, unless that was done before."""
        place = self._place(mitigation, strength)
        lacking = {
            which: [seed for seed in seeds if (*place, which, seed) not in self._answers] for which in sets
        }
        if place in self._texts and not any(lacking.values()):
            return
        acting = None if self._ledger is None else Acting(self._ledger, mitigation, strength)
        with self._attached(mitigation, strength):
            for which, wanted in lacking.items():
                if wanted:
                    asked = self._asked[which]
                    encoded = asked.encoded
                    if mitigation is not None and place[1]:
                        encoded = asked.questions.encode_for(self._loaded, encoded, mitigation, strength)
                    found = asked.questions.measure(
                        self._loaded,
                        encoded,
                        seeds=wanted,
                        acting=acting,
                        mitigation=mitigation,
                        strength=place[1],
                    )
                    self._answers |= {(*place, which, seed): answers for seed, answers in found.items()}
            if place not in self._texts:
                self._texts[place] = (
                    self._text.measure(self._loaded, acting=acting)
                    if mitigation is None or not place[1]
                    else measure_text(self._loaded, self._text, mitigation, strength, self._ledger)
                )

    def measured(
        self, mitigations: Sequence[Mitigation | None], strengths: Sequence[float], seeds: Sequence[int]
    ) -> Measured:
        """The held-out answers and the text, each seed with its own mitigation and strength."""
        for mitigation, strength, seed in zip(mitigations, strengths, seeds, strict=True):
            self.measure(mitigation, strength, [seed], ["heldout"])
        places = [self._place(*pair) for pair in zip(mitigations, strengths, strict=True)]
        answers = [self._answers[*place, "heldout", seed] for place, seed in zip(places, seeds, strict=True)]
        return Measured(tuple(answers), tuple(self._texts[place] for place in places))

    def kl(self, mitigation: Mitigation | None, strength: float) -> float:
        """Mean nats a token on the text."""
        self.measure(mitigation, strength, ())
        found = kl_to_base(self._texts[self._place(mitigation, strength)].divergence)
        return float("nan") if found is None else found

    def bias(self, mitigation: Mitigation | None, strength: float, seed: int) -> float:
        """Per-occupation bias of the validation items; infinite where nothing was answered, which is not fair."""
        self.measure(mitigation, strength, [seed], ["validation"])
        place = self._place(mitigation, strength)
        found = per_occupation_bias(self._answers[*place, "validation", seed].responses)
        return float("inf") if found is None else found

    def candidates(self, mitigation: Mitigation, strengths: Sequence[float], seed: int) -> list[Candidate]:
        """The base model and these strengths, as a choice on validation data sees them."""
        return [
            Candidate(strength, self.kl(mitigation, strength), self.bias(mitigation, strength, seed))
            for strength in (0.0, *strengths)
        ]

    def refine(self, mitigation: Mitigation, candidates: list[Candidate], budget: float, seed: int) -> None:
        """Add to ``candidates`` a strength that spends the budget, and one where bias should be lowest.

        Only text and validation items are looked at.
        """
        known = [(one.strength, one.kl) for one in candidates]
        tried: list[tuple[float, float]] = []
        for _ in range(_TRIES):
            aim = crossing([*known, *tried], budget)
            if aim is None:
                break
            tried.append((aim, self.kl(mitigation, aim)))
        within = [(kl, strength) for strength, kl in tried if kl <= budget]
        if within:
            kl, strength = max(within)
            candidates.append(Candidate(strength, kl, self.bias(mitigation, strength, seed)))
        best = best_within(candidates, budget)
        between = None if best is None else vertex(candidates, best)
        if between is not None:
            kl = self.kl(mitigation, between)
            candidates.append(Candidate(between, kl, self.bias(mitigation, between, seed)))

    def _place(self, mitigation: Mitigation | None, strength: float) -> tuple[int, float]:
        if mitigation is None or strength == 0:
            return (0, 0.0)
        self._seen[id(mitigation)] = mitigation
        return (id(mitigation), strength)

    def _attached(self, mitigation: Mitigation | None, strength: float) -> AbstractContextManager[None]:
        return (
            nullcontext() if mitigation is None or not strength else mitigation.attach(self._loaded, strength)
        )
