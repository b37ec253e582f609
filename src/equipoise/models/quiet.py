"""Keeping transformers quiet while it loads: its bars and advice are about things that the user did not ask for."""

import contextlib
import io
import logging as python_logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import transformers


@contextlib.contextmanager
def quiet(*, bars: bool = False) -> Iterator[None]:
    """Within, transformers logs errors only, and shows progress bars only if ``bars``; then all is as it was."""
    logging: Any = transformers.utils.logging
    verbosity, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub = python_logging.getLogger("huggingface_hub")
    hub_level = hub.level
    logging.set_verbosity_error()
    hub.setLevel(python_logging.CRITICAL)  # it logs each attempt to reach the network
    if not bars:
        logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hub.setLevel(hub_level)
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


@contextlib.contextmanager
def one_line(message: str) -> Iterator[None]:
    """Print ``message`` to stderr, and on the same line "done" when it is; whatever else is printed there is dropped.

    With the environment variable EQUIPOISE_QUIET set nothing is printed.
    """
    real = sys.stderr
    show = not os.environ.get("EQUIPOISE_QUIET")
    if show:
        print(message, end=" … ", file=real, flush=True)
    end = "failed"
    try:
        with quiet(), contextlib.redirect_stderr(io.StringIO()):
            yield
        end = "done"
    finally:
        if show:
            print(end, file=real, flush=True)
