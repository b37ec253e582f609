"""Methods: each finds an intervention, ``fit(model, task) -> Intervention``. Adding one is adding one file."""

from . import biasgym, caa, dso, iti, leace, mean_difference, mean_projection, prompting, random
from .files import load_mitigation
from .mitigation import Mitigation, Prompting, Steering

METHODS = {
    "dso": dso,
    "iti": iti,
    "caa": caa,
    "mean_difference": mean_difference,
    "leace": leace,
    "mean_projection": mean_projection,
    "random": random,
    "prompting": prompting,
}
"""What ``--method`` takes: a module with ``fit`` and a settings class."""

__all__ = [
    "METHODS",
    "Mitigation",
    "Prompting",
    "Steering",
    "biasgym",
    "caa",
    "dso",
    "iti",
    "leace",
    "load_mitigation",
    "mean_difference",
    "mean_projection",
    "prompting",
    "random",
]
