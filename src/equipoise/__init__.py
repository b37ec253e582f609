"""Equipoise: put a language model on an even footing.

``load`` a model, ``audit`` its bias, ``fit`` an :class:`Intervention`, ``attach`` it with a strength.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import InputError
    from .interventions import AffineEdit, Intervention, attach
    from .models import LoadedModel, load
    from .reports import Results
    from .tasks import Item, Task, load_task
    from .workflows import audit, choices, convert, demo, fit, generate, info

# Loaded when asked for: torch alone takes seconds, and `equipoise --help` needs none of it.
_HOMES = {
    "AffineEdit": "interventions",
    "InputError": "errors",
    "Intervention": "interventions",
    "Item": "tasks",
    "LoadedModel": "models",
    "Results": "reports",
    "Task": "tasks",
    "attach": "interventions",
    "audit": "workflows",
    "choices": "workflows",
    "convert": "workflows",
    "demo": "workflows",
    "fit": "workflows",
    "generate": "workflows",
    "info": "workflows",
    "load": "models",
    "load_task": "tasks",
}

__all__ = [
    "AffineEdit",
    "InputError",
    "Intervention",
    "Item",
    "LoadedModel",
    "Results",
    "Task",
    "attach",
    "audit",
    "choices",
    "convert",
    "demo",
    "fit",
    "generate",
    "info",
    "load",
    "load_task",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
