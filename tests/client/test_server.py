"""`ServerClient` and `ServerSession` with a server that answers as it is told."""

import json
import socket
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ruvllm.client import ServerClient, ServerSession
from ruvllm.errors import (
    AuthenticationError,
    BackendError,
    ConfigError,
    ContextLengthError,
    GenerationError,
    IoError,
    NotFoundError,
    OverloadedError,
    SessionError,
    TokenizationError,
)
from ruvllm.outputs import Chunk, Usage
from tests.support.scripted_server import Reply, Request, ScriptedServer, answer_events, delta, event

USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 3,
    "total_tokens": 13,
    "prompt_tokens_details": {"cached_tokens": 4},
}
TIMINGS = {
    "cache_n": 4,
    "prompt_n": 6,
    "prompt_ms": 1.0,
    "prompt_per_second": 6000.0,
    "predicted_n": 3,
    "predicted_ms": 400.0,
    "predicted_per_second": 5.0,
}
HELLO = [{"role": "user", "content": "Hello"}]
MODELS = Reply.json({"object": "list", "data": [{"id": "one", "owned_by": "ruvllm"}, {"id": "two"}]})


def chunks_of(reply: Reply) -> list[Chunk]:
    with (
        ScriptedServer(lambda request: reply) as server,
        ServerClient(server.url) as client,
        client.stream_chat("one", HELLO, {}) as answer,
    ):
        return list(answer)


def text_of(chunks: Iterable[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


# -- one answer


def test_an_answer_with_the_servers_figures() -> None:
    *pieces, last = chunks_of(Reply.stream(answer_events(["Hel", "lo", "!"], usage=USAGE, timings=TIMINGS)))
    assert [piece.text for piece in pieces] == ["Hel", "lo", "!"]
    assert last.finish_reason == "stop"
    assert last.usage == Usage(prompt_tokens=10, completion_tokens=3, cached_tokens=4)
    assert last.timings is not None
    assert last.timings.computed_prompt_tokens == 6
    assert last.timings.decode_tokens_per_second == pytest.approx(5.0)  # the two after the first in 400 ms
    assert 0 < last.timings.first_token_seconds < 5


def test_without_the_servers_times_its_own_are_taken() -> None:
    last = chunks_of(Reply.stream([0.05, *answer_events(["a", "b", "c"], usage=USAGE, pause=0.05)]))[-1]
    assert last.timings is not None
    assert 0.09 < last.timings.first_token_seconds < 2
    assert last.timings.first_token_seconds + 0.09 < last.timings.total_seconds < 5
    assert last.timings.completion_tokens == 3
    assert 1 < last.timings.decode_tokens_per_second < 22


def test_a_server_that_counts_nothing() -> None:
    last = chunks_of(Reply.stream(answer_events(["a", "b"], finish_reason="length")))[-1]
    assert (last.finish_reason, last.usage) == ("length", None)
    assert last.timings is not None
    assert last.timings.decode_tokens_per_second == 0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_borders_anywhere(size: int) -> None:
    events = [piece for piece in answer_events(["Grüße ", "🙂"], usage=USAGE) if isinstance(piece, bytes)]
    whole = b": ping\r\n\r\n" + b"".join(events).replace(b"\n", b"\r\n")
    pieces = [whole[place : place + size] for place in range(0, len(whole), size)]
    assert text_of(chunks_of(Reply.stream(pieces))) == "Grüße 🙂"


def test_halves_of_characters_become_whole_ones_and_the_next_question_is_sent() -> None:
    """Some servers cut texts between the halves of a character, as JSON can spell them."""
    replies = iter([["a\ud83d", "\ude00", "b \ud83d"], ["c"]])
    with (
        ScriptedServer(lambda request: Reply.stream(answer_events(next(replies)))) as server,
        ServerClient(server.url) as client,
    ):
        session = ServerSession(client, "one")
        chunks = list(session.stream("Hello"))
        assert [chunk.text for chunk in chunks] == ["a", "\U0001f600", "b ", "\ufffd"]
        assert chunks[-1].finish_reason == "stop"
        assert text_of(session.stream("And?")) == "c"
        assert server.requests[-1].body["messages"][1]["content"] == "a\U0001f600b \ufffd"
        with pytest.raises(TokenizationError, match=r"half of a character \(the surrogate '\\udcff'\)"):
            session.stream("broken \udcff")
        assert [turn["role"] for turn in session.history] == ["user", "assistant"] * 2


def test_other_vendors_streams() -> None:
    """No [DONE], counts in every chunk, thoughts in a field of their own, a body that ends by closing."""
    thought = event({"choices": [{"index": 0, "delta": {"reasoning_content": "hm", "content": None}}]})
    pieces = [delta(None), thought, 0.1, delta("yes", usage=USAGE), delta(None, "stop", usage=USAGE)]
    chunks = chunks_of(Reply.stream(pieces, chunked=False, breaks_off=True))
    assert text_of(chunks) == "yes"
    assert chunks[-1].usage is not None
    assert chunks[-1].timings is not None
    assert chunks[-1].timings.first_token_seconds < 0.1  # the first token is the first thought


def test_what_is_sent() -> None:
    with (
        ScriptedServer(lambda request: Reply.stream(answer_events(["a"]))) as server,
        ServerClient(server.url + "/v1", api_key="sk-1") as client,
    ):
        list(client.stream_chat("one", HELLO, {"top_k": 5}))
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer sk-1"
    assert request.body == {
        "model": "one",
        "messages": HELLO,
        "stream": True,
        "stream_options": {"include_usage": True},
        "top_k": 5,
    }


def test_closing_hangs_up() -> None:
    endless = answer_events(["word "] * 10_000, pause=0.005)
    with ScriptedServer(lambda request: Reply.stream(endless)) as server, ServerClient(server.url) as client:
        answer = client.stream_chat("one", HELLO, {})
        assert [next(answer).text for _ in range(3)] == ["word "] * 3
        answer.close()
        answer.close()
        assert list(answer) == []
        server.wait_until_idle()
        assert server.hung_up == 1


# -- what goes wrong


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (Reply.error(400, "top_k is -1", param="top_k"), ConfigError, "top_k is -1"),
        (Reply.error(401, "no key"), AuthenticationError, "--api-key"),
        (Reply.error(404, "no model one"), NotFoundError, "no model one"),
        (Reply.json({}, 429, retry_after="3"), OverloadedError, "try again in 3 s"),
        (Reply.error(500, "broken"), BackendError, "broken"),
        (Reply.error(400, "long", code="context_length_exceeded"), ContextLengthError, "long"),
        (Reply.json({"choices": []}), BackendError, "application/json instead of a stream"),
        (Reply.stream([b"data: {nonsense\n\n"]), BackendError, "no JSON"),
        (Reply.stream([b"data: 7\n\n"]), BackendError, "no chunk of an answer"),
        (Reply.stream([event({"choices": 7})]), BackendError, "no chunk of an answer"),
        (Reply.stream([event({"choices": [{"delta": {"content": 7}}]})]), BackendError, "no chunk"),
        (Reply.stream([event({"choices": [], "usage": {"prompt_tokens": "x"}})]), BackendError, "no chunk"),
        (Reply.stream([delta("a"), event({"error": {"message": "gone"}})]), GenerationError, "gone"),
        (Reply.stream([b'event: error\ndata: {"message": "gone"}\n\n']), GenerationError, "gone"),
        (Reply.stream([delta("a")]), IoError, "in the middle of the answer"),
        (Reply.stream([delta("a")], breaks_off=True), IoError, "broke"),
        (Reply.stream([]), IoError, "in the middle of the answer"),
        (Reply.stream([delta("a", "content_filter")]), GenerationError, "content_filter"),
    ],
)
def test_errors(reply: Reply, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        chunks_of(reply)
    assert type(caught.value) is kind


def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with ServerClient(url) as client:
        with pytest.raises(IoError, match="is it running") as caught:
            client.models()
        assert url in str(caught.value)
        with pytest.raises(IoError, match="is it running"):
            client.stream_chat("one", HELLO, {})


def test_silence() -> None:
    reply = Reply.stream([delta("a"), 5.0])
    with (
        ScriptedServer(lambda request: reply) as server,
        ServerClient(server.url, silence_seconds=0.2) as client,
        client.stream_chat("one", HELLO, {}) as answer,
    ):
        assert next(answer).text == "a"
        with pytest.raises(IoError, match="silent for too long"):
            next(answer)


def test_a_proxy_of_the_environment_does_not_lead_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with ScriptedServer(lambda request: MODELS) as server, ServerClient(server.url) as client:
        assert client.first_model() == "one"


@pytest.mark.parametrize("key", ["a b", "sk-ä", "sk\n1"])
def test_a_key_that_is_none(key: str) -> None:
    with pytest.raises(ConfigError, match="API key"):
        ServerClient("http://127.0.0.1:1", api_key=key)


# -- models and tokens


def test_models() -> None:
    with ScriptedServer(lambda request: MODELS) as server, ServerClient(server.url) as client:
        assert [(model.name, model.is_ours) for model in client.models()] == [("one", True), ("two", False)]
        assert client.first_model() == "one"


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (Reply.error(404, "what"), NotFoundError, "name its model"),
        (Reply.json({"data": []}), NotFoundError, "has no model"),
        (Reply.json(["x"]), BackendError, "no list of models"),
        (Reply.json({"data": ["x"]}), BackendError, "no list of models"),
        (Reply([b"<html>"], chunked=False), BackendError, "no JSON"),
    ],
)
def test_no_models(reply: Reply, kind: type[Exception], said: str) -> None:
    with (
        ScriptedServer(lambda request: reply) as server,
        ServerClient(server.url) as client,
        pytest.raises(kind, match=said),
    ):
        client.first_model()


def tokenizer(field: str, answer: Callable[[int], Any]) -> Callable[[Request], Reply]:
    """A server's `/tokenize` that knows a text under one name only."""

    def reply(request: Request) -> Reply:
        if field not in request.body:
            return Reply.error(400, f"{field} is missing")
        return Reply.json(answer(len(request.body[field].split())))

    return reply


@pytest.mark.parametrize("field", ["content", "prompt"])
@pytest.mark.parametrize(
    "answer", [lambda count: {"tokens": [0] * count}, lambda count: {"count": count, "tokens": None}]
)
def test_count_tokens(field: str, answer: Callable[[int], Any]) -> None:
    with ScriptedServer(tokenizer(field, answer)) as server, ServerClient(f"{server.url}/v1") as client:
        assert client.count_tokens("a b c") == 3
        assert client.count_tokens("a b") == 2
        assert {request.path for request in server.requests} == {"/tokenize"}
        assert len(server.requests) == (2 if field == "content" else 3)  # the name that worked is kept


@pytest.mark.parametrize(
    "reply", [Reply.error(404, "what"), Reply.error(405, "what"), Reply.error(400, "what"), Reply.json([1])]
)
def test_a_server_without_a_tokenizer(reply: Reply) -> None:
    with ScriptedServer(lambda request: reply) as server, ServerClient(server.url) as client:
        assert client.count_tokens("a b c") is None


# -- a conversation


def echo(request: Request) -> Reply:
    if len(request.body["messages"]) > 6:
        return Reply.error(400, "too long", code="context_length_exceeded")
    question = request.body["messages"][-1]["content"]
    if question == "fail":
        return Reply.stream([delta("half"), event({"error": {"message": "gone"}})])
    return Reply.stream(answer_events([f"You said {question}"], usage=USAGE))


def test_a_conversation() -> None:
    with ScriptedServer(echo) as server, ServerClient(server.url) as client:
        session = ServerSession(client, "one", "Be brief.", settings={"top_k": 5})
        assert text_of(session.stream("a")) == "You said a"
        assert text_of(session.stream("b")) == "You said b"
        sent = server.requests[-1].body
        assert [message["content"] for message in sent["messages"]] == ["Be brief.", "a", "You said a", "b"]
        assert (sent["model"], sent["top_k"]) == ("one", 5)
        assert [message["role"] for message in session.history] == ["system"] + ["user", "assistant"] * 2
        assert session.usage == Usage(prompt_tokens=20, completion_tokens=6, cached_tokens=8)
        assert session.undo() == "b"
        assert session.history[-1]["content"] == "You said a"
        session.reset()
        assert session.history == [{"role": "system", "content": "Be brief."}]
        with pytest.raises(SessionError, match="no turn"):
            session.undo()


def test_one_answer_at_a_time_and_an_early_end_counts() -> None:
    with ScriptedServer(echo) as server, ServerClient(server.url) as client:
        session = ServerSession(client, "one")
        answer = session.stream("a")
        with pytest.raises(SessionError, match="an answer is being made"):
            session.stream("b")
        next(answer)
        answer.close()
        assert session.history[-1] == {"role": "assistant", "content": "You said a"}
        session.stream("nothing read").close()
        assert len(session.history) == 2


def test_a_failure_takes_the_question_back() -> None:
    with ScriptedServer(echo) as server, ServerClient(server.url) as client:
        session = ServerSession(client, "one")
        answer = session.stream("fail")
        assert next(answer).text == "half"
        with pytest.raises(GenerationError, match="gone"):
            next(answer)
        assert session.history == []
        assert text_of(session.stream("a")) == "You said a"


def test_a_full_context_leaves_the_oldest_turns_out() -> None:
    with ScriptedServer(echo) as server, ServerClient(server.url) as client:
        session = ServerSession(client, "one", "Be brief.")
        for question in "abcde":
            assert text_of(session.stream(question)) == f"You said {question}"
        sent = [message["content"] for message in server.requests[-1].body["messages"]]
        assert sent == ["Be brief.", "c", "You said c", "d", "You said d", "e"]
        assert session.dropped_turns == 2
        assert len(session.history) == 11  # what is left out of prompts was said nevertheless


def test_a_message_that_never_fits() -> None:
    too_long = Reply.error(400, "too long", code="context_length_exceeded")
    with ScriptedServer(lambda request: too_long) as server, ServerClient(server.url) as client:
        session = ServerSession(client, "one")
        with pytest.raises(ContextLengthError):
            session.stream("a")
        with pytest.raises(ContextLengthError):  # and not: an answer is being made
            session.stream("a")
    assert json.dumps(session.history) == "[]"
