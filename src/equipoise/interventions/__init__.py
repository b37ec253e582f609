"""Interventions: the affine edit as a value, its algebra, its file, and the engine that applies it to a model."""

from .attach import Attached, LiveAttached, attach, attach_live
from .capture import capture
from .dso_file import convert_dso_pt
from .edit import AffineEdit
from .files import load_intervention, read_header, save_intervention
from .intervention import SCOPES, Intervention, Scope
from .provenance import Provenance
from .strength import Strength
from .terms import LiveEdit

__all__ = [
    "SCOPES",
    "AffineEdit",
    "Attached",
    "Intervention",
    "LiveAttached",
    "LiveEdit",
    "Provenance",
    "Scope",
    "Strength",
    "attach",
    "attach_live",
    "capture",
    "convert_dso_pt",
    "load_intervention",
    "read_header",
    "save_intervention",
]
