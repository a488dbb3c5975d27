"""A client that leaves takes its request with it: out of the engine at once, and no block stays behind."""

import json
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ruvllm import LLM
from tests.serve.conftest import REAL
from tests.serve.raw import (
    LEAVING_SECONDS,
    assert_nothing_left,
    connection,
    hang_up,
    json_request,
    requests_in,
    seconds_until,
)
from tests.serve.running import RunningServer

pytestmark = [pytest.mark.alone, pytest.mark.real_model]

# Many seconds of prefill, and many of decoding; neither is over before the client leaves.
LONG_PROMPT = "All work and no play makes Jack a dull boy, and so it went on. " * 400
PREDICATE = {"type": "predicate", "instructions": "It is polite."}
SHORT_PROMPT = "Count from one to a thousand:"

Leave = Callable[[socket.socket], None]
LEAVES: dict[str, Leave] = {
    "reset": hang_up,
    "closed": lambda opened: opened.close(),
    "half closed": lambda opened: opened.shutdown(socket.SHUT_WR),
}


def body_of(prompt: str, **more: Any) -> dict[str, Any]:
    return {
        "model": REAL,
        "prompt": prompt,
        "max_tokens": 1500,
        "ignore_eos": True,
        "cache_prefix": False,
        **more,
    }


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES.keys())
@pytest.mark.parametrize("phase", ["prefill", "decoding"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_a_client_that_leaves_frees_its_request(
    real_server: RunningServer, smollm2: LLM, stream: bool, phase: str, leave: Leave
) -> None:
    assert_nothing_left(smollm2)
    body = body_of(LONG_PROMPT if phase == "prefill" else SHORT_PROMPT, stream=stream)
    with connection(real_server) as opened:
        opened.sendall(json_request("/v1/completions", body))
        seconds_until(lambda: requests_in(smollm2) == 1)
        if phase == "decoding" and stream:
            while b"data: " not in opened.recv(65536):
                pass
        elif phase == "decoding":
            seconds_until(lambda: smollm2.memory_stats().kv_used_bytes > 0)
        leave(opened)
        assert seconds_until(lambda: requests_in(smollm2) == 0) < LEAVING_SECONDS
    assert_nothing_left(smollm2)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": LONG_PROMPT}], "n": 3}),
        ("/v1/completions", {"prompt": [LONG_PROMPT, SHORT_PROMPT], "n": 2, "best_of": 4}),
        ("/v1/completions", {"prompt": LONG_PROMPT, "echo": True, "logprobs": 1, "max_tokens": 0}),
        ("/v1/embeddings", {"input": [LONG_PROMPT, LONG_PROMPT[1:]]}),
        ("/v1/decisions", {"input": LONG_PROMPT, "questions": [PREDICATE] * 200}),
    ],
    ids=["chat with answers", "prompts with answers", "scores", "vectors", "decisions"],
)
def test_all_that_a_request_began_ends_with_it(
    real_server: RunningServer, smollm2: LLM, path: str, body: dict[str, Any]
) -> None:
    with connection(real_server) as opened:
        opened.sendall(json_request(path, {"model": REAL, **body}))
        seconds_until(lambda: requests_in(smollm2) >= 1)
        hang_up(opened)
        assert seconds_until(lambda: requests_in(smollm2) == 0) < LEAVING_SECONDS
    assert_nothing_left(smollm2)


def test_who_waits_behind_others_is_forgotten_too(real_server: RunningServer, smollm2: LLM) -> None:
    """More requests than run at once: those that still wait leave as well."""
    request = json_request("/v1/completions", body_of(SHORT_PROMPT, n=16))
    opened = [socket.create_connection(("127.0.0.1", real_server.port)) for _ in range(6)]
    for one in opened:
        one.sendall(request)
    seconds_until(lambda: requests_in(smollm2) == 96)
    assert smollm2.memory_stats().waiting_requests > 0
    for one in opened:
        hang_up(one)
    assert seconds_until(lambda: requests_in(smollm2) == 0) < 5 * LEAVING_SECONDS
    assert_nothing_left(smollm2)


def test_the_metrics_say_that_it_has_left(real_server: RunningServer) -> None:
    def running() -> float:
        text = httpx.get(f"{real_server.url}/metrics").text
        line = next(line for line in text.splitlines() if line.startswith("ruvllm:num_requests_running{"))
        return float(line.split()[-1])

    with connection(real_server) as opened:
        opened.sendall(json_request("/v1/completions", body_of(SHORT_PROMPT, stream=True)))
        seconds_until(lambda: running() == 1)
        hang_up(opened)
        seconds_until(lambda: running() == 0)


def test_a_stream_that_is_read_to_its_end_is_not_cancelled(real_server: RunningServer) -> None:
    body = body_of(SHORT_PROMPT, stream=True, max_tokens=20, stream_options={"include_usage": True})
    with httpx.stream("POST", f"{real_server.api}/completions", json=body) as response:
        lines = [line for line in response.iter_lines() if line.startswith("data: {")]
    assert json.loads(lines[-1].removeprefix("data: "))["usage"]["completion_tokens"] == 20
