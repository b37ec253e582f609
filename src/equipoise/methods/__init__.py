"""Methods: each finds an intervention, ``fit(model, task) -> Intervention``. Adding one is adding one file."""

from . import biasgym, dso

METHODS = {"dso": dso}
"""What ``--method`` takes: a module with ``fit`` and a settings class."""

__all__ = ["METHODS", "biasgym", "dso"]
