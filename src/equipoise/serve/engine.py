"""The one thread that owns the model: it takes requests from a queue and writes all running answers together."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from ..errors import InputError
from ..interventions import Attached, Intervention, attach, refuse_steered
from ..models import LoadedModel
from ..scoring import Sight, generate_seeing, memory, refuse_unreadable
from .batch import Batch, Dial, Event, Row, Sampling
from .text import Text

_LOG = logging.getLogger(__name__)


class Busy(InputError):
    """As many requests as the server allows are waiting already."""


class Down(InputError):
    """Nobody would answer: the engine has stopped."""


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
        if not memory(loaded).steps:
            raise InputError(
                f"{loaded.name} can't be served: what it keeps of the tokens before is no cache that goes on token by "
                "token for several rows; use equipoise generate, or export it for an engine that knows it"
            )
        self._alike = not memory(loaded).pads  # its rows can't be padded, so they are of one length
        self.loaded, self.interventions = loaded, dict(interventions)
        positions = getattr(
            loaded.model.config.get_text_config(decoder=True), "max_position_embeddings", None
        )
        self.most_tokens = min(most_tokens, positions) if isinstance(positions, int) else most_tokens
        self.most_rows, self.most_waiting, self.patience = most_rows, most_waiting, patience
        self.counts: Counter[str] = Counter()
        self._ends = _ends(loaded)
        self._waiting: deque[Row] = deque()
        self._unseen: deque[Row] = deque()  # those that wait with images
        self._heard: list[Row] = []
        self._seen: list[Row] = []
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._attached: Attached | None = None
        self._stopping = False

    @property
    def running(self) -> int:
        """How many answers are being written."""
        return len(self._heard) + len(self._seen)

    def start(self) -> None:
        """Begin to work; no harm where it does.

        Raises :class:`InputError` for what can't be attached (see :func:`equipoise.interventions.attach`).
        """
        if self.alive:
            return
        if self.interventions:
            self._attached = attach(self.loaded, list(self.interventions.values()), 0.0)
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
        return len(self._waiting) + len(self._unseen)

    def submit(
        self,
        prompt: Sequence[int],
        strengths: Sequence[float],
        emit: Callable[[Event], None],
        *,
        sampling: Sampling | None = None,
        most: int = 128,
        stops: Sequence[str] = (),
        sight: Sight | None = None,
    ) -> Row:
        """Queue one answer; ``emit`` is called from the engine's thread with its events, the last of which finishes it.

        ``sight`` says what images add to the prompt (see :func:`equipoise.scoring.prompt_inputs`).

        Raises :class:`InputError` for a prompt that is empty, too long, or has tokens that the model has no rows for;
        :class:`Busy`; and :class:`Down` once the engine has stopped. Before it has started, requests wait.
        """
        if self._stopping or (self._thread is not None and not self.alive):
            raise Down("the engine has stopped: start the server again")
        if not prompt:
            raise InputError("the prompt is empty: give it a word")
        if len(prompt) + most > self.most_tokens:
            raise InputError(
                f"the prompt has {len(prompt)} tokens and {most} may follow, more than this server's"
                f" {self.most_tokens} together: shorten the prompt, or lower max_tokens"
            )
        if sight is None:
            refuse_unreadable(self.loaded, [prompt], what="prompt")
        row = Row(
            list(prompt),
            tuple(float(s) for s in strengths),
            sampling or Sampling(),
            most,
            Text(self.loaded.tokenizer, stops),
            emit,
            time.monotonic() + self.patience,
            sight,
        )
        with self._wake:
            if self.waiting >= self.most_waiting:
                raise Busy(f"{self.waiting} requests are waiting already: try again later")
            (self._waiting if sight is None else self._unseen).append(row)
            self._wake.notify()
        return row

    def _work(self) -> None:
        try:
            self._dial = Dial(self._attached)
            self._batch, self._heard, self._seen = Batch(self.loaded, self._dial), [], []
            while not self._stopping:
                with self._wake:
                    if not self._heard and not self.waiting:
                        self._wake.wait(1.0)
                        continue
                    looking = self._next_seeing()
                if looking:
                    self._see(looking)
                else:
                    self._turn()
            for row in [*self._heard, *self._waiting, *self._unseen]:
                self._end(row, "error", "the server is stopping")
            self._waiting.clear()
            self._unseen.clear()
        finally:
            if self._attached is not None:
                self._attached.detach()

    def _turn(self) -> None:
        """One more token for the rows without images, and room for new ones."""
        with self._wake:
            fresh = self._next()
        try:
            if self._heard:
                self._batch.step()
                self._heard = self._tell(self._heard)
            if fresh:
                self._batch.keep(self._heard)
                self._batch.join(fresh)
                self._heard = self._heard + self._tell(fresh)
            self._batch.keep(self._heard)
        except Exception as error:
            _LOG.exception("a pass failed")
            for row in dict.fromkeys([*self._heard, *fresh]):
                self._end(row, "error", f"the model failed ({type(error).__name__})")
            self._heard, self._batch = [], Batch(self.loaded, self._dial)

    def _see(self, rows: Sequence[Row]) -> None:
        """Answer rows with images of one kind to their end; the others go on between their tokens."""
        self._seen = list(rows)
        between = False

        def turn_dial() -> None:
            if not between:  # a model without a separate head runs as a whole for text too
                self._dial.turn(rows, None)

        def choose(logits: Tensor) -> list[int | None]:
            nonlocal between
            for row, scores in zip(rows, logits.cpu(), strict=True):
                if row in self._seen:
                    row.go_on(scores)
            self._seen = self._tell(self._seen)
            if self._stopping:
                for row in self._seen:
                    self._end(row, "error", "the server is stopping")
                self._seen = []
            if self._seen and (self._heard or self._waiting):
                between = True
                self._turn()
                between = False
            return [row.new[-1] if row in self._seen else None for row in rows]

        try:
            prompts = [(row.prompt, row.sight) for row in rows if row.sight is not None]
            most = max(row.most for row in rows)
            generate_seeing(self.loaded, prompts, choose, most=most, before_pass=turn_dial)
            for row in self._seen:  # the model ended it for a reason of its own
                self._end(row, "stop")
        except Exception as error:
            _LOG.exception("a pass failed")
            for row in self._seen:
                self._end(row, "error", f"the model failed ({type(error).__name__})")
        self._seen = []

    def _next(self) -> list[Row]:
        fresh: list[Row] = []
        while self._waiting and self._batch.open and len(self._batch.rows) + len(fresh) < self.most_rows:
            if fresh and self._alike and len(self._waiting[0].prompt) != len(fresh[0].prompt):
                break
            row = self._waiting.popleft()
            if self._wanted(row):
                fresh.append(row)
        return fresh

    def _next_seeing(self) -> list[Row]:
        """The first that waits with images, and those after it that can be one batch with it."""
        rows: list[Row] = []
        for row in list(self._unseen):
            alike = not rows or (row.sight is not None and row.sight.kind == rows[0].sight.kind)  # type: ignore[union-attr]
            if alike and len(rows) < self.most_rows:
                self._unseen.remove(row)
                if self._wanted(row):
                    rows.append(row)
        return rows

    def _wanted(self, row: Row) -> bool:
        """Whether a row that waited is still to be answered; if not, whoever asked is told."""
        if row.cancelled:
            self.counts["cancelled"] += 1
            return False
        if row.late:
            self._end(row, "error", f"no answer within {self.patience:g} seconds: the server is busy")
            return False
        return True

    def _tell(self, rows: Sequence[Row]) -> list[Row]:
        """Hand out what the last pass gave; returns the rows that go on."""
        going = []
        for row in rows:
            token = row.new[-1]
            if row.failure is not None:
                self._end(row, "error", f"no token can be chosen ({row.failure})")
                continue
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
