"""The fits of a comparison: done once each, kept in its folder as they are done, and taken up again from there."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import write_atomic
from ..methods.mitigation import Mitigation, Prompting, Steering, as_mitigation
from ..models import LoadedModel
from ..tasks import Task, fingerprint
from ..versions import equipoise_version
from .entries import ToFit
from .fit import SUFFIX, run_fitter
from .inputs import load_file
from .progress import Report

INDEX = "fits.json"


@dataclass(frozen=True, eq=False)
class Fitted:
    """A method's result for one seed: ``file`` holds it (None: in no file), ``seconds`` is what fitting took."""

    mitigation: Mitigation
    seconds: float
    file: str | None


def file_name(label: str, seed: int | str | None) -> str:
    """How the file of a fit is called; ``seed`` is None where there is but one."""
    return f"{label}{SUFFIX}" if seed is None else f"{label}-seed{seed}{SUFFIX}"


class Fits:
    """Fits methods, and remembers what it has fitted in ``folder`` (None: nowhere).

    The folder gets a ``.safetensors`` file for each intervention as soon as it is there, and ``fits.json``, which says
    what was fitted with which settings on which data, so that only the same fit is taken up again.
    """

    def __init__(self, folder: Path | None, *, several: bool, resume: bool) -> None:
        self._folder, self._several, self._resume = folder, several, resume
        self._index: dict[str, Any] = {}
        if folder is not None and resume:
            self._index = _read_index(folder / INDEX)

    def file(self, label: str, seed: int) -> str:
        """How the file of one fit is called."""
        return file_name(label, seed if self._several else None)

    def free(self, labels: Sequence[str], seeds: Sequence[int], *, force: bool) -> None:
        """Raise :class:`InputError` for files that are there and aren't this comparison's to replace."""
        if self._folder is None or force:
            return
        if not self._resume and (self._folder / INDEX).exists():
            raise InputError(
                f"{self._folder} holds fits of a comparison: go on with --resume, choose another --out, or overwrite "
                "with --force"
            )
        own = {entry.get("file") for entry in self._index.values()}
        for name in (self.file(label, seed) for label in labels for seed in seeds):
            if (self._folder / name).exists() and name not in own:
                raise InputError(
                    f"{self._folder / name} exists already: choose another --out, or overwrite it with --force"
                )

    def fit(
        self,
        loaded: LoadedModel,
        task: Task,
        wanted: ToFit,
        seed: int,
        text: Sequence[str],
        report: Report,
    ) -> Fitted:
        """The fit of one method for one seed, from the folder if the very same is there."""
        name = self.file(wanted.label, seed)
        key = _key(loaded, task, wanted, seed, text)
        known = self._index.get(f"{wanted.label}-seed{seed}")
        if known is not None and known.get("key") == key:
            found = self._restore(known)
            if found is not None:
                report(1.0, f"{wanted.label}, seed {seed}: fitted before")
                return found
        checkpoint = None
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            checkpoint = self._folder / f".{name}.{key[:12]}.checkpoint"
        start = time.perf_counter()
        mitigation = as_mitigation(
            run_fitter(
                wanted.fitter,
                loaded,
                task,
                seed=seed,
                settings=wanted.settings,
                text=text,
                checkpoint=checkpoint,
                progress=lambda done, message: report(
                    done, f"fitting {wanted.label}, seed {seed}: {message}"
                ),
            )
        )
        fitted = Fitted(
            mitigation,
            time.perf_counter() - start,
            None if _saver(mitigation) is None else name,
        )
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        self._keep(f"{wanted.label}-seed{seed}", key, fitted)
        return fitted

    def _keep(self, label: str, key: str, fitted: Fitted) -> None:
        if self._folder is None:
            return
        entry: dict[str, Any] = {"key": key, "seconds": fitted.seconds, "file": fitted.file}
        if fitted.file is not None:
            # What may not be replaced was refused before anything was fitted.
            path = _saver(fitted.mitigation)(self._folder / fitted.file, force=True)
            entry["sha256"] = _sha256(path)
        elif isinstance(fitted.mitigation, Prompting):
            entry["instruction"] = fitted.mitigation.instruction
        else:
            return
        self._index[label] = entry
        text = json.dumps(self._index, indent=1, ensure_ascii=False, sort_keys=True)
        write_atomic(self._folder / INDEX, text + "\n", force=True)

    def _restore(self, known: Mapping[str, Any]) -> Fitted | None:
        assert self._folder is not None
        seconds = float(known.get("seconds", float("nan")))
        if known.get("file") is None:
            return Fitted(Prompting(str(known.get("instruction"))), seconds, None)
        path = self._folder / str(known["file"])
        if not path.is_file():
            return None
        if _sha256(path) != known.get("sha256"):
            raise InputError(
                f"{path} isn't what this comparison wrote: put it elsewhere, or start over with --force only"
            )
        return Fitted(load_file(str(path)), seconds, path.name)


def _saver(mitigation: Mitigation) -> Any:
    """How it is written to a file; None if it can't be."""
    return getattr(mitigation.intervention if isinstance(mitigation, Steering) else mitigation, "save", None)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_index(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} can't be read ({error}): start over with --force without --resume"
        ) from None
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise InputError(f"{path} is damaged: start over with --force without --resume")
    return found


def _key(loaded: LoadedModel, task: Task, wanted: ToFit, seed: int, text: Sequence[str]) -> str:
    """Equal exactly for fits that must come out equal."""
    split = task.split(seed)
    given = wanted.settings
    settings = asdict(given) if is_dataclass(given) and not isinstance(given, type) else repr(given)
    facts = [
        equipoise_version(),
        wanted.method,
        settings,
        seed,
        fingerprint([*split.train, *split.validation]),
        loaded.fingerprint.to_json(),
        hashlib.sha256("\0".join(text).encode()).hexdigest(),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=repr).encode()).hexdigest()
