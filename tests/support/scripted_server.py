"""An HTTP server that answers as it is told, byte by byte: no framework, none of our own code.

    with ScriptedServer(lambda request: Reply.stream(answer_events(["Hel", "lo"]))) as server:
        ... server.url ... server.requests ... server.hung_up

A piece of a reply is written and sent by itself; a number is a pause in seconds.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream; charset=utf-8"}


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """What it gets; `breaks_off` closes the connection before the end of the body."""

    pieces: Sequence[bytes | float] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))
    chunked: bool = True
    breaks_off: bool = False

    @classmethod
    def json(cls, value: Any, status: int = 200, **headers: str) -> "Reply":
        return cls([json.dumps(value).encode()], status, {**JSON, **headers}, chunked=False)

    @classmethod
    def error(cls, status: int, message: str, **fields: Any) -> "Reply":
        return cls.json({"error": {"message": message, **fields}}, status)

    @classmethod
    def stream(cls, pieces: Iterable[bytes | float], **rest: Any) -> "Reply":
        return cls(list(pieces), headers=dict(EVENTS), **rest)


def event(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def delta(text: str | None, finish_reason: str | None = None, **rest: Any) -> bytes:
    """A chunk of a chat answer."""
    content = {"role": "assistant"} if text is None else {"content": text}
    choice = {"index": 0, "delta": content, "finish_reason": finish_reason}
    return event({"object": "chat.completion.chunk", "choices": [choice], **rest})


def answer_events(
    words: Sequence[str],
    *,
    finish_reason: str = "stop",
    usage: dict[str, Any] | None = None,
    timings: dict[str, Any] | None = None,
    pause: float = 0.0,
) -> list[bytes | float]:
    """A whole answer as OpenAI's API streams it."""
    pieces: list[bytes | float] = [delta(None)]
    for word in words:
        pieces += [pause, delta(word)] if pause else [delta(word)]
    pieces.append(delta("", finish_reason, **({"timings": timings} if timings else {})))
    if usage:
        pieces.append(event({"object": "chat.completion.chunk", "choices": [], "usage": usage}))
    return [*pieces, event(b"[DONE]")]


class ScriptedServer:
    """Runs in a thread; `requests` is what was asked, `hung_up` how many clients left before the end."""

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        self._answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.hung_up = 0
        self.arrivals: list[float] = []

    def __enter__(self) -> "ScriptedServer":
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def wait_until_idle(self) -> None:
        """Until it has noticed the end of every request, which clients may know of before."""
        deadline = time.monotonic() + 10
        while self.open:
            assert time.monotonic() < deadline, f"{self.open} requests are still open"
            time.sleep(0.005)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            while request := await _read(reader):
                self.arrivals.append(self._loop.time())
                self.requests.append(request)
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                try:
                    if not await self._reply(self._answer(request), reader, writer):
                        return
                finally:
                    self.open -= 1
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _reply(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays."""
        headers = dict(reply.headers)
        if reply.chunked:
            headers["transfer-encoding"] = "chunked"
        elif not reply.breaks_off:
            headers["content-length"] = str(
                sum(len(piece) for piece in reply.pieces if isinstance(piece, bytes))
            )
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {reply.status} Said\r\n{lines}\r\n".encode())
        if reply.chunked or reply.breaks_off:
            # While the answer is not at its end, a client has nothing to say: what is read is its leaving.
            gone = asyncio.ensure_future(reader.read(1))
            try:
                if not await self._write_pieces(reply, gone, writer):
                    return False
            finally:
                gone.cancel()
                await asyncio.gather(gone, return_exceptions=True)
            if reply.breaks_off:
                return False
            writer.write(b"0\r\n\r\n")
        else:
            writer.write(b"".join(piece for piece in reply.pieces if isinstance(piece, bytes)))
        await writer.drain()
        return headers.get("connection") != "close"

    async def _write_pieces(
        self, reply: Reply, gone: "asyncio.Future[bytes]", writer: asyncio.StreamWriter
    ) -> bool:
        """Whether the client heard all of them."""
        for piece in reply.pieces:
            if isinstance(piece, bytes):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if reply.chunked else piece)
                await writer.drain()
                # Sent by itself: the other side gets it as one piece.
                await asyncio.wait([gone], timeout=0.0005)
            else:
                await asyncio.wait([gone], timeout=piece)
            if gone.done():
                self.hung_up += 1
                return False
        return True


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {}
    for line in filter(None, lines):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, json.loads(body) if body else None)
