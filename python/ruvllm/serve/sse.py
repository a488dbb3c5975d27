"""Server-sent events by hand: frames, pings while nothing is said, and clients that leave.

A stream ends its request in the engine when its client is gone.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ruvllm.serve.errors import ApiError, api_error

__all__ = ["DONE", "EventStream", "frame", "named_frame", "unless_disconnected"]

logger = logging.getLogger(__name__)

DONE = b"data: [DONE]\n\n"
_PING = b": ping\n\n"
_HEADERS = {
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
    "content-type": "text/event-stream; charset=utf-8",
}

# Made once: `json.dumps` would make an encoder for each token.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Frames = AsyncGenerator[bytes, None]


def frame(data: Any) -> bytes:
    """An event that is only data."""
    return b"data: " + _encode(data).encode() + b"\n\n"


def named_frame(name: str, data: Any) -> bytes:
    """An event with a name, as Anthropic's and the responses' streams have."""
    return b"event: " + name.encode() + b"\n" + frame(data)


def _failure(error: ApiError) -> bytes:
    return frame(error.body())


class EventStream(Response):
    """Sends frames as they are made, until their end or until the client has left.

    An error in the middle becomes a last frame, since the status has been sent: `failure` writes it, where it
    is not OpenAI's `{"error": {...}}`. At the end, however it comes, `close` is awaited: it ends what the
    frames are made of.
    """

    def __init__(
        self,
        frames: Frames,
        *,
        close: Callable[[], Awaitable[None]],
        ping_seconds: float,
        ping: bytes = _PING,
        failure: Callable[[ApiError], bytes] | None = None,
    ) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._frames = frames
        self._close = close
        self._ping = ping
        self._ping_seconds = ping_seconds
        self._failure = failure or _failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; what ASGI calls."""
        del scope
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        writing = asyncio.ensure_future(self._write(send))
        leaving = asyncio.ensure_future(_left(receive))
        pinging = asyncio.ensure_future(self._keep_alive(send))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
        finally:
            for task in (writing, leaving, pinging):
                task.cancel()
            await asyncio.gather(writing, leaving, pinging, return_exceptions=True)
            await self._frames.aclose()
            await self._close()

    async def _write(self, send: Send) -> None:
        try:
            async for data in self._frames:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except Exception as error:
            known = api_error(error)
            if known.code == "internal_error":
                logger.exception("a stream failed")
            await send({"type": "http.response.body", "body": self._failure(known), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _keep_alive(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._ping_seconds)
            await send({"type": "http.response.body", "body": self._ping, "more_body": True})


async def unless_disconnected(request: Request, work: "asyncio.Future[Any]") -> Any:
    """Wait for an answer; where the client leaves before, its work is cancelled."""
    leaving = asyncio.ensure_future(_left(request.receive))
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientLeftError
    finally:
        for task in (work, leaving):
            task.cancel()
        with suppress(Exception, asyncio.CancelledError):
            await asyncio.gather(work, leaving, return_exceptions=True)


class ClientLeftError(Exception):
    """Nobody waits for this answer any more."""


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
