"""Runs an application on uvicorn until it is told to end."""

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event
from types import FrameType

import uvicorn
from fastapi import FastAPI
from starlette.types import Scope

from ruvllm.errors import ConfigError
from ruvllm.observability.stderr import flush_stderr
from ruvllm.serve.entrance import Waiting
from ruvllm.serve.errors import ApiError
from ruvllm.serve.protocol import BoundedProtocol
from ruvllm.serve.server import Server
from ruvllm.serve.settings import ServerSettings

__all__ = ["open_closed_streams", "run_server", "uvicorn_config"]

# Connections that wait to be accepted; the system refuses more.
BACKLOG = 1024
# Longer than clients keep a connection that they do not use: none is closed as it is taken up again.
KEEP_ALIVE_SECONDS = 75
# A thread that runs Python hands over after this time to one that waits; five milliseconds without it. The
# engine's thread needs Python between two plans, and all its cores are idle until it has it.
SWITCH_SECONDS = 0.0001
# What shells give a command that Ctrl-C ended.
INTERRUPTED = 130


class _Uvicorn(uvicorn.Server):
    """Ends well on SIGTERM; uvicorn itself would raise the signal again after its shutdown.

    With a `drain_delay` it goes on answering so long after the first SIGTERM, and only says that it leaves.
    """

    def __init__(
        self, config: uvicorn.Config, *, started: Callable[[], None], leaving: Event, drain_delay: float
    ) -> None:
        super().__init__(config)
        self._on_start = started
        self._leaving = leaving
        self._drain_delay = drain_delay
        self._leaves_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin; who waits for that is told once signals are heard and connections accepted."""
        await super().startup(sockets)
        self._on_start()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a second Ctrl-C ends now, whatever still runs."""
        if self.should_exit and sig == signal.SIGINT:
            os._exit(INTERRUPTED)
        self._leaving.set()
        if sig == signal.SIGTERM and self._drain_delay and self._leaves_at is None:
            self._leaves_at = time.monotonic() + self._drain_delay
            return
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """What uvicorn asks ten times a second: whether it is time to end."""
        has_waited = self._leaves_at is not None and time.monotonic() >= self._leaves_at
        return await super().on_tick(counter) or has_waited

    def stop(self) -> None:
        """Begin to end."""
        self.should_exit = True


def run_server(
    app: FastAPI,
    *,
    host: str,
    port: int,
    drain_seconds: int,
    listening: Callable[[str], None],
    drain_delay: float = 0,
) -> None:
    """Serve until SIGINT or SIGTERM; what runs then may go on for `drain_seconds`.

    After SIGTERM requests are answered for `drain_delay` seconds more, and `/health` says that it ends.

    `listening` is told the address once connections are accepted. Where the first model cannot be loaded,
    its error is raised. Where one still loads at the end, the process ends here: that may take for ever.
    """
    _favour_the_event_loop()
    state: Server = app.state.server
    with _bound(host, port) as opened:
        address = _address(host, opened.getsockname()[1])
        server = _Uvicorn(
            uvicorn_config(app, drain_seconds=drain_seconds),
            started=lambda: listening(address),
            leaving=state.leaving,
            drain_delay=drain_delay,
        )
        app.state.load_failed = server.stop
        server.run(sockets=[opened])
    first = state.models.first
    if not first.was_loaded and (failure := first.load_failure) is not None:
        raise failure
    if state.models.are_being_opened:
        flush_stderr()
        os._exit(0)


def _favour_the_event_loop() -> None:
    """Set what a program of its own may set for its one event loop, beside which other threads run Python."""
    # What is here now stays to the end; the collector of cycles would take some sixty milliseconds to look
    # through it, each time.
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)


def open_closed_streams() -> None:
    """Open what is closed of the three standard streams, to nowhere.

    Otherwise a connection gets the number of stderr, and libuv ends the process when it closes it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def uvicorn_config(app: FastAPI, *, drain_seconds: int) -> uvicorn.Config:
    """How uvicorn is to run the application, wherever it does; one that is not ours has the default times."""
    server: Server | None = getattr(app.state, "server", None)
    settings = server.settings if server is not None else ServerSettings()
    let_in = partial(_let_in, server) if server is not None else None
    protocol = partial(BoundedProtocol, write_seconds=settings.write_seconds, let_in=let_in)
    return uvicorn.Config(
        app,
        http=protocol,  # type: ignore[arg-type]  # it is called, and nothing else
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=drain_seconds,
    )


def _let_in(server: Server, scope: Scope, start: Callable[[], None]) -> Waiting | None:
    """Start a request when it is its tenant's turn; at once where it has none, or is refused."""
    try:
        key = server.access.key_of(scope)
    except ApiError:
        key = None
    if key is None:
        start()
        return None
    return server.entrance.let_in(key.tenant, start)


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
