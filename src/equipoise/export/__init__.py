"""Out of the lab: an intervention in a model's own weights, and files that other engines load."""

from .llama import as_llama
from .merge import Merged, merge
from .plan import CannotMerge

__all__ = ["CannotMerge", "Merged", "as_llama", "merge"]
