"""``python -m equipoise.harness``: lm_eval's own command, in which the model type is known whatever its release."""

import sys

from ..errors import InputError
from . import register


def main() -> int:
    """Run lm_eval on the command line's arguments. Bad input for our model is one line and exit status 2."""
    try:
        register()
        from lm_eval.__main__ import cli_evaluate

        cli_evaluate()
    except InputError as error:
        print(f"equipoise: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
