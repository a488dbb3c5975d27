"""HTTP that asks for another protocol, and clients that do not read: nothing is lost, smuggled or kept."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.responses import Response

from ruvllm import LLM
from ruvllm.errors import ConfigError
from ruvllm.serve import ServerSettings, create_app, protocol
from tests.serve.conftest import TINY
from tests.serve.raw import (
    assert_nothing_left,
    connection,
    json_request,
    read_answer,
    read_to_end,
    request_bytes,
    requests_in,
    seconds_until,
)
from tests.serve.running import RunningServer, running

COMPLETIONS = "/v1/completions"
# Its weights are random: of some hundred answers one would end before its first token.
BODY = json.dumps({"model": TINY, "prompt": "hi", "max_tokens": 2, "ignore_eos": True}).encode()
WISHES = {
    "h2c": {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AAMAAABkAAQA"},
    "websocket": {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_key": "AAAA"},
    "several": {"connection": "keep-alive, upgrade", "upgrade": "foo/1, h2c"},
}


def wishing(wish: str, body: bytes = BODY, **headers: str) -> bytes:
    return request_bytes("POST", COMPLETIONS, body, **(WISHES[wish] | headers))


def assert_completion(opened: socket.socket) -> None:
    response, content = read_answer(opened)
    assert response.status == 200, content
    assert json.loads(content)["usage"]["completion_tokens"] >= 1


# -- upgrades


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("parts", ["one packet", "head and body", "byte by byte"])
def test_fault_8_an_upgrade_that_is_not_done_is_ignored(
    tiny_server: RunningServer, wish: str, parts: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """And the connection goes on: with another such request, and with a plain one."""
    request = wishing(wish)
    head, _, _ = request.partition(b"\r\n\r\n")
    cuts = {"one packet": [], "head and body": [len(head) + 4], "byte by byte": range(1, len(request))}[parts]
    with connection(tiny_server) as opened:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            for begin, end in zip([0, *cuts], [*cuts, len(request)], strict=True):
                opened.sendall(request[begin:end])
                if parts == "head and body":
                    time.sleep(0.05)
            assert_completion(opened)
        opened.sendall(request_bytes("GET", "/health"))
        assert read_answer(opened, "GET")[0].status == 200
    assert capfd.readouterr().err == ""


def test_fault_8_a_body_in_pieces_with_an_upgrade(tiny_server: RunningServer) -> None:
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:8], BODY[8:]))
    request = wishing("h2c", b"", content_length="", transfer_encoding="chunked") + pieces
    with connection(tiny_server) as opened:
        opened.sendall(request + b"0\r\n\r\n")
        assert_completion(opened)
        opened.sendall(request)
        time.sleep(0.05)
        opened.sendall(b"0\r\nx-trailer: 1\r\n\r\n")
        assert_completion(opened)
        opened.sendall(request_bytes("GET", "/health"))
        assert read_answer(opened, "GET")[0].status == 200


def test_an_upgrade_without_a_body_and_one_that_waits_to_be_told_to_go_on(tiny_server: RunningServer) -> None:
    with connection(tiny_server) as opened:
        opened.sendall(request_bytes("GET", "/health", **WISHES["websocket"], content_length=""))
        assert read_answer(opened, "GET")[0].status == 200
        request = wishing("h2c", expect="100-continue")
        head, _, _ = request.partition(b"\r\n\r\n")
        opened.sendall(head + b"\r\n\r\n")
        assert opened.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        opened.sendall(BODY)
        assert_completion(opened)


INNER = request_bytes("POST", "/v1/cache/flush")


@pytest.mark.parametrize("wish", WISHES)
def test_what_follows_an_upgrade_is_cut_as_without_it(tiny_server: RunningServer, wish: str) -> None:
    """A body that looks like a request is a body, and a request behind it is a request."""
    for body in (INNER, INNER + BODY, BODY + INNER):
        with connection(tiny_server) as opened:
            # All in one packet: the request, a second one, and a last one that ends the connection.
            last = request_bytes("GET", "/health", **WISHES[wish] | {"connection": "close, upgrade"})
            opened.sendall(wishing(wish, body) + wishing(wish) + last)
            answers = read_to_end(opened)
        statuses = re.findall(rb"HTTP/1\.1 (\d+) ", answers)
        assert statuses == [b"400", b"200", b"200"], (body, answers)
        assert b"flushed" not in answers


AMBIGUOUS = {
    "a length and pieces": {"transfer_encoding": "chunked"},
    "two lengths": {"content_length": "5\r\ncontent-length: 6"},
    "a length that is no number": {"content_length": "5x"},
    "pieces that are not the last coding": {"content_length": "", "transfer_encoding": "chunked, gzip"},
    "a folded header": {"x_a": "b\r\n upgrade: h2c"},
}


@pytest.mark.parametrize("headers", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_an_upgrade_makes_nothing_ambiguous_pass(tiny_server: RunningServer, headers: dict[str, str]) -> None:
    with connection(tiny_server) as opened:
        opened.sendall(wishing("h2c", BODY, **headers) + INNER)
        answers = read_to_end(opened)
    assert answers.startswith(b"HTTP/1.1 400 "), answers
    assert answers.count(b"HTTP/1.1 ") == 1, answers


@pytest.mark.parametrize("target", ["a:443", "/v1/models", "127.0.0.1:1"])
def test_no_other_server_is_reached_through_this_one(tiny_server: RunningServer, target: str) -> None:
    with connection(tiny_server) as opened:
        opened.sendall(f"CONNECT {target} HTTP/1.1\r\nhost: a\r\n\r\n".encode() + INNER)
        answers = read_to_end(opened)
    assert answers.startswith(b"HTTP/1.1 400 "), answers
    assert answers.count(b"HTTP/1.1 ") == 1, answers


def test_upgrades_are_bounded_as_other_heads_are(tiny_server: RunningServer) -> None:
    with connection(tiny_server) as opened:
        opened.sendall(request_bytes("GET", "/health", **WISHES["h2c"], x_long="a" * 70_000))
        assert read_to_end(opened).startswith(b"HTTP/1.1 431 ")
    # Many in one packet cost no more than other ones do.
    many = 1000
    with connection(tiny_server, timeout=30) as opened:
        one = request_bytes("GET", "/health", **WISHES["websocket"])
        opened.sendall(one * many + request_bytes("GET", "/health", connection="close"))
        assert read_to_end(opened).count(b"HTTP/1.1 200 OK") == many + 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_fault_8_curl_asks_for_http_2(tiny_server: RunningServer) -> None:
    if (
        "HTTP2"
        not in subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout
    ):
        pytest.skip("this curl knows no HTTP/2")
    url = f"{tiny_server.api}/completions"
    command = ["curl", "--silent", "--show-error", "--http2", "-H", "content-type: application/json"]
    command += ["--write-out", "%{http_code} %{num_connects}\n", "--output", os.devnull]
    large = json.dumps({"model": TINY, "prompt": "hi", "max_tokens": 2, "user": "u" * 300_000})
    for body in (BODY.decode(), large):
        asked = subprocess.run(
            [*command, "--data-binary", "@-", url], input=body, capture_output=True, text=True, check=True
        )
        assert asked.stdout == "200 1\n", asked
    twice = [*command, "-d", BODY.decode(), url, "--next", *command[1:], "-d", BODY.decode(), url]
    assert subprocess.run(twice, capture_output=True, text=True, check=True).stdout == "200 1\n200 0\n"


# -- clients that do not read

SHORT_SECONDS = 1.0
UNREAD: dict[str, Any] = {
    "model": TINY,
    "prompt": ["a b"] * 40,
    "max_tokens": 480,
    "ignore_eos": True,
    "stream": True,
}
UNREAD_CHAT = {
    "model": TINY,
    "messages": [{"role": "user", "content": "hi"}],
    "n": 16,
    "max_tokens": 400,
    "ignore_eos": True,
    "stream": True,
}
FEW_BYTES = 40_000  # less than what makes a writer wait


@pytest.fixture
def impatient(tiny_chat: LLM, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    """A server whose system keeps little of what is sent, and leaves all to the protocol."""

    def keep_little(transport: asyncio.Transport, seconds: float) -> None:
        del seconds
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    monkeypatch.setattr(protocol, "bound_silence", keep_little)
    settings = ServerSettings(write_seconds=SHORT_SECONDS, stream_interval=0.0)
    app = create_app({TINY: tiny_chat}, settings)
    app.add_api_route("/few", lambda: Response(b"x" * FEW_BYTES))
    with running(app) as server:
        yield server


@contextmanager
def narrow(server: RunningServer, request: bytes) -> Iterator[socket.socket]:
    """A connection that holds little of an answer, with this request sent."""
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.settimeout(20)
        opened.connect(("127.0.0.1", server.port))
        opened.sendall(request)
        yield opened


def test_a_client_that_reads_nothing_is_hung_up_on(impatient: RunningServer, tiny_chat: LLM) -> None:
    with (
        narrow(impatient, json_request(COMPLETIONS, UNREAD)) as one,
        narrow(impatient, json_request("/v1/chat/completions", UNREAD_CHAT)) as other,
    ):
        seconds_until(lambda: requests_in(tiny_chat) > 40)
        # They would go on for much longer if somebody read them.
        seconds_until(lambda: requests_in(tiny_chat) == 0)
        seconds_until(lambda: impatient.num_connections == 0)
        assert b"[DONE]" not in read_to_end(one) + read_to_end(other)
    assert_nothing_left(tiny_chat)


def test_a_client_that_reads_slowly_stays(impatient: RunningServer, tiny_chat: LLM) -> None:
    """It takes much longer than the bound in all, but something in every while."""
    received = bytearray()
    with narrow(impatient, json_request(COMPLETIONS, UNREAD)) as opened:
        began = time.monotonic()
        while time.monotonic() - began < 4 * SHORT_SECONDS:
            received += opened.recv(2048)
            time.sleep(SHORT_SECONDS / 20)
        while not received.endswith(b"0\r\n\r\n"):
            piece = opened.recv(1_000_000)
            assert piece, "the server hung up"
            received += piece
    assert received.count(b"data: [DONE]") == 1
    assert_nothing_left(tiny_chat)


@pytest.mark.parametrize("then", ["close", "keep-alive", "shutdown"])
def test_a_whole_answer_that_nobody_takes_is_not_kept(impatient: RunningServer, then: str) -> None:
    """It is out as far as the application sees, and the connection is closed but for what was not taken."""
    wish = "close" if then == "close" else "keep-alive"
    with narrow(impatient, request_bytes("GET", "/few", connection=wish)):
        (one,) = wait_for_connections(impatient, 1)
        seconds_until(lambda: one.cycle is not None and one.cycle.response_complete)
        if then != "close":
            end = one.shutdown if then == "shutdown" else one.timeout_keep_alive_handler
            one.loop.call_soon_threadsafe(end)
        time.sleep(SHORT_SECONDS / 2)
        assert impatient.num_connections == 1, "it was not held up at all"
        seconds_until(lambda: impatient.num_connections == 0)


def wait_for_connections(server: RunningServer, number: int) -> list[Any]:
    seconds_until(lambda: server.num_connections == number)
    return list(server.uvicorn.server_state.connections)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is told")
def test_the_system_looks_after_connections_that_say_nothing(tiny_server: RunningServer) -> None:
    with connection(tiny_server) as mine:
        mine.sendall(request_bytes("GET", "/health"))
        assert read_answer(mine, "GET")[0].status == 200
        port = mine.getsockname()[1]
        (one,) = [c for c in tiny_server.uvicorn.server_state.connections if c.client[1] == port]
        opened = one.transport.get_extra_info("socket")
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        assert 0 < opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 4000, "1"])
def test_the_bound_is_checked(seconds: Any) -> None:
    with pytest.raises(ConfigError, match="write_seconds"):
        ServerSettings(write_seconds=seconds)
