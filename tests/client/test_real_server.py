"""The client's side with our own server and a real model: chat, load, and leaving in the middle."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from ruvllm import LLM
from ruvllm.client import ServerClient, ServerSession
from ruvllm.client.load import ClosedLoop, Report, Target, WordSupply, Workload, run_load
from ruvllm.client.load.exchange import OutcomeKind
from ruvllm.errors import AuthenticationError, ConfigError, ContextLengthError, NotFoundError
from ruvllm.serve import ApiKey, KeyRing, ServerSettings, create_app
from tests.serve.running import RunningServer, running

pytestmark = pytest.mark.real_model
NAME = "smollm2-135m"
GREEDY = {"temperature": 0.0, "max_tokens": 48}
CAPITAL = "What is the capital of France?"


@pytest.fixture(scope="module")
def server(smollm2: LLM) -> Iterator[RunningServer]:
    with running(create_app({NAME: smollm2})) as server:
        yield server


@pytest.fixture
def client(server: RunningServer) -> Iterator[ServerClient]:
    with ServerClient(server.url) as client:
        yield client


def ruvllm(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "ruvllm", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=55, check=False)


def test_the_same_answer_and_counts_as_of_the_model_itself(client: ServerClient, smollm2: LLM) -> None:
    from ruvllm import ChatSession, GenerateParams

    session = ServerSession(client, client.first_model(), "Answer in one sentence.", settings=GREEDY)
    params = GenerateParams(max_tokens=48, temperature=0, repetition_penalty=1, top_p=1)
    here = ChatSession(smollm2, "Answer in one sentence.", params=params)
    for question in (CAPITAL, "And of Italy?"):
        chunks, expected = list(session.stream(question)), here.send(question)
        assert "".join(chunk.text for chunk in chunks) == expected.text
        last = chunks[-1]
        assert last.finish_reason == expected.finish_reason
        assert last.usage is not None
        assert last.usage.prompt_tokens == expected.usage.prompt_tokens
        assert last.usage.completion_tokens == expected.usage.completion_tokens
        assert last.timings is not None
        assert last.timings.decode_tokens_per_second > 1
    assert "Paris" in session.history[2]["content"]


def test_errors_are_ours(client: ServerClient) -> None:
    with pytest.raises(NotFoundError, match="does not exist; there is smollm2-135m"):
        client.stream_chat("nonsense", [{"role": "user", "content": "x"}], {})
    with pytest.raises(ConfigError, match="temperature"):
        client.stream_chat(NAME, [{"role": "user", "content": "x"}], {"temperature": 9})
    with pytest.raises(ContextLengthError, match="the context holds"):
        client.stream_chat(NAME, [{"role": "user", "content": "word " * 20_000}], {})


def test_a_key(smollm2: LLM) -> None:
    settings = ServerSettings(keys=KeyRing([ApiKey.of("sk-right-key-of-the-server")]))
    with running(create_app({NAME: smollm2}, settings)) as server:
        with ServerClient(server.url) as client, pytest.raises(AuthenticationError, match="--api-key"):
            client.models()
        with ServerClient(server.url, api_key="sk-right-key-of-the-server") as client:
            assert client.models()[0].is_ours


def test_tokens_are_the_models(client: ServerClient, smollm2: LLM) -> None:
    text = "The quick brown fox jumps over the lazy dog."
    assert smollm2.tokenizer is not None
    assert client.count_tokens(text) == len(smollm2.tokenizer.encode(text, add_bos=False))


def test_hanging_up_ends_the_request(client: ServerClient, smollm2: LLM) -> None:
    settings = {"max_tokens": 4000, "ignore_eos": True}
    answer = client.stream_chat(NAME, [{"role": "user", "content": "Tell a long story."}], settings)
    for _ in range(5):
        next(answer)
    assert smollm2.memory_stats().running_requests == 1
    answer.close()
    deadline = time.monotonic() + 5
    while smollm2.memory_stats().running_requests and time.monotonic() < deadline:
        time.sleep(0.01)
    assert smollm2.memory_stats().running_requests == 0


def test_a_load_counts_what_the_engine_made(client: ServerClient, smollm2: LLM) -> None:
    words = WordSupply.measured(client.count_tokens)
    assert words.is_counted
    workload = Workload(
        requests=12, prompt_tokens=40, shared_prefix_tokens=64, max_tokens=10, ignore_eos=True, seed=1
    )
    target = Target(address=client.address)
    report = Report.of(run_load(target, workload.plan(NAME, words), ClosedLoop(4)), {"e2el": 60_000.0})
    assert report.counts[OutcomeKind.OK] == report.good == 12
    assert (report.output_tokens, report.short, report.uncounted) == (120, 0, 0)
    # The shared prompt is computed once or, by those who come together, a few times.
    assert report.cached_prompt_tokens > 6 * 64
    assert 12 * 104 < report.prompt_tokens < 12 * (104 + 24)  # the template adds some


def test_a_load_with_leavers_leaves_nothing_behind(client: ServerClient, smollm2: LLM) -> None:
    workload = Workload(requests=16, prompt_tokens=16, max_tokens=24, ignore_eos=True, disconnect_ratio=0.5)
    words = WordSupply.measured(client.count_tokens)
    run = run_load(Target(address=client.address), workload.plan(NAME, words), ClosedLoop(8))
    report = Report.of(run)
    assert report.counts[OutcomeKind.DISCONNECTED] > 2
    assert report.counts[OutcomeKind.OK] + report.counts[OutcomeKind.DISCONNECTED] == 16
    assert report.output_tokens == 24 * report.answered
    deadline = time.monotonic() + 5
    while smollm2.memory_stats().running_requests and time.monotonic() < deadline:
        time.sleep(0.01)
    assert smollm2.memory_stats().running_requests == 0


# Without it what a model of this size says first is as likely French as English, and a rounding decides.
SYSTEM = "Answer in one sentence."


def test_the_commands(server: RunningServer) -> None:
    result = ruvllm("chat", "--url", server.url, "--system", SYSTEM, "-T", "0", "-v", stdin=CAPITAL)
    assert result.returncode == 0, result.stderr
    assert "Paris" in result.stdout
    assert re.search(r"\d+ tokens, [\d.]+ tokens/s, first after [\d.]+ s", result.stderr)
    flags = "--requests 8 --concurrency 4 -p 24 -n 8 --ignore-eos --json"
    result = ruvllm("bench-serve", "--url", server.url, *flags.split())
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)["result"]
    assert figures["requests"]["ok"] == 8
    assert figures["output_tokens"] == 64
