"""The exception, and the warning, that users are meant to read."""

import warnings


class InputError(ValueError):
    """Bad input: a single line that names the place and the remedy.

    The command line prints the line and exits with status 2; from Python it is an ordinary ``ValueError``.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class InputWarning(UserWarning):
    """Input that is accepted, but may do something else than expected: a single line, printed by the command line."""


def tell_left_out(what: str, count: int, of: int, why: str) -> None:
    """One :class:`InputWarning` that ``count`` of ``of`` of a file's things are not used, and why; none for 0."""
    if count:
        warnings.warn(f"{what}: {count} of {of} are left out: {why}", InputWarning, stacklevel=3)
