"""The state of a running fit on disk, so that an interrupted one goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...errors import InputError
from ...files import write_atomic
from ...models import LoadedModel
from ..validation import Validated


@dataclass(frozen=True, eq=False)
class Saved:
    """What a checkpoint holds: the step, the vectors (the last is the best so far), prices and best figures."""

    step: int
    vectors: tuple[Tensor, ...]
    prices: tuple[float, ...]
    figures: Validated


class Checkpoint:
    """One file; ``key`` says which fit it belongs to (settings, data, model, seed), and no other may resume from it."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key

    def load(self) -> Saved | None:
        """The saved state; None if there is no file. Raises InputError for a broken file or another fit's."""
        if not self._path.exists():
            return None
        try:
            with safe_open(self._path, framework="pt") as file:
                header = json.loads((file.metadata() or {})["state"])
                vectors = tuple(file.get_tensor(str(i)) for i in range(header["vectors"]))
        except (SafetensorError, OSError, KeyError, ValueError):
            raise InputError(f"{self._path} is no readable checkpoint: delete it to start again") from None
        if header["key"] != self._key:
            raise InputError(
                f"{self._path} belongs to another fit (other settings, data, model or seed): "
                "delete it, or name another checkpoint"
            )
        return Saved(header["step"], vectors, tuple(header["prices"]), Validated(**header["figures"]))

    def save(self, step: int, vectors: Sequence[Tensor], prices: Sequence[float], figures: Validated) -> None:
        """Replace the file by this state."""
        header = {
            "key": self._key,
            "step": step,
            "vectors": len(vectors),
            "prices": list(prices),
            "figures": asdict(figures),
        }
        tensors = {str(i): vector.contiguous().clone() for i, vector in enumerate(vectors)}
        write_atomic(self._path, save(tensors, metadata={"state": json.dumps(header)}), force=True)

    def remove(self) -> None:
        """Delete the file: the fit is finished."""
        self._path.unlink(missing_ok=True)


def checkpoint_key(
    settings: object, data: str, loaded: LoadedModel, seed: int, passages: Sequence[str], reward: str = ""
) -> str:
    """What must be equal for a fit to go on from another's state, as a hash; ``settings`` is a dataclass."""
    parts = [
        repr(settings),
        data,
        loaded.fingerprint.to_json(),
        str(loaded.dtype),
        seed,
        list(passages),
        reward,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
