"""Mitigations as files: an instruction has one too, of the same format, with the text in the header."""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors.torch import save as serialise

from ..errors import InputError
from ..files import write_atomic
from ..interventions import Intervention, Provenance, read_header
from ..interventions.files import FORMAT, METADATA_KEY
from .mitigation import Mitigation, Prompting, Steering

KIND = "prompt"
_HEADER = frozenset({"format", "kind", "instruction", "provenance"})


def save_prompting(prompting: Prompting, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a file of the kind ``prompt`` atomically; raises InputError for an existing one without ``force``."""
    header = {
        "format": FORMAT,
        "kind": KIND,
        "instruction": prompting.instruction,
        "provenance": prompting.provenance.to_json(),
    }
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    return write_atomic(path, serialise({}, metadata={METADATA_KEY: text}), force=force)


def load_mitigation(path: str | os.PathLike[str]) -> Mitigation:
    """What one file holds: an intervention's, or an instruction's. A sum of files is read as interventions.

    Raises InputError, naming the file, for everything that is wrong with it.
    """
    if not Path(path).is_file() or read_header(path)["kind"] != KIND:
        return Steering(Intervention.load(path))
    header = read_header(path)
    if set(header) != _HEADER:
        wrong = sorted(set(header) ^ _HEADER)
        raise InputError(
            f"{path}: the header lacks or has beyond the known keys: {', '.join(wrong)}; fit it again"
        )
    try:
        if not isinstance(header["instruction"], str):
            raise InputError("the instruction is no text")
        return Prompting(header["instruction"], Provenance.from_json(header["provenance"]))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
