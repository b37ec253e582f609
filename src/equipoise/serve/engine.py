"""The one thread that owns the model: it takes requests from a queue and writes all running answers together."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from ..errors import InputError
from ..interventions import Attached, Intervention, attach, refuse_steered
from ..models import LoadedModel
from .batch import Batch, Event, Row, Sampling
from .text import Text

_LOG = logging.getLogger(__name__)


class Busy(InputError):
    """As many requests as the server allows are waiting already."""


class Engine:
    """Runs a model with several interventions, whose strengths every row chooses.

    Args:
        loaded: the model; nothing else may steer or use it meanwhile.
        interventions: name -> intervention. A row has a strength for each, in this order.
        most_rows: answers written at the same time.
        most_waiting: requests that may wait; more are refused with :class:`Busy`.
        most_tokens: prompt and answer together; at most what the model's positions allow.
        patience: seconds from asking to the last token, after which an answer ends as an error.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        interventions: Mapping[str, Intervention],
        *,
        most_rows: int = 16,
        most_waiting: int = 256,
        most_tokens: int = 4096,
        patience: float = 300.0,
    ) -> None:
        refuse_steered(loaded)
        for intervention in interventions.values():
            intervention.check(loaded)
        self.loaded, self.interventions = loaded, dict(interventions)
        positions = getattr(
            loaded.model.config.get_text_config(decoder=True), "max_position_embeddings", None
        )
        self.most_tokens = min(most_tokens, positions) if isinstance(positions, int) else most_tokens
        self.most_rows, self.most_waiting, self.patience = most_rows, most_waiting, patience
        self.counts: Counter[str] = Counter()
        self._ends = _ends(loaded)
        self._waiting: deque[Row] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self.running = 0

    def start(self) -> None:
        """Begin to work."""
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="equipoise-engine", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End all answers and the thread; the model is as it was."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def submit(
        self,
        prompt: Sequence[int],
        strengths: Sequence[float],
        emit: Callable[[Event], None],
        *,
        sampling: Sampling | None = None,
        most: int = 128,
        stops: Sequence[str] = (),
    ) -> Row:
        """Queue one answer; ``emit`` is called from the engine's thread with its events, the last of which finishes it.

        Raises :class:`InputError` for an empty or too long prompt, and :class:`Busy`.
        """
        if not prompt:
            raise InputError("the prompt is empty: give it a word")
        if len(prompt) + most > self.most_tokens:
            raise InputError(
                f"the prompt has {len(prompt)} tokens and {most} may follow, more than this server's"
                f" {self.most_tokens} together: shorten the prompt, or lower max_tokens"
            )
        row = Row(
            list(prompt),
            tuple(float(s) for s in strengths),
            sampling or Sampling(),
            most,
            Text(self.loaded.tokenizer, stops),
            emit,
            time.monotonic() + self.patience,
        )
        with self._wake:
            if len(self._waiting) >= self.most_waiting:
                raise Busy(f"{len(self._waiting)} requests are waiting already: try again later")
            self._waiting.append(row)
            self._wake.notify()
        return row

    def _work(self) -> None:
        attached: Attached | None = None
        try:
            if self.interventions:
                attached = attach(self.loaded, list(self.interventions.values()), 0.0)
            batch = Batch(self.loaded, attached)
            heard: list[Row] = []
            while not self._stopping:
                with self._wake:
                    if not heard and not self._waiting:
                        self._wake.wait(1.0)
                        continue
                    fresh = self._next(batch)
                try:
                    if heard:
                        batch.step()
                        heard = self._tell(heard)
                    if fresh:
                        batch.keep(heard)
                        batch.join(fresh)
                        heard += self._tell(fresh)
                    batch.keep(heard)
                except Exception as error:
                    _LOG.exception("a pass failed")
                    for row in dict.fromkeys([*heard, *fresh]):
                        self._end(row, "error", f"the model failed ({type(error).__name__})")
                    heard, batch = [], Batch(self.loaded, attached)
                self.running = len(heard)
            for row in [*heard, *self._waiting]:
                self._end(row, "error", "the server is stopping")
            self._waiting.clear()
        finally:
            if attached is not None:
                attached.detach()

    def _next(self, batch: Batch) -> list[Row]:
        fresh: list[Row] = []
        while self._waiting and batch.open and len(batch.rows) + len(fresh) < self.most_rows:
            row = self._waiting.popleft()
            if row.cancelled:
                self.counts["cancelled"] += 1
            elif row.late:
                self._end(row, "error", f"no answer within {self.patience:g} seconds: the server is busy")
            else:
                fresh.append(row)
        return fresh

    def _tell(self, rows: Sequence[Row]) -> list[Row]:
        """Hand out what the last pass gave; returns the rows that go on."""
        going = []
        for row in rows:
            token = row.new[-1]
            self.counts["tokens"] += 1
            if row.cancelled:
                self.counts["cancelled"] += 1
            elif token in self._ends:
                self._end(row, "stop")
            elif row.late:
                self._end(row, "error", f"no answer within {self.patience:g} seconds")
            else:
                text = row.text.push(token)
                if row.text.stopped or len(row.new) >= row.most:
                    self._end(row, "stop" if row.text.stopped else "length", before=text)
                else:
                    if text:
                        row.emit(Event(text, tokens=len(row.new)))
                    going.append(row)
        return going

    def _end(self, row: Row, finish: str, error: str | None = None, before: str = "") -> None:
        self.counts[finish] += 1
        rest = before + row.text.finish()
        # A stop sequence may come to light only in the last letters.
        finish = "stop" if row.text.stopped and error is None else finish
        row.emit(Event(rest, finish, error, len(row.new)))


def _ends(loaded: LoadedModel) -> frozenset[int]:
    ends = getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)
    ends = loaded.tokenizer.eos_token_id if ends is None else ends
    return (
        frozenset()
        if ends is None
        else frozenset(int(e) for e in (ends if isinstance(ends, list) else [ends]))
    )
