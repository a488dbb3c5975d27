"""Server-sent events by hand: frames, pings while nothing is said, and clients that leave.

A stream ends its request in the engine when its client is gone.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ruvllm.serve.errors import ApiError, api_error

__all__ = [
    "DONE",
    "UNWRAPPED_SEND",
    "EventStream",
    "LineStream",
    "TextFrames",
    "frame",
    "line",
    "named_frame",
    "unless_disconnected",
]

logger = logging.getLogger(__name__)

DONE = b"data: [DONE]\n\n"
# In a request's state: `send` as the server gave it, for the pieces of a stream that has begun.
UNWRAPPED_SEND = "unwrapped_send"
_PING = b": ping\n\n"
_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}

# Made once: `json.dumps` would make an encoder for each token.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

# Stands for a text; no client could have guessed it and put it elsewhere in the event.
_GAP = secrets.token_hex(16)

Frames = AsyncGenerator[bytes, None]


def frame(data: Any) -> bytes:
    """An event that is only data."""
    return b"data: " + _encode(data).encode() + b"\n\n"


def named_frame(name: str, data: Any) -> bytes:
    """An event with a name, as Anthropic's and the responses' streams have."""
    return b"event: " + name.encode() + b"\n" + frame(data)


def line(data: Any) -> bytes:
    """A line of JSON, as Ollama's streams have it."""
    return _encode(data).encode() + b"\n"


class TextFrames:
    """Events that differ in one text alone: all the rest is encoded once, and not for each token."""

    def __init__(self, make: Callable[[str], Any], write: Callable[[Any], bytes] = frame) -> None:
        self._before, gap, self._after = write(make(_GAP)).partition(_encode(_GAP).encode())
        if not gap:
            raise ValueError("the event has no place for the text")

    def frame(self, text: str) -> bytes:
        """The event with this text."""
        return self._before + _encode(text).encode() + self._after


def _failure(error: ApiError) -> bytes:
    return frame(error.body())


class EventStream(Response):
    """Sends frames as they are made, until their end or until the client has left.

    An error in the middle becomes a last frame, since the status has been sent: `failure` writes it, where it
    is not OpenAI's `{"error": {...}}`. At the end, however it comes, `close` is awaited, if there is one: it
    ends what the frames are made of.
    """

    content_type = "text/event-stream; charset=utf-8"

    def __init__(
        self,
        frames: Frames,
        *,
        close: Callable[[], Awaitable[None]] | None = None,
        ping_seconds: float,
        ping: bytes = _PING,
        failure: Callable[[ApiError], bytes] | None = None,
    ) -> None:
        super().__init__(headers={**_HEADERS, "content-type": self.content_type})
        del self.headers["content-length"]
        self._frames = frames
        self._close = close
        self._ping = ping
        self._ping_seconds = ping_seconds
        self._failure = failure or _failure
        self._sent_ping: asyncio.Future[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; what ASGI calls."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # The pieces need nothing of what stands between: each layer would cost as much as to make the piece.
        self._send = scope["state"].get(UNWRAPPED_SEND, send)
        writing = asyncio.ensure_future(self._write(send))
        leaving = asyncio.ensure_future(_left(receive))
        leaving.add_done_callback(lambda _: writing.cancel())
        self._ping_later()
        try:
            await asyncio.wait({writing})
            if not writing.cancelled():
                writing.result()
        finally:
            self._pinging.cancel()
            for task in (writing, leaving):
                task.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)
            await self._frames.aclose()
            if self._close is not None:
                await self._close()

    async def _write(self, send: Send) -> None:
        try:
            async for data in self._frames:
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except Exception as error:
            known = api_error(error)
            if known.code == "internal_error":
                logger.exception("a stream failed")
            body = self._failure(known)
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
        # The end concerns them: until then the request is under way.
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _ping_later(self) -> None:
        self._pinging = asyncio.get_running_loop().call_later(self._ping_seconds, self._ping_now)

    def _ping_now(self) -> None:
        # A client that does not read has one ping waiting, not one more each time.
        if self._sent_ping is None or self._sent_ping.done():
            body = {"type": "http.response.body", "body": self._ping, "more_body": True}
            self._sent_ping = asyncio.ensure_future(_sent(self._send, body))
        self._ping_later()


class LineStream(EventStream):
    """The same for lines of JSON."""

    content_type = "application/x-ndjson"


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


async def _sent(send: Send, message: Message) -> None:
    with suppress(OSError):  # the client is gone, which is seen elsewhere
        await send(message)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
