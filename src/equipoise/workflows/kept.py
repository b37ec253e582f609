"""What was measured before: kept as it is measured, so that nothing is measured twice and a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..interventions import InjectedToken
from ..methods.mitigation import Mitigation
from ..models import LoadedModel, cache_folder, weights_digest
from ..scoring import EncodedItem, Journal
from ..tasks import Item, fingerprint
from ..versions import versions

# Raise this when equal inputs get other numbers: what was kept before is then no longer used.
SCORING = 2

Kind = Literal["answers", "text", "generations"]


def default_folder() -> Path | None:
    """``scores`` in the folder for caches, ``$EQUIPOISE_CACHE``, else ``~/.cache/equipoise``.

    None where ``EQUIPOISE_NO_CACHE`` is set.
    """
    return None if os.environ.get("EQUIPOISE_NO_CACHE") else cache_folder() / "scores"


@dataclass(frozen=True, eq=False)
class Kept:
    """Journals of one model, in ``folder``, each under everything that its numbers depend on.

    ``facts`` are of the model: a digest of all weights, its number type, the injected tokens, the releases of what
    computes. ``tally`` counts the entries ``found`` and ``added``.
    """

    folder: Path
    facts: Mapping[str, Any]
    tally: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(
        cls, folder: str | os.PathLike[str] | None, loaded: LoadedModel, tokens: Sequence[InjectedToken] = ()
    ) -> Kept | None:
        """For a model as it is now, before anything is attached; None for no ``folder``, or a model with hooks."""
        if folder is None:
            return None
        weights = weights_digest(loaded)
        if weights is None:
            return None
        facts = {
            "scoring": SCORING,
            "versions": versions(),
            "model": weights,
            "dtype": str(loaded.dtype),
            "device": loaded.device.type,
            "tokens": [token.digest for token in tokens],
        }
        return cls(Path(folder), facts)

    def journal(
        self, kind: Kind, data: str, mitigation: Mitigation | None = None, strength: float = 0.0
    ) -> Journal | None:
        """The journal of one measurement; None where what steers has no name (:attr:`Mitigation.digest`)."""
        acting = mitigation.digest if mitigation is not None and strength else ""
        if acting is None:
            return None
        facts = {
            **self.facts,
            "kind": kind,
            "data": data,
            "mitigation": acting,
            "strength": strength if acting else 0.0,
        }
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        path = self.folder / str(self.facts["model"])[:16] / f"{kind}-{key[:32]}.jsonl"
        return Journal(path, facts, self.tally)


def data_of(items: Sequence[Item], encoded: Sequence[EncodedItem]) -> str:
    """A hash of what is asked: the items, images included, and the very tokens that the model reads."""
    tokens = [(one.prompt, one.options) for one in encoded]
    return hashlib.sha256(f"{fingerprint(items)} {tokens}".encode()).hexdigest()
