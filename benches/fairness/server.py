"""A server with keys in a process of its own, and clients as light as they can be: bare sockets."""

import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Answer", "Server", "serve"]

TENANTS = ("streams", "leaver", "worst", "other", "third", "admin")
TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A streamed answer: seconds from its request to its first text and to its end, and its tokens."""

    first: float
    total: float
    tokens: int

    @property
    def rate(self) -> float:
        """Tokens a second after the first."""
        return (self.tokens - 1) / max(1e-9, self.total - self.first)


class Server:
    """Where it listens; every tenant has a key of its name."""

    def __init__(self, port: int) -> None:
        self.port = port

    def open(self, tenant: str, path: str, **body: Any) -> socket.socket:
        """Send a request, and read nothing of its answer."""
        return self.send(self.request(tenant, path, **body))

    def request(self, tenant: str, path: str, **body: Any) -> bytes:
        """A request as it is sent."""
        content = json.dumps({"model": "m", **body}).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer key-of-{tenant}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    def send(self, request: bytes) -> socket.socket:
        """Send it, and read nothing of its answer."""
        opened = socket.create_connection(("127.0.0.1", self.port), TIMEOUT_SECONDS)
        opened.sendall(request)
        return opened

    def stream(self, tenant: str, prompt: list[int], tokens: int, **more: Any) -> Answer:
        """Read a streamed completion to its end."""
        began = time.perf_counter()
        first = None
        received = b""
        body = {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "temperature": 0, "stream": True}
        body["speculate"] = False
        with self.open(tenant, "/v1/completions", **body, **more) as opened:
            while b"[DONE]" not in received:
                data = opened.recv(65536)
                if not data:
                    raise SystemExit(f"the answer to {tenant} broke off: {received[-500:]!r}")
                received += data
                if first is None and b'"text":"' in received:
                    first = time.perf_counter() - began
                if b" 200 " not in received[:20] and len(received) > 20:
                    raise SystemExit(f"{tenant} was refused: {received[:500]!r}")
        return Answer(first or 0.0, time.perf_counter() - began, tokens)


@contextmanager
def serve(model: Path, *arguments: str) -> Iterator[Server]:
    """Run `ruvllm serve` while the block runs."""
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys.txt"
        keys.write_text("".join(f"key-of-{name} tenant={name}\n" for name in TENANTS))
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "ruvllm", "serve", f"m={model}", "--port", "0"]
        with log.open("wb") as stderr:
            process = subprocess.Popen([*command, "--api-key-file", str(keys), *arguments], stderr=stderr)
        try:
            yield Server(_port(process, log))
        finally:
            process.kill()
            process.wait()


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    """Where it listens, once it answers."""
    while process.poll() is None:
        found = re.search(r" at http://\S+:(\d+)", log.read_text())
        if found:
            port = int(found[1])
            with socket.create_connection(("127.0.0.1", port)) as opened:
                opened.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                if b" 200 " in opened.recv(4096):
                    return port
        time.sleep(0.05)
    raise SystemExit(f"the server ended: {log.read_text()}")
