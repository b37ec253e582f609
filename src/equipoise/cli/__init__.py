"""The command line: a thin face over the workflows. Bad input is one line on standard error and exit status 2."""

import errno
import io
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from ..errors import InputError, InputWarning

# Importing a command registers it.
from . import (  # noqa: F401
    answers,
    audit,
    choices,
    compare,
    convert,
    culture,
    demo,
    diff,
    export,
    fit,
    generate,
    hub,
    info,
    inject,
    layers,
    probe,
    scope,
    serve,
    utility,
)
from .app import app

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}
_INTERRUPTED = 130
_FULL = os.strerror(errno.ENOSPC)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (by default the program's) and return its exit status: 0, 2 for bad input, 130 on Ctrl-C."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        # Reports tell what made them, and a command's context knows only its own, parsed arguments.
        command = shlex.join(["equipoise", *given])
        with _warnings_as_lines():
            status = app(args=given, prog_name="equipoise", standalone_mode=False, obj=command)
        if status == _INTERRUPTED:  # some releases of typer turn Ctrl-C into this and say nothing
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except InputError as error:
        return _refuse(str(error))
    except BrokenPipeError:
        # Who read the output has gone ("| head"); flushing at exit must not complain about it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    except Exception as error:
        if (refused := _disk_refusal(error)) is not None:
            return _refuse(refused)
        # typer's own errors about usage; which module defines them differs between its releases.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        text = " ".join(message().split())
        if not text:  # no arguments: the help has been shown
            return 2
        return _refuse(f"{text} (equipoise --help shows what there is)")


def main() -> None:
    """The entry point ``equipoise``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no λ shows ? and goes on
    sys.exit(run())


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Our own warnings as a line on standard error each; others as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        show = warnings.showwarning

        def line(message: Any, category: type[Warning], *rest: Any, **named: Any) -> None:
            if issubclass(category, InputWarning):
                print(f"equipoise: warning: {message}", file=sys.stderr)
            else:
                show(message, category, *rest, **named)

        warnings.showwarning = line
        yield


def _disk_refusal(error: BaseException) -> str | None:
    """One line for a disk that is full or must not be written to, wherever that showed; None for other errors."""
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f"{error.filename}: " if error.filename else ""
        reason = error.strerror
    elif _FULL in str(error):  # safetensors' own writer wraps what the system said
        where, reason = "", _FULL
    else:
        return None
    return f"{where}{reason}: make room, or choose another place (EQUIPOISE_CACHE moves what is cached)"


def _refuse(message: str) -> int:
    print(f"equipoise: {message}", file=sys.stderr)
    return 2
