"""The command as a process: signals, its log, its disk, its port."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ruvllm import LLM
from tests.serve.conftest import TINY
from tests.serve.process import ServeProcess, free_port, run_to_end, serving, wait_until

resource = pytest.importorskip("resource", reason="signals and limits of processes are Unix's")

# Long enough to be in the midst of, with the small model; ends by itself.
STREAM = {"model": TINY, "prompt": ["a b"] * 40, "max_tokens": 440, "ignore_eos": True, "stream": True}
# More than a block, so that it can be found again.
PROMPT = {"model": TINY, "prompt": "the cat sat on the mat and " * 8, "max_tokens": 4}


class Reader(threading.Thread):
    """Reads a stream in the background."""

    def __init__(self, url: str, **more: object) -> None:
        super().__init__(daemon=True)
        self.lines: list[str] = []
        self.error: Exception | None = None
        self._url = f"{url}/v1/completions"
        self._body = {**STREAM, **more}
        self.start()
        wait_until(lambda: bool(self.lines) or not self.is_alive())

    def run(self) -> None:
        try:
            with httpx.stream("POST", self._url, json=self._body, timeout=30) as response:
                for line in response.iter_lines():
                    if line:
                        self.lines.append(line)
        except httpx.HTTPError as error:
            self.error = error


def refuses(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def cached_tokens(server: ServeProcess) -> int:
    answer = server.post("/v1/completions", **PROMPT)
    assert answer.status_code == 200, answer.text
    return answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"]


# -- signals


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_streams_end_and_keeps_the_cache(
    tiny_chat_path: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    with serving(tiny_chat_path, "--prefix-cache-dir", tmp_path) as server:
        url = server.wait_until_ready().url
        assert cached_tokens(server) == 0
        reader = Reader(url)
        server.process.send_signal(sent)
        wait_until(lambda: refuses(url))
        assert reader.is_alive(), "the stream was over before anything was tested"
        reader.join(30)
        assert reader.error is None
        assert reader.lines[-1] == "data: [DONE]"
        assert not any('"error"' in line for line in reader.lines)
        assert server.ended() == 0, server.log
        assert "Traceback" not in server.log
    with serving(tiny_chat_path, "--prefix-cache-dir", tmp_path) as server:
        assert cached_tokens(server.wait_until_ready()) > 0


def test_a_drain_delay_answers_while_it_says_that_it_leaves(tiny_chat_path: Path) -> None:
    with serving(tiny_chat_path, "--drain-delay", "2") as server:
        url = server.wait_until_ready().url
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{url}/health").status_code == 503)
        assert httpx.get(f"{url}/health").json() == {"status": "leaving"}
        answer = server.post("/v1/completions", model=TINY, prompt="the cat", max_tokens=2)
        assert answer.status_code == 200
        assert server.ended() == 0, server.log
        assert time.monotonic() - began >= 2


def test_a_second_sigterm_does_not_wait_for_the_delay(tiny_chat_path: Path) -> None:
    with serving(tiny_chat_path, "--drain-delay", "600") as server:
        url = server.wait_until_ready().url
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{url}/health").status_code == 503)
        server.process.send_signal(signal.SIGTERM)
        assert server.ended() == 0, server.log


def test_a_second_sigint_ends_at_once(tiny_chat_path: Path) -> None:
    with serving(tiny_chat_path) as server:
        url = server.wait_until_ready().url
        reader = Reader(url, prompt=["a b"] * 250)
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: refuses(url))
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        assert server.ended(10) == 130
        assert time.monotonic() - began < 3
        reader.join(5)
        assert "data: [DONE]" not in reader.lines
        assert "Traceback" not in server.log, server.log


def test_what_takes_longer_than_the_grace_is_ended(tiny_chat_path: Path) -> None:
    with serving(tiny_chat_path, "--shutdown-grace", "0") as server:
        reader = Reader(server.wait_until_ready().url, prompt=["a b"] * 250)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.ended(10) == 0
        assert time.monotonic() - began < 5
        reader.join(5)
        assert "data: [DONE]" not in reader.lines
        assert "Traceback" not in server.log, server.log


def test_a_signal_while_the_model_loads(tiny_chat_path: Path) -> None:
    with serving(tiny_chat_path) as server:
        assert server.url
        server.process.send_signal(signal.SIGTERM)
        assert server.ended() == 0
        assert "Traceback" not in server.log, server.log


# -- the cache on the disk


def test_a_saved_cache_outlives_a_kill(tiny_chat_path: Path, tmp_path: Path) -> None:
    with serving(tiny_chat_path, "--prefix-cache-dir", tmp_path) as server:
        server.wait_until_ready()
        assert cached_tokens(server) == 0
        saved = server.post("/v1/cache/save")
        assert saved.status_code == 200
        assert saved.json()["data"][0]["entries"] > 0
        server.process.kill()
        server.ended()
    with serving(tiny_chat_path, "--prefix-cache-dir", tmp_path) as server:
        assert cached_tokens(server.wait_until_ready()) > 0
        assert "of the last run are back" in server.log


@pytest.fixture(scope="module")
def saved_cache(tiny_chat_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """The name and the content of a file that the server wrote."""
    folder = tmp_path_factory.mktemp("saved")
    with serving(tiny_chat_path, "--prefix-cache-dir", folder) as server:
        cached_tokens(server.wait_until_ready())
        assert server.post("/v1/cache/save").status_code == 200
    (file,) = folder.iterdir()
    return file.name, file.read_bytes()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "another's"])
def test_a_damaged_cache_is_told_of_and_left(
    tiny_chat_path: Path, tmp_path: Path, saved_cache: tuple[str, bytes], damage: str
) -> None:
    name, whole = saved_cache
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    content = {"cut": whole[:-100], "flipped": bytes(flipped), "empty": b""}.get(damage, b"GGUF" * 100)
    (tmp_path / name).write_bytes(content)
    with serving(tiny_chat_path, "--prefix-cache-dir", tmp_path) as server:
        assert cached_tokens(server.wait_until_ready()) == 0
        assert "the prefix cache of the last run is not used" in server.log
        assert "Traceback" not in server.log
        # A new one takes its place.
        assert server.post("/v1/cache/save").status_code == 200
        assert (tmp_path / name).read_bytes()[:100] == whole[:100]


def fill(server: ServeProcess, tokens: int) -> None:
    """Compute prefixes that share nothing, so that the file grows by about so many tokens."""
    for number in range(tokens // 200):
        prompt = [(number * 7 + index * 3) % 300 + 5 for index in range(200)]
        answer = server.post("/v1/completions", model=TINY, prompt=prompt, max_tokens=1)
        assert answer.status_code == 200


def check_full_disk(server: ServeProcess, folder: Path) -> None:
    """What is saved first fits, what is saved next does not, and leaves the first as it was."""
    server.wait_until_ready()
    cached_tokens(server)
    assert server.post("/v1/cache/save").status_code == 200
    (file,) = folder.iterdir()
    before = file.read_bytes()
    fill(server, 8000)
    refused = server.post("/v1/cache/save")
    assert refused.status_code == 507, refused.text
    error = refused.json()["error"]
    assert error["code"] == "storage_failed"
    assert error["type"] == "server_error"
    assert "Traceback" not in server.log, server.log
    assert list(folder.iterdir()) == [file], "half a file stays behind"
    assert file.read_bytes() == before
    assert cached_tokens(server) > 0
    server.process.send_signal(signal.SIGTERM)
    assert server.ended() == 0
    assert "could not be kept" in server.log
    assert file.read_bytes() == before


def test_a_file_that_may_not_grow_is_told_of(tiny_chat_path: Path, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    with serving(tiny_chat_path, "--prefix-cache-dir", tmp_path, prepare=limit) as server:
        check_full_disk(server, tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_told_of(tiny_chat_path: Path, small_disk: Path) -> None:
    with serving(tiny_chat_path, "--prefix-cache-dir", small_disk) as server:
        check_full_disk(server, small_disk)


# -- the log


def wait_for_health(server: ServeProcess, url: str) -> None:
    def is_healthy() -> bool:
        assert server.process.poll() is None
        try:
            return httpx.get(f"{url}/health").status_code == 200
        except httpx.ConnectError:
            return False

    wait_until(is_healthy)


def check_life(server: ServeProcess, url: str) -> None:
    """It answers, makes lines for its log, and ends well."""
    wait_for_health(server, url)
    for _ in range(10):
        assert httpx.post(f"{url}/v1/completions", json=PROMPT).status_code == 200
        assert httpx.get(f"{url}/nothing").status_code == 404
    assert httpx.post(f"{url}/v1/cache/save").status_code == 200
    server.process.send_signal(signal.SIGTERM)
    assert server.ended() == 0


def test_a_log_that_nobody_reads_any_more_does_no_harm(tiny_chat_path: Path, tmp_path: Path) -> None:
    port = free_port()
    reading, writing = os.pipe()
    arguments = ["--prefix-cache-dir", tmp_path, "--port", str(port)]
    with serving(tiny_chat_path, *arguments, stderr=writing) as server:
        os.close(writing)
        assert os.read(reading, 10)
        os.close(reading)
        check_life(server, f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("closed", [(2,), (0, 1, 2)], ids=["stderr", "all three"])
def test_it_runs_with_its_streams_closed(
    tiny_chat_path: Path, tmp_path: Path, closed: tuple[int, ...]
) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    port = free_port()
    arguments = ["--prefix-cache-dir", tmp_path, "--port", str(port)]
    with serving(tiny_chat_path, *arguments, prepare=close, stderr=None) as server:
        check_life(server, f"http://127.0.0.1:{port}")


# -- how it begins


def test_a_port_in_use_is_wrong_usage(tiny_chat_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_to_end([f"tiny={tiny_chat_path}", "--port", str(port)])
    assert ended.returncode == 2
    assert f"cannot listen at http://127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-model-17"], "no-such-model-17"),
        (["/nowhere/at/all.gguf"], "/nowhere/at/all.gguf"),
        (["--host", "0.0.0.0"], "--api-key"),
        (["--api-key", "short"], "8 to 512"),
        (["--api-key-file", "/nowhere/keys"], "/nowhere/keys"),
        (["--host", "999.1.1.1", "--insecure"], "cannot listen"),
        (["--log-format", "xml"], "xml"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(tiny_chat_path: Path, arguments: list[str], said: str) -> None:
    if arguments[0].startswith("--"):
        arguments = [f"tiny={tiny_chat_path}", "--port", "0", *arguments]
    began = time.monotonic()
    ended = run_to_end(arguments)
    assert time.monotonic() - began < 10
    assert ended.returncode in (1, 2)
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("content", [b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 500, b""])
def test_a_model_that_cannot_be_loaded_ends_the_command(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    ended = run_to_end([path, "--port", "0"])
    assert ended.returncode == 1
    assert "error: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_model_is_loaded_on_first_use(tiny_chat_path: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF")
    with serving(tiny_chat_path, f"second={tiny_chat_path}", f"bad={bad}") as server:
        url = server.wait_until_ready().url

        def statuses() -> dict[str, str]:
            return {one["id"]: one["status"]["value"] for one in httpx.get(f"{url}/v1/models").json()["data"]}

        assert statuses() == {"tiny": "loaded", "second": "unloaded", "bad": "unloaded"}
        answer = server.post("/v1/completions", **{**PROMPT, "model": "second"})
        assert answer.status_code == 200
        assert statuses()["second"] == "loaded"
        refused = server.post("/v1/completions", **{**PROMPT, "model": "bad"})
        assert refused.status_code == 503
        assert "could not be loaded" in refused.json()["error"]["message"]
        # The others are served as before.
        assert server.post("/v1/completions", **PROMPT).status_code == 200


def test_the_model_that_is_served_is_the_one_of_the_library(tiny_chat: LLM, tiny_chat_path: Path) -> None:
    with serving(tiny_chat_path) as server:
        body = {**PROMPT, "temperature": 0, "max_tokens": 8}
        answer = server.wait_until_ready().post("/v1/completions", **body)
    from ruvllm import GenerateParams

    params = GenerateParams(max_tokens=8, temperature=0.0, repetition_penalty=1.0)
    assert answer.json()["choices"][0]["text"] == tiny_chat.generate(str(PROMPT["prompt"]), params).text
