"""HTTP by hand, for what no client would send, and for clients that leave in the midst."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ruvllm import LLM
from tests.serve.running import RunningServer

# A request is out of the engine so soon after its client has left.
LEAVING_SECONDS = 0.2


@contextmanager
def connection(server: RunningServer, *, timeout: float = 10.0) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as opened:
        yield opened


def request_bytes(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request whose headers are right, unless other ones are given."""
    lines = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def json_request(path: str, body: Any) -> bytes:
    return request_bytes("POST", path, json.dumps(body).encode())


def read_answer(opened: socket.socket, method: str = "POST") -> tuple[http.client.HTTPResponse, bytes]:
    """The next answer on a connection, whole."""
    response = http.client.HTTPResponse(opened, method=method)
    response.begin()
    return response, response.read()


def read_to_end(opened: socket.socket) -> bytes:
    """All that comes until the other side hangs up."""
    received = bytearray()
    try:
        while piece := opened.recv(65536):
            received += piece
    except ConnectionError:
        pass
    return bytes(received)


def hang_up(opened: socket.socket) -> None:
    """Leave as a client does that is killed: without a goodbye, with what it has not read yet."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    opened.close()


def requests_in(llm: LLM) -> int:
    stats = llm.memory_stats()
    return stats.running_requests + stats.waiting_requests


def seconds_until(condition: Callable[[], bool], limit: float = 10.0) -> float:
    began = time.perf_counter()
    while not condition():
        assert time.perf_counter() - began < limit, "it did not come to be"
        time.sleep(0.002)
    return time.perf_counter() - began


def assert_nothing_left(llm: LLM) -> None:
    """No request is in the engine, and every block is free or holds a prefix that nobody uses."""
    seconds_until(lambda: requests_in(llm) == 0)
    stats = llm.pool_stats()
    assert stats.free_blocks + stats.cached_blocks == stats.total_blocks, stats
