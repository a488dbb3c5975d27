"""`ruvllm bench-serve` with a server that answers as it is told."""

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.scripted_server import Reply, Request, ScriptedServer, answer_events

pytest.importorskip("httptools")
Ruvllm = Callable[..., Any]


class Served:
    """A server with a tokenizer whose every third answer to a load is `third`."""

    def __init__(self) -> None:
        self.third = self.answer()
        self.usage: dict[str, Any] | None = None
        self._lock = threading.Lock()
        self._loads = 0

    def answer(self, **rest: Any) -> Reply:
        return Reply.stream(answer_events(["a "] * 4, finish_reason="length", **rest))

    def __call__(self, request: Request) -> Reply:
        if request.path == "/v1/models":
            return Reply.json({"data": [{"id": "one"}]})
        if request.path == "/tokenize":
            return Reply.json({"tokens": [1] * len(request.body["content"].split())})
        prompt = len(request.body["messages"][-1]["content"].split())
        usage = {"prompt_tokens": prompt, "completion_tokens": 4, "total_tokens": prompt + 4}
        with self._lock:
            self._loads += 1
            is_third = self._loads % 3 == 1 and self._loads > 1
        return self.third if is_third and self.third.status != 200 else self.answer(usage=usage)


@pytest.fixture
def served() -> Served:
    return Served()


@pytest.fixture
def server(served: Served) -> Iterator[ScriptedServer]:
    with ScriptedServer(served) as server:
        yield server


def test_a_table(ruvllm: Ruvllm, server: ScriptedServer) -> None:
    flags = "--requests 12 --concurrency 3 -p 20 --shared-prefix-tokens 30 -n 4"
    result = ruvllm("bench-serve", "--url", server.url, *flags.split(), "--goodput", "ttft:9000 itl:9000")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    text = result.stdout
    assert re.search(rf"server +{server.url}, one", text)
    assert re.search(r"load +12 requests, 3 clients, each asks when it has its answer", text)
    assert re.search(r"each +30 shared tokens \+ 20 tokens, at most 4 tokens of answer", text)
    assert re.search(r"requests +12 ok, 0 refused \(429\), 0 failed, 0 disconnected", text)
    assert re.search(r"output tokens/s +[\d.]+", text)
    assert re.search(r"goodput +[\d.]+ requests/s, 12 of 12", text)
    for name in ("TTFT", "TPOT", "ITL", "E2EL"):
        assert re.search(rf"^{name}(?: +[\d.]+){{4}}  \w", text, re.M), text
    asked = server.asked("/v1/chat/completions")
    assert len(asked) == 13  # one before, uncounted
    assert len({request.body["messages"][-1]["content"] for request in asked}) == 13
    assert all("ignore_eos" not in request.body for request in asked)


def test_json(ruvllm: Ruvllm, server: ScriptedServer) -> None:
    flags = "--requests 9 --rate 500 --seed 3 --ignore-eos -n 4 -p 20 --json --model two --api-key sk-1"
    result = ruvllm("bench-serve", "--url", server.url, *flags.split(), "--extra-body", '{"min_p": 0.5}')
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["load"]["model"], report["load"]["rate"], report["load"]["seed"]) == ("two", 500, 3)
    assert (report["load"]["prompts_sized_by"], report["load"]["extra_body"]) == ("tokens", {"min_p": 0.5})
    figures = report["result"]
    assert figures["requests"] == {"ok": 9, "refused": 0, "failed": 0, "disconnected": 0}
    assert (figures["output_tokens"], figures["prompt_tokens"]) == (36, 180)
    rate = figures["output_tokens"] / figures["wall_seconds"]
    assert figures["output_tokens_per_second"] == pytest.approx(rate)
    assert set(figures["ttft_ms"]) == {"mean", "p50", "p95", "p99"}
    load = server.requests[-1]
    assert load.headers["authorization"] == "Bearer sk-1"
    assert (load.body["ignore_eos"], load.body["min_p"], load.body["model"]) == (True, 0.5, "two")
    # The time of the last of 9 arrivals at 500 a second: the mean is 18 ms.
    assert figures["wall_seconds"] < 5


def test_all_at_once_is_valid_json(ruvllm: Ruvllm, server: ScriptedServer) -> None:
    result = ruvllm("bench-serve", "--url", server.url, "--requests", "3", "--rate", "inf", "--json")
    report = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert report["load"]["rate"] == "inf"


def test_a_failure_is_1_and_says_why(ruvllm: Ruvllm, served: Served, server: ScriptedServer) -> None:
    served.third = Reply.error(500, "out of luck")
    result = ruvllm("bench-serve", "--url", server.url, "--requests", "9", "--concurrency", "1")
    assert result.exit_code == 1
    assert "6 ok, 0 refused (429), 3 failed" in result.stdout
    assert "3 failed: HTTP status 500: out of luck" in result.stderr


def test_refusals_are_no_failures(ruvllm: Ruvllm, served: Served, server: ScriptedServer) -> None:
    served.third = Reply.error(429, "full")
    result = ruvllm("bench-serve", "--url", server.url, "--requests", "9", "--concurrency", "1")
    assert result.exit_code == 0
    assert "6 ok, 3 refused (429), 0 failed" in result.stdout
    assert "3 refused: full" in result.stderr


def test_a_server_that_counts_nothing(ruvllm: Ruvllm) -> None:
    def answer(request: Request) -> Reply:
        if request.path == "/v1/models":
            return Reply.json({"data": [{"id": "one"}]})
        if request.path == "/tokenize":
            return Reply.error(404, "what")
        return Reply.stream(answer_events(["a"]))

    with ScriptedServer(answer) as server:
        flags = ["--requests", "4", "--ignore-eos", "-p", "20"]
        result = ruvllm("bench-serve", "--url", server.url, *flags)
    assert result.exit_code == 0
    assert re.search(r"output tokens/s +not counted by the server", result.stdout)
    assert "20 words" in result.stdout
    assert "4 answers ended before 64 tokens: the server does not know ignore_eos" in result.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rate", "2", "--concurrency", "2"], "exclude each other"),
        (["--rate", "0"], "rate is 0"),
        (["--goodput", "latency:5"], "it must be like ttft:500"),
        (["--extra-body", "x"], "no JSON"),
        (["--extra-body", "[]"], "it must be an object"),
        (["--disconnect-ratio", "2"], "disconnect"),
        (["--requests", "0"], "requests"),
        (["--url", "x"], "URL is 'x'"),
    ],
)
def test_wrong_usage(ruvllm: Ruvllm, flags: list[str], said: str) -> None:
    result = ruvllm("bench-serve", *flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_a_key_is_asked_for_before_the_load(ruvllm: Ruvllm) -> None:
    with ScriptedServer(lambda request: Reply.error(401, "no key")) as server:
        result = ruvllm("bench-serve", "--url", server.url)
        assert result.exit_code == 1
        assert "give the server's key with --api-key" in result.stderr
        assert len(server.requests) == 1


def test_without_httptools(ruvllm: Ruvllm, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httptools", None)
    result = ruvllm("bench-serve", "--url", server.url, "--requests", "1")
    assert result.exit_code == 2
    assert "pip install 'ruvllm[serve]'" in result.stderr
