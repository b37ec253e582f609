"""Which releases made a number."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "transformers", "numpy", "safetensors")


def equipoise_version() -> str:
    """The installed release of this package; ``0+unknown`` when it runs from its source without installation."""
    try:
        return version("equipoise")
    except PackageNotFoundError:
        return "0+unknown"


def versions() -> dict[str, str]:
    """Python and the packages that results depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
