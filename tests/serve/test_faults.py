"""Clients that send what is no request, too much or too little, over a real socket: the server lives."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest

from ruvllm import LLM
from ruvllm.serve import ServerSettings, create_app, protocol
from tests.serve.conftest import TINY
from tests.serve.raw import (
    assert_nothing_left,
    connection,
    json_request,
    read_answer,
    read_to_end,
    request_bytes,
)
from tests.serve.running import RunningServer, running

COMPLETIONS = "/v1/completions"
BODY = {"model": TINY, "prompt": "hi", "max_tokens": 2}
JSON = {"content-type": "application/json"}
LIMIT = 1_000_000


@pytest.fixture(scope="module")
def server(tiny_chat: LLM) -> Iterator[RunningServer]:
    # Each token alone: as many events, and so as many bytes, whatever the machine's speed.
    settings = ServerSettings(max_body_bytes=LIMIT, stream_interval=0.0)
    with running(create_app({TINY: tiny_chat}, settings)) as server:
        yield server


@pytest.fixture(autouse=True)
def _it_lives(server: RunningServer, tiny_chat: LLM, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After each attack: it answers, nothing is left in the engine, nothing unforeseen is in the log."""
    yield
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}
    answer = httpx.post(f"{server.url}{COMPLETIONS}", json=BODY)
    assert answer.status_code == 200, answer.text
    assert_nothing_left(tiny_chat)
    assert not [record for record in caplog.records if record.exc_info], caplog.text


def error_of(content: bytes) -> dict[str, str]:
    error = json.loads(content)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


# -- what is no HTTP

NO_HTTP = {
    "words": b"hello there, how are you\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x07" * 200,
    "zeros": b"\0" * 1000,
    "unknown version": b"GET /health HTTP/9.9\r\nhost: a\r\n\r\n",
    "unknown method": b"BREW /health HTTP/1.1\r\nhost: a\r\n\r\n",
    "bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
    "a space in a header's name": b"GET /health HTTP/1.1\r\nhost : a\r\n\r\n",
    "a negative length": b"POST /tokenize HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\n",
    "a length that is no number": b"POST /tokenize HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
    "a length beyond 64 bits": b"POST /tokenize HTTP/1.1\r\nhost: a\r\ncontent-length: "
    + b"9" * 99
    + b"\r\n\r\n",
    "two lengths": b"POST /tokenize HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a length and pieces": b"POST /tokenize HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n"
    b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a bad piece": b"POST /tokenize HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "another server's": b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n",
}


@pytest.mark.parametrize("sent", NO_HTTP.values(), ids=NO_HTTP.keys())
def test_what_is_no_http_is_refused(server: RunningServer, sent: bytes) -> None:
    with connection(server) as opened:
        opened.sendall(sent)
        received = read_to_end(opened)
    head, _, content = received.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ")), received
    assert error_of(content)["message"]


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GE", b"GET /health HTTP/1.1\r\nhost:"])
def test_who_says_half_a_request_and_leaves_is_forgotten(server: RunningServer, sent: bytes) -> None:
    for _ in range(20):
        with connection(server) as opened:
            opened.sendall(sent)


HUGE_HEADS = {
    "one long header": b"x-a: " + b"a" * 200_000 + b"\r\n\r\n",
    "many headers": b"".join(b"x-%d: 1\r\n" % number for number in range(20_000)) + b"\r\n",
    "a header without an end": b"x-a: " + b"a" * 8_000_000,
    "headers without an end": b"".join(b"x-%d: 1\r\n" % number for number in range(400_000)),
}


@pytest.mark.parametrize("lines", HUGE_HEADS.values(), ids=HUGE_HEADS.keys())
def test_huge_headers_are_refused(server: RunningServer, lines: bytes) -> None:
    with connection(server) as opened:
        with suppress(ConnectionError):  # where it does not want to hear the rest
            opened.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n" + lines)
        received = read_to_end(opened)
    # The answer is lost where the connection was reset under it.
    assert not received or received.startswith(b"HTTP/1.1 431 "), received[:200]


def test_a_long_path_is_refused(server: RunningServer) -> None:
    with connection(server) as opened:
        opened.sendall(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n")
        assert read_to_end(opened).startswith(b"HTTP/1.1 431 ")


def test_trailers_are_bounded_too(server: RunningServer) -> None:
    head = request_bytes("POST", "/tokenize", content_length="", transfer_encoding="chunked")
    with connection(server) as opened:
        with suppress(ConnectionError):
            opened.sendall(head + b"2\r\n{}\r\n0\r\n" + b"x-a: b\r\n" * 100_000)
        received = read_to_end(opened)
    assert not received or received.startswith(b"HTTP/1.1 431 "), received[:200]


def test_headers_as_clients_send_them_pass(server: RunningServer) -> None:
    headers = {f"x-{number}": "a" * 500 for number in range(60)}
    assert httpx.get(f"{server.url}/health", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health HT",
        b"GET /health HTTP/1.1\r\nhost: a\r\n",
        b"\r\n",
        request_bytes("POST", COMPLETIONS, b'{"mod', content_length="50"),
    ],
)
def test_a_request_that_never_comes_whole_is_sent_away(
    server: RunningServer, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.3)
    with connection(server) as opened:
        opened.sendall(sent)
        began = time.monotonic()
        received = read_to_end(opened)
    assert time.monotonic() - began < 3
    assert received.startswith(b"HTTP/1.1 408 ")


def test_the_time_for_a_request_is_not_the_time_for_its_answer(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.05)
    # With the tiny model this takes a good second.
    body = {"model": TINY, "prompt": ["a b"] * 100, "max_tokens": 200, "ignore_eos": True}
    with connection(server, timeout=60) as opened:
        for _ in range(2):
            opened.sendall(json_request(COMPLETIONS, body))
            response, content = read_answer(opened)
            assert response.status == 200
            assert len(json.loads(content)["choices"]) == 100


# -- what is no JSON

BAD_BODIES = {
    "nothing": b"",
    "no JSON": b"{'model': 1}",
    "half of it": b'{"model": "tiny", "prompt": "h',
    "bad UTF-8": b'{"model": "tiny", "prompt": "\xc3\x28"}',
    "UTF-16": '{"model": "tiny"}'.encode("utf-16"),
    "half a character": b'{"model": "tiny", "prompt": "\\ud83d"}',
    "NaN": b'{"model": "tiny", "prompt": "a", "temperature": NaN}',
    "deep": b'{"prompt": ' + b"[" * 100_000,
    "two": b"{}{}",
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_bad_body_leaves_the_connection_as_it_was(server: RunningServer, body: bytes) -> None:
    with connection(server) as opened:
        opened.sendall(request_bytes("POST", COMPLETIONS, body))
        response, content = read_answer(opened)
        assert response.status == 400
        assert error_of(content)["type"] == "invalid_request_error"
        opened.sendall(json_request(COMPLETIONS, BODY))
        response, content = read_answer(opened)
        assert response.status == 200, content


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
def test_a_body_must_say_that_it_is_json(server: RunningServer, kind: str) -> None:
    """Any page may send the other kinds to a server on this machine, without asking before."""
    headers = {"content-type": kind} if kind else {}
    answer = httpx.post(f"{server.url}{COMPLETIONS}", content=json.dumps(BODY), headers=headers)
    assert answer.status_code == 415
    assert "application/json" in error_of(answer.content)["message"]


def test_a_body_that_breaks_off_is_forgotten(server: RunningServer) -> None:
    whole = json_request(COMPLETIONS, BODY)
    for length in range(len(whole) - 60, len(whole) - 1, 7):
        with connection(server) as opened:
            opened.sendall(whole[:length])


def test_more_than_was_announced_is_another_request(server: RunningServer) -> None:
    body = json.dumps(BODY).encode()
    with connection(server) as opened:
        opened.sendall(
            request_bytes("POST", COMPLETIONS, body + b"}}garbage\r\n\r\n", content_length=str(len(body)))
        )
        response, _ = read_answer(opened)
        assert response.status in (200, 400)
        read_to_end(opened)


# -- too much


def chunked(size: int) -> Iterator[bytes]:
    piece = b" " * 65_536
    for _ in range(size // len(piece)):
        yield b"%x\r\n" % len(piece) + piece + b"\r\n"
    yield b"0\r\n\r\n"


@pytest.mark.parametrize("announced", [True, False])
def test_ten_megabytes_are_refused_with_an_answer(server: RunningServer, announced: bool) -> None:
    size = 10_000_000
    with connection(server) as opened:
        if announced:
            opened.sendall(request_bytes("POST", COMPLETIONS, b" " * size))
        else:
            opened.sendall(request_bytes("POST", COMPLETIONS, content_length="", transfer_encoding="chunked"))
            for piece in chunked(size):
                opened.sendall(piece)
        response, content = read_answer(opened)
        assert response.status == 413
        assert error_of(content)["code"] == "request_too_large"
        assert response.headers["connection"] == "close"
        assert opened.recv(1) == b"", "what is left of such a request must not be taken for the next one"


def test_a_body_just_within_the_limit_is_read(server: RunningServer) -> None:
    text = json.dumps(BODY)
    for size, status in ((LIMIT, 200), (LIMIT + 1, 413)):
        body = text + " " * (size - len(text))
        answer = httpx.post(f"{server.url}{COMPLETIONS}", content=body, headers=JSON)
        assert answer.status_code == status


def test_a_body_without_an_end_is_not_read_for_ever(server: RunningServer) -> None:
    piece = next(chunked(65_536))
    sent = 0
    with connection(server) as opened, suppress(ConnectionError):
        opened.sendall(request_bytes("POST", COMPLETIONS, content_length="", transfer_encoding="chunked"))
        began = time.monotonic()
        while time.monotonic() - began < 30:
            opened.sendall(piece)
            sent += len(piece)
    assert time.monotonic() - began < 10
    # What was read, and what the buffers of both sockets take.
    assert sent < LIMIT + 64 * 1024 * 1024 + 32 * 1024 * 1024


def test_who_asks_before_sending_too_much_is_told_at_once(server: RunningServer) -> None:
    with connection(server) as opened:
        length = str(10 * LIMIT)
        opened.sendall(request_bytes("POST", COMPLETIONS, content_length=length, expect="100-continue"))
        response, _ = read_answer(opened)
        assert response.status == 413


def test_who_asks_before_sending_is_told_to_go_on(server: RunningServer) -> None:
    body = json.dumps(BODY).encode()
    with connection(server) as opened:
        head = request_bytes("POST", COMPLETIONS, content_length=str(len(body)), expect="100-continue")
        opened.sendall(head)
        assert opened.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        opened.sendall(body)
        assert read_answer(opened)[0].status == 200


# -- the wrong door


def test_unknown_paths_and_methods_get_json(server: RunningServer) -> None:
    for method, path, status in [
        ("GET", "/nothing", 404),
        ("POST", "/v1", 404),
        ("GET", "/v1/models/../../etc/passwd", 404),
        ("GET", "/%00%ff%2e%2e", 404),
        ("GET", COMPLETIONS, 405),
        ("DELETE", "/health", 405),
        ("PUT", COMPLETIONS, 405),
    ]:
        with connection(server) as opened:
            opened.sendall(request_bytes(method, path))
            response, content = read_answer(opened)
            assert response.status == status, path
            assert error_of(content)["type"] in ("not_found_error", "invalid_request_error")
            if status == 405:
                assert response.headers["allow"]


@pytest.mark.parametrize("path", ["/health", "/nothing", COMPLETIONS])
def test_head_has_no_body_and_keeps_the_connection(server: RunningServer, path: str) -> None:
    with connection(server) as opened:
        opened.sendall(request_bytes("HEAD", path))
        response, content = read_answer(opened, "HEAD")
        assert response.status in (200, 404, 405)
        assert content == b""
        opened.sendall(request_bytes("GET", "/health"))
        assert read_answer(opened)[0].status == 200


def test_an_upgrade_is_not_taken_up(server: RunningServer) -> None:
    with connection(server) as opened:
        opened.sendall(
            request_bytes(
                *("GET", "/health"),
                connection="Upgrade",
                upgrade="websocket",
                sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==",
                sec_websocket_version="13",
            )
        )
        assert read_answer(opened)[0].status == 200


# -- slow readers


def test_who_does_not_read_holds_up_nobody(server: RunningServer) -> None:
    """Streams that nobody reads stand still; others' requests go on, and so do the streams, once read."""
    flood = {"model": TINY, "prompt": "hi", "max_tokens": 500, "ignore_eos": True, "n": 5, "logprobs": 20}
    with ExitStack() as ends:
        slow = []
        for _ in range(4):
            opened = ends.enter_context(socket.socket())
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            opened.settimeout(20)
            opened.connect(("127.0.0.1", server.port))
            opened.sendall(json_request(COMPLETIONS, {**flood, "stream": True}))
            slow.append(opened)
        with httpx.Client(base_url=server.url) as client:
            for _ in range(20):
                began = time.monotonic()
                assert client.post(COMPLETIONS, json=BODY).status_code == 200
                assert time.monotonic() - began < 5.0
                time.sleep(0.05)
        for opened in slow:
            response, content = read_answer(opened)
            assert response.status == 200
            assert content.endswith(b"data: [DONE]\n\n")
            assert len(content) > 700_000, "so little would fit into the buffers of the sockets"


def test_many_connections_that_say_nothing_hold_up_nobody(server: RunningServer) -> None:
    with ExitStack() as opened:
        for _ in range(200):
            opened.enter_context(connection(server))
        assert httpx.get(f"{server.url}/health").status_code == 200


def test_attackers_at_once(server: RunningServer) -> None:
    """All of it at the same time, and one honest client among them."""
    attacks = [*NO_HTTP.values(), *(request_bytes("POST", COMPLETIONS, body) for body in BAD_BODIES.values())]
    stop = threading.Event()

    def attack(number: int) -> None:
        while not stop.is_set():
            with connection(server) as opened:
                opened.sendall(attacks[number % len(attacks)])
                if number % 3:
                    opened.settimeout(0.2)
                    with suppress(TimeoutError):
                        read_to_end(opened)
            number += 1

    threads = [threading.Thread(target=attack, args=(number * 5,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        with httpx.Client(base_url=server.url) as client:
            for _ in range(50):
                assert client.post(COMPLETIONS, json=BODY).status_code == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join()
