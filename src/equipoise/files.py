"""Writing files whole or not at all, and reading text."""

import os
import tempfile
from pathlib import Path

from .errors import InputError


def refuse_existing(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Return ``path``, or raise :class:`InputError` if something is there and ``force`` is not set."""
    target = Path(path)
    if target.exists() and not force:
        raise InputError(f"{target} exists already: choose another --out, or add --force to overwrite it")
    return target


def read_text(path: str | os.PathLike[str], what: str, remedy: str) -> str:
    """The UTF-8 text of a file, without the byte order mark that some programs put first.

    Raises :class:`InputError`, beginning with ``what`` and ending with ``remedy``, if it can't be read as that.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise InputError(f"{what}: can't read {path} ({reason}): {remedy}") from error


def write_atomic(path: str | os.PathLike[str], data: bytes | str, *, force: bool = False) -> Path:
    """Write ``data`` to ``path`` so that a reader sees the old file or the new one, never a part.

    Text is written as UTF-8. Missing parent folders are made. Raises :class:`InputError` if the file
    exists and ``force`` is not set.
    """
    target = refuse_existing(path, force=force)
    target.parent.mkdir(parents=True, exist_ok=True)
    payload = data.encode("utf-8") if isinstance(data, str) else data
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files private; an ordinary result should be readable like any other new file.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target
