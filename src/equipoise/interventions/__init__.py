"""Interventions: the affine edit as a value, its algebra, its file, and the engine that applies it to a model."""

from .attach import Attached, LiveAttached, attach, attach_live
from .capture import capture
from .dso_file import convert_dso_pt
from .edit import AffineEdit
from .files import read_header, split_sum
from .guard import refuse_steered
from .intervention import SCOPES, Intervention, Scope
from .passes import answers_start
from .provenance import Provenance
from .strength import Strength
from .sums import added, meeting
from .terms import LiveEdit
from .token import InjectedToken, attach_tokens
from .vector_files import convert_control_vector, convert_file, convert_steering_vector
from .vocabulary import embedding_rows, extended, injected_ids, tokenizer_hash

__all__ = [
    "SCOPES",
    "AffineEdit",
    "Attached",
    "InjectedToken",
    "Intervention",
    "LiveAttached",
    "LiveEdit",
    "Provenance",
    "Scope",
    "Strength",
    "added",
    "answers_start",
    "attach",
    "attach_live",
    "attach_tokens",
    "capture",
    "convert_control_vector",
    "convert_dso_pt",
    "convert_file",
    "convert_steering_vector",
    "embedding_rows",
    "extended",
    "injected_ids",
    "meeting",
    "read_header",
    "refuse_steered",
    "split_sum",
    "tokenizer_hash",
]
