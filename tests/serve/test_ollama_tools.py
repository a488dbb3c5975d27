"""Tools, thoughts and shapes of answers in Ollama's API, as its own client sees them."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import ollama
import pytest

from tests.serve.conftest import TINY
from tests.serve.running import RunningServer
from tests.serve.test_ollama import GREEDY, HI, client, error_of, post
from tests.serve.test_tools_chat import prompt_tokens as chat_tokens
from tests.serve.tool_models import ASK, FUNCTION, TOOL

__all__ = ["client"]  # a fixture

OPTIONS = {"temperature": 0, "num_predict": 64}
PARIS = {"function": {"name": "weather", "arguments": {"city": "Paris"}}}
ROME = {"function": {"name": "weather", "arguments": {"city": "R\u00f6m"}}}


@pytest.fixture
def caller(tools: RunningServer) -> Iterator[ollama.Client]:
    with ollama.Client(host=tools.url) as client:
        yield client


def weather(city: str) -> str:
    """Give the weather in a city.

    Args:
        city: Its name.
    """
    return city


def calls_of(messages: list[ollama.Message]) -> list[tuple[str, dict[str, Any]]]:
    calls = [call for message in messages for call in message.tool_calls or ()]
    return [(call.function.name, dict(call.function.arguments)) for call in calls]


@pytest.mark.parametrize("stream", [False, True])
def test_calls_come_whole_after_thoughts_and_text(caller: ollama.Client, stream: bool) -> None:
    asked: dict[str, Any] = {"messages": ASK, "tools": [weather], "options": OPTIONS}
    answer = caller.chat("calls", **asked, stream=stream)
    pieces = list(answer) if stream else [answer]
    messages = [piece.message for piece in pieces]
    assert "".join(one.thinking or "" for one in messages) == "Two cities."
    assert "".join(one.content or "" for one in messages) == "I look."
    assert calls_of(messages) == [("weather", {"city": "Paris"}), ("weather", {"city": "R\u00f6m"})]
    assert pieces[-1].done_reason == "stop"
    if stream:
        assert sum(bool(one.tool_calls) for one in messages) == 2


def test_calls_have_ids(tools: RunningServer) -> None:
    body = {"model": "calls", "messages": ASK, "tools": [TOOL], "options": OPTIONS, "stream": False}
    calls = httpx.post(f"{tools.url}/api/chat", json=body).json()["message"]["tool_calls"]
    assert len({call["id"] for call in calls}) == 2
    assert [call["function"]["index"] for call in calls] == [0, 1]


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_is_none_is_content(caller: ollama.Client, stream: bool) -> None:
    answer = caller.chat("broken", ASK, tools=[TOOL], options=OPTIONS, stream=stream)
    messages = [piece.message for piece in answer] if stream else [answer.message]
    assert calls_of(messages) == []
    assert "'Paris'" in "".join(one.content or "" for one in messages)


def told(tools: RunningServer, messages: list[dict[str, Any]]) -> int:
    body = {"model": "calls", "messages": messages, "tools": [TOOL], "options": OPTIONS, "stream": False}
    answer = httpx.post(f"{tools.url}/api/chat", json=body, timeout=20)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["prompt_eval_count"])


def test_results_follow_their_calls(tools: RunningServer) -> None:
    """In their order, by the tool's name or by an id, they are the same history as in chat completions."""
    calls = [
        {
            "id": f"call_{index}",
            "type": "function",
            "function": {
                **one["function"],
                "arguments": json.dumps(one["function"]["arguments"], ensure_ascii=False),
            },
        }
        for index, one in enumerate((PARIS, ROME))
    ]
    beginning = [*ASK, {"role": "assistant", "content": "I look.", "thinking": "Two.", "tool_calls": calls}]
    results = [{"role": "tool", "content": text, "tool_call_id": f"call_{index}"}
               for index, text in enumerate(("sunny", "rain"))]  # fmt: skip
    as_chat = [{**one} for one in [*beginning, *results]]
    as_chat[1]["reasoning_content"] = as_chat[1].pop("thinking")
    expected = chat_tokens(tools, messages=as_chat, tools=[TOOL])
    nameless = {"role": "assistant", "content": "I look.", "thinking": "Two.", "tool_calls": [PARIS, ROME]}
    for more in ({}, {"tool_name": "weather"}, {"name": "weather"}):
        answers = [{"role": "tool", "content": text, **more} for text in ("sunny", "rain")]
        assert told(tools, [*ASK, nameless, *answers]) == expected
    assert told(tools, [*beginning, *results]) == expected
    assert told(tools, [*beginning, *results[::-1]]) == expected
    three = [{"role": "tool", "content": "x"}] * 3
    body = {"model": "calls", "messages": [*ASK, nameless, *three]}
    assert error_of(httpx.post(f"{tools.url}/api/chat", json=body), 400).startswith("messages[4]")
    other = [{"role": "tool", "content": "x", "tool_name": "time"}]
    body["messages"] = [*ASK, nameless, *other]
    assert "'time'" in error_of(httpx.post(f"{tools.url}/api/chat", json=body), 400)


def test_thinking_is_told_to_the_template(caller: ollama.Client) -> None:
    thought = caller.chat("thinks", ASK, options=OPTIONS).message
    assert (thought.thinking, thought.content) == ("Hmm.", "Because.")
    assert caller.chat("thinks", ASK, options=OPTIONS, think=True).message.thinking == "Hmm."
    assert caller.chat("thinks", ASK, options=OPTIONS, think="high").message.thinking == "Hmm."
    counts = [
        caller.chat("thinks", ASK, options=OPTIONS, think=think).prompt_eval_count for think in (True, False)
    ]
    assert counts[0] > counts[1]
    pieces = list(caller.generate("thinks", "Why?", options=OPTIONS, stream=True))
    assert "".join(piece.thinking or "" for piece in pieces) == "Hmm."
    assert "".join(piece.response for piece in pieces) == "Because."
    assert "thinking" in caller.show("thinks").capabilities
    assert "thinking" not in caller.show("plain").capabilities


def test_tools_that_are_none_are_refused(tools: RunningServer) -> None:
    for tool in ({"type": "web"}, {"type": "function", "function": {**FUNCTION, "name": ""}}, {}):
        body = {"model": "calls", "messages": ASK, "tools": [tool]}
        assert error_of(httpx.post(f"{tools.url}/api/chat", json=body), 400).startswith("tools[0]")


def test_an_answer_is_held_to_its_format(client: ollama.Client, tiny_server: RunningServer) -> None:
    schema = {"enum": ["yes", "no"]}
    for seed in range(3):
        options = {"temperature": 1.5, "seed": seed, "num_predict": 30}
        answer = client.chat(TINY, HI, format=schema, options=options)
        assert json.loads(answer.message.content) in schema["enum"]
        assert answer.done_reason == "stop"
        raw = client.generate(TINY, "the cat", raw=True, format=schema, options=options)
        assert json.loads(raw.response) in schema["enum"]
    pieces = client.chat(TINY, HI, format="json", options=GREEDY, stream=True)
    assert "".join(piece.message.content for piece in pieces).startswith("{")
    assert client.chat(TINY, HI, format="", options=GREEDY).done
    for wrong in ("xml", {"type": "wizard"}, 3):
        for stream in (False, True):
            body = {"messages": HI, "format": wrong, "stream": stream}
            assert "format" in error_of(post(tiny_server, "/api/chat", **body), 400)


# What programs send, as their sources build it; texts and schemas are shortened.
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
READ = {"type": "function", "function": {"name": "read", "description": "Read.", "parameters": SCHEMA}}
CALL = {"function": {"name": "read", "arguments": {"path": "a.txt"}}}
REPLAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "Open WebUI, a chat": (
        "/api/chat",
        {
            "model": "plain:latest",
            "stream": True,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "What is in a.txt?"},
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                {"role": "tool", "content": "one", "tool_call_id": ""},
            ][:2],
            "options": {"temperature": 0.7, "num_ctx": 4096, "num_gpu": 0, "stop": ["</x>"], "top_k": 40},
            "keep_alive": "5m",
            "format": None,
        },
    ),
    "Open WebUI, a title": (
        "/api/chat",
        {
            "model": "plain:latest",
            "messages": [{"role": "user", "content": "### Task:\nGenerate a title."}],
            "stream": False,
            "options": {"num_predict": 1000},
        },
    ),
    "Continue, a chat": (
        "/api/chat",
        {
            "model": "plain",
            "messages": [
                {"role": "user", "content": "Read a.txt"},
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                {"role": "tool", "content": "one"},
            ],
            "options": {"num_predict": 2048, "num_ctx": 32768, "stop": ["<|im_start|>"]},
            "keep_alive": 1800,
            "stream": True,
        },
    ),
    "Continue, with tools": (
        "/api/chat",
        {
            "model": "plain",
            "messages": [{"role": "user", "content": "Read a.txt", "images": []}],
            "options": {"temperature": 0.5, "num_predict": 2048, "num_ctx": 8192},
            "keep_alive": 1800,
            "tools": [READ],
            "stream": False,
        },
    ),
    "Continue, a completion": (
        "/api/generate",
        {
            "model": "plain",
            "prompt": "<|fim_prefix|>def f(<|fim_suffix|>)<|fim_middle|>\n",
            "raw": True,
            "options": {
                "temperature": 0.01, "num_predict": 4096, "num_ctx": 8192,
                "stop": ["<|endoftext|>", "<|fim_prefix|>", "/src/", "\n\n"],
            },
            "keep_alive": 1800,
            "stream": True,
        },
    ),
    "LangChain": (
        "/api/chat",
        {
            "model": "plain",
            "messages": [
                {"role": "user", "content": "Read a.txt", "images": []},
                {"role": "assistant", "content": "", "images": [], "tool_calls": [
                    {"type": "function", "id": "3f1c", "function": CALL["function"]}]},
                {"role": "tool", "content": "one", "images": [], "tool_call_id": "3f1c"},
            ],
            "stream": True,
            "options": {"num_ctx": 2048, "temperature": 0.8},
            "tools": [READ],
            "think": False,
        },
    ),
    "LlamaIndex": (
        "/api/generate",
        {
            "model": "plain",
            "prompt": "Say hello.\n",
            "stream": False,
            "options": {"temperature": 0.75, "num_ctx": 3900},
            "keep_alive": 300.0,
        },
    ),
    "Home Assistant": (
        "/api/chat",
        {
            "model": "plain:latest",
            "messages": [
                {"role": "system", "content": "You are a voice assistant."},
                {"role": "user", "content": "Turn on the light"},
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "content": '{"success": true}'},
            ],
            "tools": [READ],
            "stream": True,
            "options": {"num_ctx": 8192},
            "keep_alive": "-1s",
            "think": False,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REPLAYS)
def test_what_programs_send_is_answered(tools: RunningServer, name: str) -> None:
    path, body = REPLAYS[name]
    answer = httpx.post(tools.url + path, json=body, timeout=20)
    assert answer.status_code == 200, answer.text
    last = json.loads(answer.text.splitlines()[-1])
    assert (last["done"], last["model"]) == (True, body["model"])
    assert last["eval_count"] > 0
