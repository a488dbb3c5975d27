"""The comparison of two servers: in turn, of equal answers, refused where they are not."""

import argparse

import pytest

from benches import serve
from ruvllm.client import ServerClient
from ruvllm.client.load import WordSupply
from tests.support.scripted_server import Reply, Request, ScriptedServer, answer_events

OPTIONS = argparse.Namespace(clients=2, requests=4, repeat=1)
WORDS = WordSupply.measured(lambda text: None)


def answering(finish_reason: str, pause: float) -> ScriptedServer:
    reply = Reply.stream([pause, *answer_events(["a "] * 4, finish_reason=finish_reason)])
    return ScriptedServer(lambda request: reply)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "SETTLE_SECONDS", 0.0)


def test_the_quotient(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        answering("length", 0.02) as fast,
        answering("length", 0.4) as slow,
        ServerClient(fast.url) as first,
        ServerClient(slow.url) as second,
    ):
        servers = [
            serve.Server("ours", first, "one", {"ignore_eos": True}),
            serve.Server("theirs", second, "two", {"min_tokens": 64}),
        ]
        serve.measure(servers, WORDS, OPTIONS)
    printed = capsys.readouterr().out
    assert printed.count("reached") == len(serve.LOADS) == 2
    assert printed.count("ours") == printed.count("theirs") == 2
    # The first round warms up with as many requests as clients.
    assert len(fast.requests) == len(slow.requests) == 2 * (2 + 4)

    def asked(request: Request) -> tuple[object, ...]:
        return request.body["messages"], request.body["max_tokens"], request.body["temperature"]

    assert [asked(request) for request in fast.requests[:2]] == [
        asked(request) for request in slow.requests[:2]
    ]
    assert fast.requests[0].body["ignore_eos"] is True
    assert slow.requests[0].body["min_tokens"] == slow.requests[0].body["max_tokens"] == 64


def test_answers_that_are_too_short_are_no_figures() -> None:
    with answering("stop", 0.0) as server, ServerClient(server.url) as client:
        one = serve.Server("ours", client, "one", {})
        with pytest.raises(SystemExit, match="4 too short"):
            one.measure({"requests": 4, "prompt_tokens": 3, "shared_prefix_tokens": 0}, WORDS, 2)


def test_a_server_that_does_not_start_says_why() -> None:
    command = ["python", "-c", "raise SystemExit('no such thing')"]
    with pytest.raises(SystemExit, match="no such thing"), serve.started("x", command, serve.free_port(), {}):
        pass
