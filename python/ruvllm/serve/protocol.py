"""HTTP as uvicorn reads it, with the bounds that it lacks: on headers, and on the time that a request takes.

Without them one connection could fill the memory with a header that never ends, or stay for ever.
"""

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from ruvllm.serve.errors import ApiError

__all__ = ["BoundedProtocol"]

# The request line and all headers; the next proxy or library would not take more either.
MAX_HEADER_BYTES = 64 * 1024
# What may come without a header, or a piece of the body, being complete.
MAX_UNREAD_BYTES = 1024 * 1024
# A request must be here, body and all, in this time.
REQUEST_SECONDS = 60.0


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _header_bytes = 0
    _unread_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin: a client that never says anything is sent away."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        self._unread_bytes += len(data)
        if self._timer is None and not self._is_answering():
            self._start_timer()
        super().data_received(data)
        if self._unread_bytes > MAX_UNREAD_BYTES and not self.transport.is_closing():
            self._refuse(ApiError(431, "the request has a line without an end", code="headers_too_large"))

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

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is here."""
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
