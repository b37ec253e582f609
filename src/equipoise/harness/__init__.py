"""EleutherAI's lm-evaluation-harness over steered models: ``lm_eval --model equipoise``.

Importing this package makes the model type known to ``lm_eval``, without importing torch; the class itself is in
:mod:`equipoise.harness.model`.
"""

from ..errors import InputError

NAME = "equipoise"
TARGET = "equipoise.harness.model:EquipoiseLM"


def register() -> None:
    """Add the model type to lm_eval's registry. Raises :class:`InputError` where lm_eval isn't installed."""
    try:
        from lm_eval.api.registry import model_registry
    except ImportError:
        raise InputError("this needs lm_eval: pip install 'equipoise[lm-eval]'") from None
    if NAME not in model_registry:
        model_registry.register(NAME, target=TARGET)
