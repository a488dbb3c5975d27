"""The lightest client that there can be: bare sockets, answers that are only looked through for their end.

Run by `benches.serve_cost` in a process of its own: `python -m benches.serve_client PORT FILE`, where each
line of FILE is a body. For each line on stdin it sends all of them at once, each on a connection of its own,
and prints the seconds until the last one's end.
"""

import asyncio
import sys
import time
from pathlib import Path

END = b"data: [DONE]\n\n"


class Stream(asyncio.Protocol):
    """One connection that asks again and again."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._tail = b""
        self.done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self) -> "asyncio.Future[None]":
        """Send the request; done with its answer's end."""
        self.done = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        return self.done

    def data_received(self, data: bytes) -> None:
        """Look for the end."""
        self._tail = (self._tail + data)[-len(END) - 16 :]
        if END in self._tail and self.done is not None:
            self._tail = b""
            self.done.set_result(None)


async def main() -> None:
    """Connect, and ask whenever told."""
    port, path = int(sys.argv[1]), Path(sys.argv[2])
    loop = asyncio.get_running_loop()
    streams = []
    for body in path.read_bytes().splitlines():
        head = (
            f"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        request = head.encode() + body
        _, stream = await loop.create_connection(lambda request=request: Stream(request), "127.0.0.1", port)  # type: ignore[misc]
        streams.append(stream)
    while await loop.run_in_executor(None, sys.stdin.readline):
        begin = time.perf_counter()
        await asyncio.gather(*(stream.ask() for stream in streams))
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
