"""Whether a server can listen at an address, asked before a model is loaded for it."""

from __future__ import annotations

import os
import socket

from ..errors import InputError


def check_address(host: str, port: int) -> None:
    """Listen at ``host`` and ``port`` for a moment. Raises :class:`InputError` where that can't be done."""
    if not 0 <= port <= 65535:
        raise InputError(f"--port {port}: it must be from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            if os.name == "posix":  # as the server does: a port that was in use a moment ago is free
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"can't listen at {host}, port {port} ({reason}): choose another --host or --port"
        ) from None
