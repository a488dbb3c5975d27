"""What goes wrong around a server: a log that nobody reads, files that run out, a start that never ends."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from ruvllm import LLM
from ruvllm.errors import (
    ConfigError,
    InvalidOperationError,
    IoError,
    ModelError,
    NotFoundError,
    OutOfMemoryError,
    RuvLLMError,
    StorageError,
)
from ruvllm.observability.stderr import QueuedStream
from ruvllm.serve import ServedModel, create_app, retrying
from ruvllm.serve.retrying import LoadFailures
from tests.serve.conftest import TINY
from tests.serve.process import ServeProcess, free_port, serving, wait_until
from tests.serve.raw import json_request, read_to_end, request_bytes
from tests.serve.running import RunningServer, running

resource = pytest.importorskip("resource", reason="signals, pipes and limits of processes are Unix's")

BODY = {"model": TINY, "prompt": "hi", "max_tokens": 2}
# To end, without a load: for its threads, its prefix cache, and what stderr still gets.
ENDING_SECONDS = 15.0


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.ConnectError:
        return False


# -- stderr that nobody reads


@contextmanager
def full_pipe(*, blocking: bool) -> Iterator[tuple[int, int]]:
    """Both ends of a pipe in which there is no room."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while os.write(writing, b"." * 4096):
                pass
        os.set_blocking(writing, blocking)
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("blocking", [True, False], ids=["waits", "refuses"])
def test_a_server_whose_stderr_is_full_answers_and_ends(
    tiny_chat_path: Path, form: str, blocking: bool
) -> None:
    """And what could not be written is told of, once somebody reads on."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with full_pipe(blocking=blocking) as (reading, writing):
        arguments = ["--port", str(port), "--log-format", form]
        with serving(tiny_chat_path, *arguments, stderr=writing) as server:
            wait_until(lambda: server.process.poll() is not None or is_healthy(url))
            # Far more lines than wait: each has the longest of all ids.
            request = request_bytes("GET", "/health", x_request_id="x" * 128)
            last = request_bytes("GET", "/health", connection="close")
            with socket.create_connection(("127.0.0.1", port), timeout=20) as opened:
                opened.sendall(request * 1500 + last)
                assert read_to_end(opened).count(b"HTTP/1.1 200 ") == 1501
            assert httpx.post(f"{url}/v1/completions", json=BODY).status_code == 200
            text = b""
            os.set_blocking(reading, False)
            deadline = time.monotonic() + 20
            while b"lines are missing here" not in text and time.monotonic() < deadline:
                try:
                    text += os.read(reading, 65536)
                except BlockingIOError:
                    time.sleep(0.01)
            assert b"lines are missing here: stderr was not read" in text
            assert text.count(b"route=/health") >= 100, "what waited was lost, too"
            server.process.send_signal(signal.SIGTERM)
            assert server.ended(ENDING_SECONDS) == 0


def test_a_full_stderr_holds_up_no_end(tiny_chat_path: Path, tmp_path: Path) -> None:
    """Neither that of a server, nor that of a start that fails, which has something to say."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    port = free_port()
    with full_pipe(blocking=True) as (_, writing):
        with serving(tiny_chat_path, "--port", str(port), stderr=writing) as server:
            wait_until(lambda: is_healthy(f"http://127.0.0.1:{port}"))
            server.process.send_signal(signal.SIGTERM)
            assert server.ended(ENDING_SECONDS) == 0
        with serving(broken, stderr=writing) as server:
            assert server.ended(ENDING_SECONDS + 15) == 1


def test_what_is_queued_is_written_in_order_and_counted() -> None:
    reading, writing = os.pipe()
    stream = QueuedStream(os.fdopen(writing, "wb", buffering=0), encoding="ascii", max_bytes=1000)
    lines = [f"line {number} \N{SNOWMAN}\n" for number in range(20)]
    for line in lines:
        print(line, end="", file=stream)
    assert stream.drain(10)
    assert os.read(reading, 65536).decode() == "".join(lines).replace("\N{SNOWMAN}", "\\u2603")
    with pytest.raises(TypeError, match="bytes"):
        stream.write(b"x")  # type: ignore[arg-type]
    assert not stream.isatty()
    assert stream.fileno() == writing
    # Where the other side is gone, it is written to nowhere, and nobody waits.
    os.close(reading)
    stream.write("lost\n")
    assert stream.drain(10)


def test_a_writer_is_never_held_up() -> None:
    with full_pipe(blocking=True) as (_, writing):
        stream = QueuedStream(os.fdopen(os.dup(writing), "wb", buffering=0), encoding="utf-8", max_bytes=1000)
        began = time.monotonic()
        for _ in range(10_000):
            stream.write("a line\n")
        assert not stream.drain(0.2)
        assert time.monotonic() - began < 10


# -- files that run out


MOST_FILES = 64


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))


def num_files(server: ServeProcess) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how many files another process has")
def test_fault_10_a_model_that_failed_for_want_of_files_is_tried_again(tiny_chat_path: Path) -> None:
    with serving(tiny_chat_path, f"lazy={tiny_chat_path}", prepare=few_files) as server:
        url = server.wait_until_ready().url
        port = int(url.rpartition(":")[2])
        with ExitStack() as idle, httpx.Client(timeout=20) as client:
            assert client.get(f"{url}/health").status_code == 200
            for _ in range(100):
                idle.enter_context(socket.create_connection(("127.0.0.1", port)))
            wait_until(lambda: num_files(server) >= MOST_FILES - 1)
            refused = client.post(f"{url}/v1/completions", json={**BODY, "model": "lazy"})
            assert refused.status_code == 503, refused.text
            assert int(refused.headers["retry-after"]) >= 1
            message = refused.json()["error"]["message"]
            assert "Too many open files" in message
            assert str(tiny_chat_path.parent) not in refused.text
            # What it had been told before it is tried again costs nothing.
            again = client.post(f"{url}/v1/completions", json={**BODY, "model": "lazy"})
            assert again.status_code == 503

        def is_answered() -> bool:
            return server.post("/v1/completions", **{**BODY, "model": "lazy"}).status_code == 200

        wait_until(is_answered)
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}


class Loader:
    """Fails as it is told, then loads."""

    def __init__(self, path: Path, *errors: Exception) -> None:
        self._path = path
        self._errors = list(errors)
        self.asked = 0

    def __call__(self) -> LLM:
        self.asked += 1
        if self._errors:
            raise self._errors.pop(0)
        return LLM(self._path)


@contextmanager
def with_further_model(path: Path, load: Callable[[], LLM]) -> Iterator[RunningServer]:
    models = [ServedModel(TINY, lambda: LLM(path)), ServedModel("further", load)]
    with running(create_app(models)) as server:
        wait_until(lambda: is_healthy(server.url))
        yield server


def ask_further(server: RunningServer) -> httpx.Response:
    return httpx.post(f"{server.api}/completions", json={**BODY, "model": "further"}, timeout=20)


PASSING = [OSError(24, "Too many open files"), MemoryError(), IoError("x"), OutOfMemoryError("x")]
PASSING += [StorageError("x"), ConnectionError("x"), RuntimeError("can't start new thread"), TimeoutError()]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_fault_10_what_passes_is_tried_again_after_a_pause(
    tiny_chat_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.5)
    load = Loader(tiny_chat_path, error)
    with with_further_model(tiny_chat_path, load) as server:
        began = time.monotonic()
        for _ in range(3):
            refused = ask_further(server)
            if time.monotonic() - began < 0.4:  # else the machine was too slow to see the pause
                assert refused.status_code == 503
                assert refused.headers["retry-after"] == "1"
                assert load.asked == 1
        wait_until(lambda: ask_further(server).status_code == 200)
        assert load.asked == 2
        assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}


FINAL = [ModelError("x"), ConfigError("x"), NotFoundError("x")]


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
def test_what_would_fail_again_is_not_tried_again(
    tiny_chat_path: Path, error: RuvLLMError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.01)
    load = Loader(tiny_chat_path, error)
    with with_further_model(tiny_chat_path, load) as server:
        for _ in range(3):
            refused = ask_further(server)
            assert refused.status_code == 503
            assert "retry-after" not in refused.headers
            time.sleep(0.05)
        assert load.asked == 1


def test_the_pauses_grow_to_a_minute() -> None:
    now = 0.0
    failures = LoadFailures(clock=lambda: now)
    pauses = []
    for _ in range(2000):
        failures.add(OSError("x"))
        pauses.append(failures.pause)
        now += failures.pause or 0
        assert failures.standing is None
    assert pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pauses[-1] == 60
    failures.clear()
    failures.add(OSError("x"))
    assert failures.pause == 1, "what was long ago is forgotten"


# -- a start that does not end

PROGRAM = """
import sys, time
from ruvllm.serve import ServedModel, create_app
from ruvllm.serve.running import run_server

def load():
    time.sleep(600)

app = create_app([ServedModel("tiny", load)])
run_server(app, host="127.0.0.1", port=0, drain_seconds=2,
           listening=lambda address: print("it is at", address, file=sys.stderr, flush=True))
sys.exit(0)
"""


def assert_ends_on_sigterm(server: ServeProcess, within: float) -> None:
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.ended(within) == 0, server.log
    assert time.monotonic() - began < within
    assert "Traceback" not in server.log, server.log


@pytest.mark.parametrize("what", ["the model", "its prefixes"])
def test_fault_5f_sigterm_ends_a_start_at_a_fifo(tiny_chat_path: Path, tmp_path: Path, what: str) -> None:
    """A file that is no file never has an end. A start that refuses it has ended as well."""
    model, arguments = tiny_chat_path, ["--prefix-cache-dir", tmp_path]
    if what == "the model":
        model = tmp_path / "tiny.gguf"
        os.mkfifo(model)
    else:
        with serving(tiny_chat_path, *arguments) as server:
            assert server.wait_until_ready().post("/v1/completions", **BODY).status_code == 200
            assert server.post("/v1/cache/save").status_code == 200
        (file,) = tmp_path.iterdir()
        file.unlink()
        os.mkfifo(file)
    with serving(model, *arguments) as server:
        wait_until(lambda: " at http" in server.log or server.process.poll() is not None)
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(2)
        if server.process.poll() is None:
            assert_ends_on_sigterm(server, 8)


@pytest.mark.parametrize("waiting", [0, 3])
def test_fault_5f_sigterm_ends_a_start_that_hangs(waiting: int) -> None:
    """Quickly where nobody waits; else after the grace, for the model might still come."""
    process = ServeProcess(subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE))
    try:
        port = int(process.url.rpartition(":")[2])
        with ExitStack() as clients:
            for _ in range(waiting):
                client = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
                client.sendall(json_request("/v1/completions", BODY))
            wait_until(lambda: httpx.get(f"{process.url}/health").status_code == 503)
            assert_ends_on_sigterm(process, 8)
    finally:
        process.process.kill()
        process.ended()
        assert process.process.stderr is not None
        process.process.stderr.close()


def test_sigterm_ends_a_server_whose_further_model_hangs(tiny_chat_path: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "lazy.gguf"
    os.mkfifo(fifo)
    arguments = [f"lazy={fifo}", "--shutdown-grace", "1"]
    with serving(tiny_chat_path, *arguments) as server:
        url = server.wait_until_ready().url
        asking = threading.Thread(target=swallow, args=(url,), daemon=True)
        asking.start()
        time.sleep(0.5)
        assert server.post("/v1/completions", **BODY).status_code == 200
        assert_ends_on_sigterm(server, 10)
        asking.join(5)


def swallow(url: str) -> None:
    with suppress(httpx.HTTPError):
        httpx.post(f"{url}/v1/completions", json={**BODY, "model": "lazy"}, timeout=20)


def test_a_model_that_comes_after_the_end_is_given_back(tiny_chat_path: Path) -> None:
    """In a program that lives on, nothing of it stays."""
    let_go = threading.Event()
    opened: list[LLM] = []

    def load() -> LLM:
        assert let_go.wait(20)
        opened.append(LLM(tiny_chat_path))
        return opened[0]

    model = ServedModel(TINY, load)
    with running(create_app([model])):
        wait_until(lambda: model.status == "loading")
    assert model.is_being_opened
    let_go.set()
    wait_until(lambda: not model.is_being_opened)
    with pytest.raises(InvalidOperationError, match="closed"):
        opened[0].generate("hi")
