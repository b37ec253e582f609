"""The exception, and the warning, that users are meant to read."""


class InputError(ValueError):
    """Bad input: a single line that names the place and the remedy.

    The command line prints the line and exits with status 2; from Python it is an ordinary ``ValueError``.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class InputWarning(UserWarning):
    """Input that is accepted, but may do something else than expected: a single line, printed by the command line."""
