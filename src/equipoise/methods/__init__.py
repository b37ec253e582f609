"""Methods: each finds an intervention, ``fit(model, task) -> Intervention``. Adding one is adding one file."""

from . import (
    biasgym,
    caa,
    dpo,
    dso,
    iti,
    leace,
    lora,
    lora_dpo,
    mean_difference,
    mean_projection,
    prompting,
    random,
    res_fair,
    temperature,
)
from .adapter import Adapter
from .files import load_mitigation
from .mitigation import Mitigation, Prompting, Steering
from .temperature import Temperature

METHODS = {
    "dso": dso,
    "iti": iti,
    "caa": caa,
    "mean_difference": mean_difference,
    "leace": leace,
    "mean_projection": mean_projection,
    "res_fair": res_fair,
    "random": random,
    "prompting": prompting,
    "temperature": temperature,
    "lora": lora,
    "dpo": dpo,
    "lora_dpo": lora_dpo,
}
"""What ``--method`` takes: a module with ``fit`` and a settings class."""

__all__ = [
    "METHODS",
    "Adapter",
    "Mitigation",
    "Prompting",
    "Steering",
    "Temperature",
    "biasgym",
    "caa",
    "dpo",
    "dso",
    "iti",
    "leace",
    "load_mitigation",
    "lora",
    "lora_dpo",
    "mean_difference",
    "mean_projection",
    "prompting",
    "random",
    "res_fair",
    "temperature",
]
