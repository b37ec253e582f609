"""The folder for caches, and folders in it that are made once, whoever asks first."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """``$EQUIPOISE_CACHE``, by default ``$XDG_CACHE_HOME/equipoise``, that is ``~/.cache/equipoise``."""
    own = os.environ.get("EQUIPOISE_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "equipoise"


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """``folder``, which ``make`` writes where there is none yet: it gets the path of a folder that it may create.

    Several processes may ask at once: one makes it, the others wait. A folder is there whole or not at all.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock")):
        if not folder.is_dir():
            # Of a process that was killed.
            for remains in folder.parent.glob(f".{glob.escape(folder.name)}.tmp*"):
                shutil.rmtree(remains)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.tmp") as temporary:
                made = Path(temporary) / "model"
                make(made)
                os.replace(made, folder)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file ``path`` as a lock between processes."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # released when the file is closed, also by a process that dies
        yield
