"""A server that speaks OpenAI's protocol, in which every request chooses its own strength."""

from typing import TYPE_CHECKING, Any

from .engine import Busy, Down, Engine

if TYPE_CHECKING:
    from .app import make_app, run_server

__all__ = ["Busy", "Down", "Engine", "make_app", "run_server"]


def __getattr__(name: str) -> Any:
    # Starlette belongs to the extra "serve"; the engine works without it.
    if name in ("make_app", "run_server"):
        from . import app

        return getattr(app, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
