"""Equipoise: put a language model on an even footing.

``load`` a model, ``audit`` its bias, ``fit`` an :class:`Intervention`, ``attach`` it with a strength.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analysis import Detector
    from .errors import InputError
    from .export import merge
    from .interventions import AffineEdit, InjectedToken, Intervention, attach
    from .models import LoadedModel, load
    from .reports import Results
    from .tasks import Association, Item, Statement, Task, load_association, load_statements, load_task

    # From where they are: workflows has modules of the same names, and mypy may take one for the other.
    from .workflows.answers import answers
    from .workflows.audit import audit
    from .workflows.choices import choices
    from .workflows.compare import compare
    from .workflows.convert import convert
    from .workflows.culture import culture
    from .workflows.demo import demo
    from .workflows.diff import diff
    from .workflows.fit import fit
    from .workflows.generate import generate
    from .workflows.hub import pull, push
    from .workflows.info import info
    from .workflows.inject import inject
    from .workflows.layers import layers
    from .workflows.probe import probe
    from .workflows.scope import scope
    from .workflows.utility import utility

# Loaded when asked for: torch alone takes seconds, and `equipoise --help` needs none of it.
_HOMES = {
    "AffineEdit": "interventions",
    "Association": "tasks",
    "Detector": "analysis",
    "InjectedToken": "interventions",
    "InputError": "errors",
    "Intervention": "interventions",
    "Item": "tasks",
    "LoadedModel": "models",
    "Results": "reports",
    "Statement": "tasks",
    "Task": "tasks",
    "answers": "workflows",
    "attach": "interventions",
    "audit": "workflows",
    "choices": "workflows",
    "compare": "workflows",
    "convert": "workflows",
    "culture": "workflows",
    "demo": "workflows",
    "diff": "workflows",
    "fit": "workflows",
    "generate": "workflows",
    "info": "workflows",
    "inject": "workflows",
    "layers": "workflows",
    "load": "models",
    "load_association": "tasks",
    "load_statements": "tasks",
    "load_task": "tasks",
    "merge": "export",
    "probe": "workflows",
    "pull": "workflows",
    "push": "workflows",
    "scope": "workflows",
    "utility": "workflows",
}

__all__ = [
    "AffineEdit",
    "Association",
    "Detector",
    "InjectedToken",
    "InputError",
    "Intervention",
    "Item",
    "LoadedModel",
    "Results",
    "Statement",
    "Task",
    "answers",
    "attach",
    "audit",
    "choices",
    "compare",
    "convert",
    "culture",
    "demo",
    "diff",
    "fit",
    "generate",
    "info",
    "inject",
    "layers",
    "load",
    "load_association",
    "load_statements",
    "load_task",
    "merge",
    "probe",
    "pull",
    "push",
    "scope",
    "utility",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
