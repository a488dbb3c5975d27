"""`ruvllm serve` as its users start it: a process with a port, signals and a log."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 30.0
_ADDRESS = re.compile(r" at (http://\S+)")


class ServeProcess:
    """One running command."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        if process.stderr is not None:
            self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line.decode("utf-8", "replace"))

    @property
    def log(self) -> str:
        """What it has written to stderr so far."""
        return "".join(self._lines)

    @property
    def url(self) -> str:
        """Where it listens, once it says so."""
        wait_until(lambda: _ADDRESS.search(self.log) is not None or self.process.poll() is not None)
        found = _ADDRESS.search(self.log)
        assert found, f"it ended with {self.process.poll()}: {self.log}"
        return found[1]

    def wait_until_ready(self) -> "ServeProcess":
        """Wait until it answers requests."""
        url = self.url
        wait_until(lambda: httpx.get(f"{url}/health").status_code == 200)
        return self

    def post(self, path: str, **body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, timeout=30)

    def ended(self, seconds: float = 15.0) -> int:
        """Its exit code."""
        code = self.process.wait(seconds)
        if self._reader.is_alive():
            self._reader.join(5)
        return code


def wait_until(condition: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


def free_port() -> int:
    """A port that nobody listened at a moment ago, for a program that cannot take any."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return int(opened.getsockname()[1])


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "ruvllm", "serve", *map(str, arguments)]


@contextmanager
def serving(
    model: Path,
    *arguments: str | Path,
    prepare: Callable[[], None] | None = None,
    within: Sequence[str] = (),
    **settings: Any,
) -> Iterator[ServeProcess]:
    """Start it on any free port with `tiny` as the model's name; killed where the block leaves it running.

    `within` is what the command begins with, where it is to run elsewhere.
    """
    settings.setdefault("stderr", subprocess.PIPE)
    process = subprocess.Popen(
        [*within, *command(f"tiny={model}", "--port", "0", *arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=prepare,
        env={**os.environ, "RUVLLM_SHUTDOWN_GRACE": "20"},
        **settings,
    )
    try:
        yield ServeProcess(process)
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def run_to_end(arguments: Sequence[str | Path]) -> "subprocess.CompletedProcess[str]":
    """A command that is expected to end by itself."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=START_SECONDS, stdin=subprocess.DEVNULL
    )
