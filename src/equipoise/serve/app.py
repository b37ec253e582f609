"""HTTP: OpenAI's completions and chat completions, streaming too, and what an operator looks at."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ..errors import InputError
from ..scoring import Sight, prompt_inputs
from ..tasks import Picture
from .asked import Asked, read_request
from .batch import Event, Row
from .engine import Busy, Down, Engine
from .refusal import Refusal

MOST_BYTES, MOST_BYTES_WITH_IMAGES = 1 << 20, 16 << 20
_POLL = 0.25  # seconds between looks at whether the client is still there


def make_app(
    engine: Engine, *, name: str, strength: float = 1.0, most_new: int = 128, most_bytes: int | None = None
) -> Starlette:
    """The application around ``engine``, which starts and stops with it.

    Args:
        name: what the model is called.
        strength: λ of every intervention where a request says nothing.
        most_new: tokens of an answer where a request says nothing.
        most_bytes: the largest body that is read; by default 1 MiB, 16 MiB where the model takes images.
    """
    started = int(time.time())
    if most_bytes is None:
        most_bytes = MOST_BYTES_WITH_IMAGES if engine.loaded.takes_images else MOST_BYTES
    server = _Server(engine, name, strength, most_new, most_bytes)

    async def models(request: Request) -> Response:
        entry = {"id": name, "object": "model", "created": started, "owned_by": "equipoise"}
        entry["equipoise"] = {"interventions": list(engine.interventions), "default_strength": strength}
        return JSONResponse({"object": "list", "data": [entry]})

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok" if engine.alive else "down"}, 200 if engine.alive else 503)

    async def metrics(request: Request) -> Response:
        return PlainTextResponse(_metrics(engine), media_type="text/plain; version=0.0.4")

    async def page(request: Request) -> Response:
        return HTMLResponse(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        engine.start()
        try:
            yield
        finally:
            await run_in_threadpool(engine.stop)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return JSONResponse(error.body(), error.status)

    routes = [
        Route("/", page),
        Route("/health", health),
        Route("/metrics", metrics),
        Route("/v1/models", models),
        Route("/v1/completions", server.completions, methods=["POST"]),
        Route("/v1/chat/completions", server.chat, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=life, exception_handlers={Refusal: refused})


def run_server(app: Any, *, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until interrupted."""
    import uvicorn

    uvicorn.run(app, host=host, port=port, log_level="warning")


class _Answer:
    """One answer's events, brought from the engine's thread to the event loop."""

    def __init__(self, engine: Engine, asked: Asked, prompt: list[int], sight: Sight | None) -> None:
        loop = asyncio.get_running_loop()
        self.events: asyncio.Queue[Event] = asyncio.Queue()

        def emit(event: Event) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self.events.put_nowait, event)

        self.engine, self.prompt = engine, prompt
        self.row: Row = engine.submit(
            prompt,
            asked.strengths,
            emit,
            sampling=asked.sampling,
            most=asked.most,
            stops=asked.stops,
            sight=sight,
        )

    async def each(self, request: Request) -> AsyncIterator[Event]:
        """Its events until the last; stops the row if the client goes away."""
        try:
            looked = time.monotonic()
            while True:
                event: Event | None = None
                # Asked before the wait, so that whatever an engine said before it stopped is heard first.
                alive = self.engine.alive
                with suppress(TimeoutError):
                    event = await asyncio.wait_for(self.events.get(), _POLL)
                if event is not None:
                    yield event
                    if event.finish is not None:
                        return
                elif not alive:
                    yield Event(finish="error", error="the engine has stopped: start the server again")
                    return
                if time.monotonic() - looked >= _POLL:
                    looked = time.monotonic()
                    if await request.is_disconnected():
                        return
        finally:
            self.row.cancelled = True  # no harm where it is finished


class _Server:
    def __init__(self, engine: Engine, name: str, strength: float, most_new: int, most_bytes: int) -> None:
        self._engine, self._name, self._strength = engine, name, strength
        self._most_new, self._most_bytes = most_new, most_bytes

    async def completions(self, request: Request) -> Response:
        return await self._respond(request, chat=False)

    async def chat(self, request: Request) -> Response:
        return await self._respond(request, chat=True)

    async def _respond(self, request: Request, *, chat: bool) -> Response:
        # Decoding images and tokenising long prompts take time that other requests should not wait for.
        asked = await run_in_threadpool(
            read_request,
            await self._body(request),
            chat=chat,
            model=self._name,
            names=list(self._engine.interventions),
            default=self._strength,
            most=self._most_new,
            takes_images=self._engine.loaded.takes_images,
        )
        answers: list[_Answer] = []
        try:
            prompts = [
                await run_in_threadpool(self._inputs, prompt, asked.images) for prompt in asked.prompts
            ]
            for prompt, sight in prompts:
                answers.append(_Answer(self._engine, asked, prompt, sight))
        except InputError as error:
            for answer in answers:
                answer.row.cancelled = True
            raise Refusal(503 if isinstance(error, Busy | Down) else 400, str(error)) from None
        form = _Form(asked, chat)
        if asked.stream:
            return StreamingResponse(self._stream(request, form, answers), media_type="text/event-stream")
        return await self._whole(request, form, answers)

    def _inputs(self, prompt: Any, images: Sequence[Picture]) -> tuple[list[int], Sight | None]:
        loaded = self._engine.loaded
        if isinstance(prompt, list):
            known = len(loaded.tokenizer)
            if any(token >= known for token in prompt):
                raise InputError(f"a token id is {max(prompt)}, and the vocabulary has {known}")
            return prompt, None
        try:
            return prompt_inputs(loaded, prompt, images)
        except InputError:
            raise
        except Exception as error:  # a chat template may refuse turns in its own words
            raise InputError(
                f"the model's chat template doesn't take these turns: {str(error)[:200]}"
            ) from None

    async def _body(self, request: Request) -> Any:
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > self._most_bytes:
                raise Refusal(413, f"the body is larger than {self._most_bytes} bytes")
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise Refusal(400, f"the body is no JSON ({error})") from None

    async def _whole(self, request: Request, form: _Form, answers: list[_Answer]) -> Response:
        texts, ends, tokens = [], [], 0
        try:
            for answer in answers:
                pieces: list[str] = []
                last = Event(finish="cancelled")
                async for last in answer.each(request):
                    pieces.append(last.text)
                if last.error is not None:
                    raise Refusal(504 if "within" in last.error else 500, last.error)
                texts.append("".join(pieces))
                ends.append(last.finish or "cancelled")
                tokens += last.tokens
        finally:
            for answer in answers:
                answer.row.cancelled = True
        usage = _usage(sum(len(answer.prompt) for answer in answers), tokens)
        return JSONResponse(form.whole(texts, ends, usage))

    async def _stream(self, request: Request, form: _Form, answers: list[_Answer]) -> AsyncIterator[str]:
        tokens = 0
        try:
            for index, answer in enumerate(answers):
                yield form.first(index)
                async for event in answer.each(request):
                    if event.error is not None:
                        yield _line(Refusal(500, event.error).body())
                        return
                    if event.text or event.finish:
                        yield form.piece(index, event)
                    tokens = tokens + event.tokens if event.finish else tokens
            if form.asked.usage:
                yield form.usage(_usage(sum(len(answer.prompt) for answer in answers), tokens))
            yield "data: [DONE]\n\n"
        finally:
            for answer in answers:
                answer.row.cancelled = True


class _Form:
    """The shape of an answer in either protocol."""

    def __init__(self, asked: Asked, chat: bool) -> None:
        self.asked, self._chat = asked, chat
        kind = "chat.completion" if chat else "text_completion"
        self._head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
            "created": int(time.time()),
        }
        self._whole = {**self._head, "object": kind, "model": asked.model}
        self._part = {**self._whole, "object": "chat.completion.chunk" if chat else kind}

    def whole(self, texts: list[str], ends: list[str], usage: dict[str, int]) -> dict[str, Any]:
        choices: list[dict[str, Any]] = []
        for index, (text, end) in enumerate(zip(texts, ends, strict=True)):
            content = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
            choices.append({"index": index, **content, "finish_reason": end, "logprobs": None})
        return {**self._whole, "choices": choices, "usage": usage}

    def first(self, index: int) -> str:
        if not self._chat:
            return ""
        delta = {"role": "assistant", "content": ""}
        return self._chunk({"index": index, "delta": delta, "finish_reason": None})

    def piece(self, index: int, event: Event) -> str:
        content: dict[str, Any] = {"delta": {"content": event.text}} if self._chat else {"text": event.text}
        return self._chunk({"index": index, **content, "finish_reason": event.finish})

    def usage(self, usage: dict[str, int]) -> str:
        return _line({**self._part, "choices": [], "usage": usage})

    def _chunk(self, choice: dict[str, Any]) -> str:
        return _line({**self._part, "choices": [{**choice, "logprobs": None}]})


def _line(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def _usage(prompt: int, new: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}


def _metrics(engine: Engine) -> str:
    counts: Callable[[str], int] = lambda key: engine.counts[key]  # noqa: E731
    lines = ["# TYPE equipoise_answers_total counter"]
    lines += [
        f'equipoise_answers_total{{end="{e}"}} {counts(e)}' for e in ("stop", "length", "error", "cancelled")
    ]
    lines += ["# TYPE equipoise_tokens_total counter", f"equipoise_tokens_total {counts('tokens')}"]
    lines += ["# TYPE equipoise_running gauge", f"equipoise_running {engine.running}"]
    lines += ["# TYPE equipoise_waiting gauge", f"equipoise_waiting {engine.waiting}"]
    return "\n".join(lines) + "\n"
