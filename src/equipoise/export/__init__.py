"""Out of the lab: an intervention in a model's own weights, and files that other engines load."""

from .card import Effect, intervention_card, model_card
from .checkpoint import save_checkpoint
from .control_vector import save_control_vector
from .gguf import GgufType, require_gguf, save_gguf
from .llama import as_llama
from .merge import Merged, merge
from .parity import Agreement, Parity, Reference, prove, steered_reference
from .peft_adapter import require_peft, save_ln_tuning
from .plan import CannotMerge

__all__ = [
    "Agreement",
    "CannotMerge",
    "Effect",
    "GgufType",
    "Merged",
    "Parity",
    "Reference",
    "as_llama",
    "intervention_card",
    "merge",
    "model_card",
    "prove",
    "require_gguf",
    "require_peft",
    "save_checkpoint",
    "save_control_vector",
    "save_gguf",
    "save_ln_tuning",
    "steered_reference",
]
