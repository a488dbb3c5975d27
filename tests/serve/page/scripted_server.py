"""A small server that speaks the interface and says what a test wrote down.

It serves the real page (`ruvllm.serve.routes.page`); models, answers, errors and figures are scripts. So a
test decides every byte that the page gets, hostile ones too, and sees every request that it makes.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from ruvllm.serve.routes.page import router

TIMINGS = {
    "cache_n": 30,
    "prompt_n": 10,
    "prompt_ms": 120.0,
    "prompt_per_second": 83.3,
    "predicted_n": 64,
    "predicted_ms": 1500.0,
    "predicted_per_second": 42.7,
}
USAGE = {
    "prompt_tokens": 40,
    "completion_tokens": 64,
    "total_tokens": 104,
    "prompt_tokens_details": {"cached_tokens": 30},
}

# Between two looks at how much of a prompt is read.
READING_SECONDS = 0.1


@dataclass
class Answer:
    """One answer: its pieces, then how it ends. `held` waits after the pieces until the test lets it go."""

    pieces: list[str] = field(default_factory=list)
    finish: str | None = "stop"
    timings: dict[str, Any] | None = field(default_factory=lambda: dict(TIMINGS))
    error: dict[str, Any] | None = None
    held: threading.Event | None = None
    # How much of a prompt of 1000 tokens is read, told before the pieces, which wait for `read`.
    reading: list[int] = field(default_factory=list)
    read: threading.Event | None = None
    piece_seconds: float = 0.0
    thinking: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    completion_id: str | None = None  # where feedback is taken for it


@dataclass
class Refusal:
    """An error in the place of an answer."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, status: int, message: str, code: str | None = None, **headers: str) -> "Refusal":
        """With OpenAI's body; `retry_after="2"` becomes the header Retry-After."""
        body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
        return cls(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


@dataclass
class Script:
    """What the server says, and what it was asked."""

    answers: list[Answer | Refusal] = field(default_factory=list)
    models: list[str] = field(default_factory=lambda: ["scripted-1b"])
    adapters: dict[str, str] = field(default_factory=dict)  # with the model that each is for
    key: str | None = None
    is_loading: bool = False
    metrics: list[str] = field(default_factory=list)
    max_model_len: int | None = None  # the context of the models
    # How the models stand, look for look; what is said last stays.
    statuses: list[Any] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    # What feedback and its undoing are answered with, in turn, and what was said.
    taught: list[dict[str, Any] | Refusal] = field(default_factory=list)
    said: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    # What decisions are answered with, in turn.
    decided: list[list[dict[str, Any]] | Refusal] = field(default_factory=list)
    # What a schema is refused with; `None` takes it.
    against_schema: Refusal | None = None
    num_schemas: int = 0
    num_metrics_requests: int = 0
    num_left: int = 0
    openapi: dict[str, Any] = field(default_factory=dict)


class ScriptedServer:
    """The application around a script; a test sets `script` anew."""

    def __init__(self) -> None:
        self.script = Script()
        self.address = ""
        self.app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        self.app.include_router(router)
        self.app.add_api_route("/v1/models", self._models)
        self.app.add_api_route("/v1/chat/completions", self._chat, methods=["POST"])
        self.app.add_api_route("/v1/chat/completions/render", self._render, methods=["POST"])
        for path in ("/v1/feedback", "/v1/feedback/rollback"):
            self.app.add_api_route(path, self._feedback, methods=["POST"])
        self.app.add_api_route("/v1/decisions", self._decisions, methods=["POST"])
        self.app.add_api_route("/health", self._health)
        self.app.add_api_route("/metrics", self._metrics)
        self.app.add_api_route("/props", self._props)
        self.app.add_api_route("/openapi.json", self._openapi)

    def _refused(self, request: Request) -> Response | None:
        script = self.script
        if script.key and request.headers.get("authorization") != f"Bearer {script.key}":
            return _refusal(Refusal.of(401, "this key is not known", "invalid_api_key"))
        if script.is_loading:
            return _refusal(Refusal.of(503, "the model is loading", "loading", retry_after="1"))
        return None

    async def _models(self, request: Request) -> Response:
        max_model_len, statuses = self.script.max_model_len, self.script.statuses
        known: dict[str, Any] = {} if max_model_len is None else {"max_model_len": max_model_len}
        if statuses:
            known["status"] = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        parents = {**dict.fromkeys(self.script.models), **self.script.adapters}
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "test", "parent": parent} | known
            for name, parent in parents.items()
        ]
        return self._refused(request) or JSONResponse({"object": "list", "data": models})

    async def _health(self) -> Response:
        is_loading = self.script.is_loading
        return JSONResponse({"status": "loading" if is_loading else "ok"}, 503 if is_loading else 200)

    async def _metrics(self) -> Response:
        script = self.script
        script.num_metrics_requests += 1
        if not script.metrics:
            return PlainTextResponse("no figures here", 404)
        return PlainTextResponse(script.metrics.pop(0) if len(script.metrics) > 1 else script.metrics[0])

    async def _props(self) -> Response:
        refused = "models are loaded with an admin key alone, and this server has none"
        told = {"refused": refused, "fetching_refused": None, "has_admin_key": False}
        return JSONResponse({"model_management": told})

    async def _openapi(self) -> Response:
        return JSONResponse(self.script.openapi)

    async def _chat(self, request: Request) -> Response:
        script = self.script
        if refusal := self._refused(request):
            return refusal
        script.asked.append(await request.json())
        answer = script.answers.pop(0) if script.answers else Answer(["Hello."])
        if isinstance(answer, Refusal):
            return _refusal(answer)
        return StreamingResponse(_events(answer, script), media_type="text/event-stream")

    async def _render(self, request: Request) -> Response:
        self.script.num_schemas += 1
        assert (await request.json())["response_format"]["type"] == "json_schema"
        against = self.script.against_schema
        return JSONResponse({"token_ids": [1]}) if against is None else _refusal(against)

    async def _feedback(self, request: Request) -> Response:
        self.script.said.append((request.url.path, await request.json()))
        answer = self.script.taught.pop(0)
        return _refusal(answer) if isinstance(answer, Refusal) else JSONResponse(answer)

    async def _decisions(self, request: Request) -> Response:
        self.script.asked.append(await request.json())
        answers = self.script.decided.pop(0)
        return _refusal(answers) if isinstance(answers, Refusal) else JSONResponse({"answers": answers})


def _refusal(refusal: Refusal) -> Response:
    return JSONResponse(refusal.body, refusal.status, refusal.headers)


async def _events(answer: Answer, script: Script) -> AsyncIterator[bytes]:
    try:
        async for event in _told(answer):
            yield event
    except asyncio.CancelledError:
        script.num_left += 1
        raise


async def _told(answer: Answer) -> AsyncIterator[bytes]:
    yield b": ping\n\n"
    while answer.read is not None and not answer.read.is_set():
        for processed in answer.reading:
            told = {"total": 1000, "cache": 0, "processed": processed, "time_ms": 1}
            yield _chunk({}, prompt_progress=told)
            await asyncio.sleep(READING_SECONDS)
        del answer.reading[:-1]
    if answer.thinking:
        yield _chunk({"reasoning_content": answer.thinking})
    for piece in answer.pieces:
        yield _chunk({"content": piece})
        await asyncio.sleep(answer.piece_seconds)
    for call in answer.calls:
        yield _chunk({"tool_calls": [call]})
    while answer.held is not None and not answer.held.is_set():
        await asyncio.sleep(0.02)
    if answer.error is not None:
        yield _frame({"error": answer.error})
        return
    if answer.finish is None:
        return
    more = {"id": answer.completion_id, "takes_feedback": True} if answer.completion_id else {}
    yield _chunk({}, finish=answer.finish, timings=answer.timings, **more)
    yield _frame({"object": "chat.completion.chunk", "choices": [], "usage": USAGE})
    yield b"data: [DONE]\n\n"


def _chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    more = {name: value for name, value in more.items() if value is not None}
    return _frame({"object": "chat.completion.chunk", "model": "scripted-1b", "choices": [choice], **more})


def _frame(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()
