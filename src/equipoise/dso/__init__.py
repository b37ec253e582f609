"""The face of the DSO repository: its names, over this package's rooms, so that its examples run here.

Change the import line and a script written for that repository keeps working::

    from equipoise.dso import HookInterventions, get_layernorms

    steered = HookInterventions(model, get_layernorms, intervention_path="interventions_llm.safetensors")
    steered.set_strength(0.8)
    steered.sparsify(0.1)

What differs: files are safetensors whatever their name ends in (a ``.pt`` file of that repository is read through the
explicit converter), closed answers are trained on exactly where that is possible, and leaving is possible
(:meth:`HookInterventions.remove`, or a ``with`` block). New code is better served by ``import equipoise as eq``.

Source: Monteiro Paes et al., arXiv 2512.15926, and the README of its repository.
"""

from ..tasks.rewards import BaseReward
from .data import Act4MeLoader, BaseDatasetLoader, CorefResolutionLoader, TabularDataset
from .hooks import HookInterventions, get_layernorms
from .parity import GenderParityRewardForSynthBias, GenderParityRewardForVisionTasks
from .training import TrainInterventions

__all__ = [
    "Act4MeLoader",
    "BaseDatasetLoader",
    "BaseReward",
    "CorefResolutionLoader",
    "GenderParityRewardForSynthBias",
    "GenderParityRewardForVisionTasks",
    "HookInterventions",
    "TabularDataset",
    "TrainInterventions",
    "get_layernorms",
]
