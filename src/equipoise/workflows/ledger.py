"""What a measurement costs: time by part, tokens run through the model beside how few would do, and what was kept."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..scoring import TokenCount
from .kept import Kept


@dataclass(eq=False)
class Ledger:
    """Counts while something is measured.

    Attributes:
        kept: what was measured before, None where nothing is kept.
        tokens: of all measurements, whether they were computed now or taken from what was kept.
        seconds: by part.
    """

    kept: Kept | None = None
    tokens: TokenCount = field(default_factory=TokenCount)
    seconds: Counter[str] = field(default_factory=Counter)

    def count(self, tokens: TokenCount) -> None:
        """Add what one measurement takes."""
        self.tokens += tokens

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start  # type: ignore[assignment]

    def as_dict(self) -> dict[str, Any]:
        """The key ``cost`` of results.json; everything under ``this_run`` may differ between equal audits."""
        found, added = (0, 1) if self.kept is None else (self.kept.tally[k] for k in ("found", "added"))
        return {
            "tokens": {"computed": self.tokens.computed, "unique": self.tokens.unique},
            "this_run": {
                "seconds": {name: round(float(seconds), 3) for name, seconds in self.seconds.items()},
                "kept": round(found / max(found + added, 1), 4),
            },
        }
