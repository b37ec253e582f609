"""What a running fit tells whoever watches."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One report: ``step`` of ``steps`` done, and how the state of this step does on validation data.

    Attributes:
        bias: per-occupation bias there (sampled fits: minus the mean reward), None before the first measurement.
        kl: nats a plain-text token, likewise.
        message: what was just done, in a few words.
    """

    step: int
    steps: int
    message: str
    bias: float | None = None
    kl: float | None = None

    @property
    def fraction(self) -> float:
        """Share of the steps that are done."""
        return self.step / self.steps


Report = Callable[[Progress], None]
