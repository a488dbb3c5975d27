"""HTTP as uvicorn reads it, with the bounds that it lacks: on headers, and on the time that a side takes.

Without them one connection could fill the memory with a header that never ends, or stay for ever. And an
upgrade to another protocol, which nothing here does, is ignored, as RFC 9110 wants it.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from ruvllm.serve.entrance import Waiting
from ruvllm.serve.errors import ApiError
from ruvllm.serve.sockets import bound_silence, unread_bytes

__all__ = ["BoundedProtocol"]

logger = logging.getLogger(__name__)

LetIn = Callable[[Scope, Callable[[], None]], Waiting | None]

# The request line and all headers; the next proxy or library would not take more either.
MAX_HEADER_BYTES = 64 * 1024
# What may come without a header, or a piece of the body, being complete.
MAX_UNREAD_BYTES = 1024 * 1024
# A request must be here, body and all, in this time.
REQUEST_SECONDS = 60.0


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    `write_seconds` is how long a client may take nothing of what is sent to it; `let_in` starts a request, by
    its scope, when it is its turn.
    """

    _header_bytes = 0
    _unread_bytes = 0
    _timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _waiting: Waiting | None = None

    def __init__(
        self, *arguments: Any, write_seconds: float = 60.0, let_in: LetIn | None = None, **settings: Any
    ) -> None:
        super().__init__(*arguments, **settings)
        self._write_seconds = write_seconds
        self._let_in = let_in

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin: a client that never says anything is sent away."""
        super().connection_made(transport)
        bound_silence(transport, self._write_seconds)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_timer()
        self._stop_write_timer()
        if self._waiting is not None:
            self._waiting.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        self._unread_bytes += len(data)
        if self._timer is None and not self._is_answering():
            self._start_timer()
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            logger.info("what a client sent is no HTTP: %s", error)
            self.send_400_response("the request is no HTTP that can be read")
            return
        if self._unread_bytes > MAX_UNREAD_BYTES and not self.transport.is_closing():
            self._refuse(ApiError(431, "the request has a line without an end", code="headers_too_large"))

    def _parse(self, data: bytes) -> None:
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                self._begin_again_without_upgrade()
            else:
                return

    def _begin_again_without_upgrade(self) -> None:
        """Let a new parser read the head that has just been read, but for its `Upgrade`.

        The old one takes what follows for the other protocol, and a body for the next request. The names and
        values are its own findings, in which no line can end, so that the head is the same one again.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (method, self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        with suppress(AttributeError):  # as uvicorn's own, where httptools is new enough
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    # -- a client that does not read

    def pause_writing(self) -> None:
        """More waits to be sent than should."""
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        """The client has read on."""
        if not self.transport.is_closing():
            self._stop_write_timer()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """An answer is out, as far as it is about us."""
        super().on_response_complete()
        self._watch_closing()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more was asked for."""
        super().timeout_keep_alive_handler()
        self._watch_closing()

    def shutdown(self) -> None:
        """The server ends."""
        super().shutdown()
        self._watch_closing()

    def _watch_closing(self) -> None:
        """What is closed ends once all is sent, which a client that does not read would put off for ever."""
        if self.transport.is_closing():
            self._watch_writing()

    def _watch_writing(self) -> None:
        """Look from time to time whether the client takes what is there; nothing is added meanwhile."""
        if self._write_timer is None:
            unread = unread_bytes(self.transport)
            self._write_timer = self.loop.call_later(self._write_seconds, self._on_unread, unread)

    def _on_unread(self, before: int) -> None:
        self._write_timer = None
        if unread_bytes(self.transport) < before:
            self._watch_writing()
            return
        logger.info("a client is hung up on: it read nothing for %g s", self._write_seconds)
        self.transport.abort()  # its request ends as that of one who left

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    # -- what the parser found

    def on_message_begin(self) -> None:
        """A request begins."""
        self._header_bytes = self._unread_bytes = 0
        if self._timer is None:
            self._start_timer()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of its path."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or what comes after a body in pieces."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is here; one that wants another protocol is read again, without that wish."""
        if not self.parser.should_upgrade():
            super().on_headers_complete()
        elif self.parser.get_method() == b"CONNECT":
            raise ValueError("no other server is reached through this one")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """A request's head is here, and the answer before it is out; what comes of its body is kept."""
        start = partial(super()._start_asgi_task, cycle, app)
        if self._let_in is None:
            start()
        else:
            self._waiting = self._let_in(cast("Scope", cycle.scope), start)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is here."""
        if not self.parser.should_upgrade():
            self._stop_timer()
            super().on_message_complete()

    # -- refusals

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or has too large a head; called for any error of the parser."""
        if self._header_bytes > MAX_HEADER_BYTES:
            message = f"the headers are larger than {MAX_HEADER_BYTES} bytes"
            self._refuse(ApiError(431, message, code="headers_too_large"))
        else:
            self._refuse(ApiError(400, msg, code="invalid_http"))

    def _count(self, num_bytes: int) -> None:
        self._unread_bytes = 0
        self._header_bytes += num_bytes
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ValueError("the headers are too large")  # makes the parser call `send_400_response`

    def _is_answering(self) -> bool:
        """Whether a request came whole, or nearly so, and its answer is not out."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(REQUEST_SECONDS, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        message = f"the request was not here after {REQUEST_SECONDS:g} s"
        self._refuse(ApiError(408, message, code="request_too_slow"))

    def _refuse(self, error: ApiError) -> None:
        """Say why, unless an answer is under way, and hang up."""
        self._stop_timer()
        if not (self._is_answering() and self.cycle.response_started):
            body = json.dumps(error.body()).encode()
            head = (
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(STATUS_LINE[error.status_code] + head.encode() + body)
        self.transport.close()
        self._watch_closing()
