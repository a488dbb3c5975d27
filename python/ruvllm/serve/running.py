"""Runs an application on uvicorn until it is told to end."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from ruvllm.errors import ConfigError
from ruvllm.serve.server import Server

__all__ = ["run_server"]

# Connections that wait to be accepted; the system refuses more.
BACKLOG = 1024


class _Uvicorn(uvicorn.Server):
    """Ends well on SIGTERM; uvicorn itself would raise the signal again after its shutdown."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()

    def stop(self) -> None:
        """Begin to end."""
        self.should_exit = True


def run_server(
    app: FastAPI, *, host: str, port: int, drain_seconds: int, listening: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM; what runs then may go on for `drain_seconds`.

    `listening` is told the address once connections are accepted. Where the first model cannot be loaded,
    its error is raised.
    """
    with _bound(host, port) as opened:
        listening(_address(host, opened.getsockname()[1]))
        server = _Uvicorn(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=drain_seconds,
            )
        )
        app.state.load_failed = server.stop
        server.run(sockets=[opened])
    state: Server = app.state.server
    if (failure := state.models.first.load_failure) is not None:
        raise failure


def _bound(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=_family(host), backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen at {_address(host, port)}: {error.strerror or error}; give another --host or "
            "--port, or 0 for any free port"
        ) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
