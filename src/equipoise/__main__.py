"""``python -m equipoise``."""

from .cli import main

main()
