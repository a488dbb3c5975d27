"""HTTP/1.1 for many answers at a time, at little cost.

On a small machine the load shares its cores with the server, so what a chunk costs here is taken off the
server's speed. Per chunk of an answer, in processor time with 8 streams on 2 cores: httpx 117 us, aiohttp
43 us, this 37 us, and 15 us upon uvloop, which the `serve` extra brings together with httptools.

Not here: proxies, redirects, compression.
"""

import asyncio
import ssl
from typing import Protocol, cast

from ruvllm.client.address import Address
from ruvllm.client.server_client import authorization, not_running
from ruvllm.errors import BackendError, ConfigError, IoError, RuvLLMError

__all__ = ["ConnectionPool", "Receiver", "new_event_loop"]


class Receiver(Protocol):
    """Takes an answer as it comes; what it raises ends the request."""

    hangs_up: bool
    """Once true, the connection is closed."""

    def head(self, status: int, headers: dict[str, str]) -> None:
        """The status and the headers, by their lower-case names."""

    def body(self, data: bytes) -> None:
        """The next bytes of the body."""


class _StaleError(IoError):
    """A connection that had been used before was closed before any answer: another one may be tried."""


class ConnectionPool:
    """Connections to one server, each used again and again."""

    def __init__(self, address: Address, api_key: str | None) -> None:
        self._address = address
        path = address.api.split("/", 3)[3]
        fields = {
            "Host": address.api.split("/", 3)[2],
            "User-Agent": "ruvllm",
            "Accept": "text/event-stream",
            "Content-Type": "application/json",
            **authorization(api_key),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._head = f"POST /{path}/chat/completions HTTP/1.1\r\n{lines}".encode()
        self._tls = ssl.create_default_context() if address.is_tls else None
        self._idle: list[_Connection] = []

    async def post(self, body: bytes, receiver: Receiver) -> None:
        """Ask for an answer and read it to its end, or until the receiver hangs up."""
        request = b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body)
        while idle := self._take_idle():
            try:
                await self._run(idle, request, receiver)
            except _StaleError:
                continue
            return
        await self._run(await self._connect(), request, receiver)

    def close(self) -> None:
        """Close what is open and unused."""
        while self._idle:
            self._idle.pop().close()

    def _take_idle(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        host, port = self._address.host, self._address.port
        try:
            _, connection = await loop.create_connection(_Connection, host, port, ssl=self._tls)
        except OSError as error:
            raise not_running(self._address, error) from error
        return connection

    async def _run(self, connection: "_Connection", request: bytes, receiver: Receiver) -> None:
        try:
            await connection.exchange(request, receiver)
        except BaseException:
            connection.close()
            raise
        if connection.is_open:
            self._idle.append(connection)


class _Connection(asyncio.Protocol):
    """One connection; `exchange` is called again only after the last one ended."""

    def __init__(self) -> None:
        import httptools

        self._httptools = httptools
        self._exchanges = 0
        self._receiver: Receiver | None = None
        self.is_open = False

    async def exchange(self, request: bytes, receiver: Receiver) -> None:
        self._receiver = receiver
        self._headers: dict[str, str] = {}
        self._parser = self._httptools.HttpResponseParser(self)
        self._has_answer = False
        self._ends_by_closing = False
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._exchanges += 1
        self._transport.write(request)
        await self._ended

    def close(self) -> None:
        self.is_open = False
        self._transport.close()

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            self.close()  # nobody asked
            return
        self._has_answer = True
        try:
            self._parser.feed_data(data)
        except self._httptools.HttpParserError as error:
            cause = error.__context__
            failure = BackendError(f"what the server answers is no HTTP: {error}")
            self._end(cause if isinstance(cause, RuvLLMError) else failure)
        if receiver.hangs_up:
            self._end(None, keep=False)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if self._receiver is None:
            return
        if self._ends_by_closing and error is None:
            self._end(None, keep=False)
        elif self._has_answer or self._exchanges == 1:
            why = f": {error}" if error else ""
            self._end(IoError(f"the server closed the connection in the middle of the answer{why}"))
        else:
            self._end(_StaleError("the server closed an unused connection"))

    # -- what httptools calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        headers = self._headers
        self._ends_by_closing = "content-length" not in headers and "transfer-encoding" not in headers
        if self._receiver is not None:
            self._receiver.head(self._parser.get_status_code(), headers)

    def on_body(self, data: bytes) -> None:
        if self._receiver is not None and not self._receiver.hangs_up:
            self._receiver.body(data)

    def on_message_complete(self) -> None:
        self._end(None, keep=self._parser.should_keep_alive())

    def _end(self, error: BaseException | None, *, keep: bool = False) -> None:
        self._receiver = None
        if not keep:
            self.close()
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """One of uvloop's, which costs half, where it is installed; `ConfigError` where httptools is missing."""
    try:
        import httptools  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "putting a server under load needs httptools: pip install 'ruvllm[serve]'"
        ) from error
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return cast("asyncio.AbstractEventLoop", uvloop.new_event_loop())
