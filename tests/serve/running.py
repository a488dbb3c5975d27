"""A real server for tests: uvicorn in a thread, on a port of its own, over a real socket."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from ruvllm.serve.running import uvicorn_config

START_SECONDS = 20.0


@dataclass(frozen=True)
class RunningServer:
    """Where it listens, and what it is."""

    url: str
    port: int
    app: FastAPI
    uvicorn: uvicorn.Server

    @property
    def num_connections(self) -> int:
        """How many are open, those included that end once they have been read."""
        return len(self.uvicorn.server_state.connections)

    @property
    def api(self) -> str:
        """What OpenAI's clients want as `base_url`."""
        return f"{self.url}/v1"


@contextmanager
def running(app: FastAPI) -> Iterator[RunningServer]:
    """Serve an application while the block runs."""
    opened = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = opened.getsockname()[1]
    server = uvicorn.Server(uvicorn_config(app, drain_seconds=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        assert thread.is_alive(), "the server ended at its start"
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    try:
        yield RunningServer(url=f"http://127.0.0.1:{port}", port=port, app=app, uvicorn=server)
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)
        opened.close()
        assert not thread.is_alive(), "the server did not end"
