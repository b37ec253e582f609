"""What a request that isn't answered is told."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """A request that is not answered: an HTTP status, and a message that says what to change."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param

    def body(self) -> dict[str, Any]:
        """The error as OpenAI's clients read it."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": None}}
