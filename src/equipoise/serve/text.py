"""From tokens to text, a piece at a time: never half a character, never a part of a stop sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_HALF = "\ufffd"  # what a tokenizer writes for bytes that are no whole character yet


class Text:
    """The text of one answer while it grows. ``stopped`` says that a stop sequence came; it is not part of the text."""

    def __init__(self, tokenizer: Any, stops: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stops = [stop for stop in stops if stop]
        self._ids: list[int] = []
        self._from = self._read = 0
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Take one more token; returns the text that is certain now."""
        self._ids.append(token)
        before = self._decode(self._from, self._read)
        now = self._decode(self._from, len(self._ids))
        # Nothing is decoded alone: a token's text may depend on the one before it.
        if len(now) <= len(before) or now.endswith(_HALF):
            return ""
        self._held += now[len(before) :]
        self._from, self._read = self._read, len(self._ids)
        return self._release()

    def finish(self) -> str:
        """The rest, when no more tokens come."""
        if self.stopped:
            return ""
        before = self._decode(self._from, self._read)
        self._held += self._decode(self._from, len(self._ids))[len(before) :]
        self._from = self._read = len(self._ids)
        out = self._release()
        return out + self._rest()

    def _rest(self) -> str:
        rest, self._held = self._held, ""
        return rest

    def _release(self) -> str:
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            out, self._held, self.stopped = self._held[: min(places)], "", True
            return out
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        end = len(self._held) - keep
        out, self._held = self._held[:end], self._held[end:]
        return out

    def _decode(self, start: int, end: int) -> str:
        return str(self._tokenizer.decode(self._ids[start:end], skip_special_tokens=True))


def _overlap(text: str, stop: str) -> int:
    """How many of the last letters of ``text`` are the first ones of ``stop``."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
