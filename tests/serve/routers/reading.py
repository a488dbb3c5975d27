"""What an answer of any API says, whole or as a stream, without its ids and times."""

import json
from typing import Any

import httpx

# What is another one for each answer.
OF_ITS_OWN = {
    "id",
    "created",
    "created_at",
    "completed_at",
    "request_id",
    "timings",
    "usage",
    "seed",
    "metadata",
}
OF_ITS_OWN |= {"store", "cache_salt"}


def content_of(path: str, answer: httpx.Response) -> Any:
    """All that two answers to the same request share; of a stream its text."""
    assert answer.status_code == 200, (path, answer.text)
    if answer.headers["content-type"].startswith("text/event-stream"):
        return streamed_text(path, answer.text)
    return _without(answer.json())


def whole_text(answer: httpx.Response) -> str:
    """The text of a chat's answer in one piece."""
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def streamed_text(path: str, body: str) -> str:
    """The pieces of a stream that has come whole, put together."""
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    assert not [event for event in events if "error" in event], body
    if path == "/v1/responses":
        assert events[-1]["type"] in ("response.completed", "response.incomplete"), body
        return "".join(event["delta"] for event in events if event["type"].endswith("text.delta"))
    assert body.rstrip().endswith("data: [DONE]"), body
    choices = [choice for event in events for choice in event["choices"]]
    return "".join(choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices)


def cached_tokens(answer: httpx.Response) -> int:
    """How much of a prompt was not computed again; of a stream its last event says so."""
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        usage = events[-1]["usage"]
    else:
        usage = answer.json()["usage"]
    cached: int = usage["prompt_tokens_details"]["cached_tokens"]
    return cached


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without(item) for name, item in value.items() if name not in OF_ITS_OWN}
    return [_without(item) for item in value] if isinstance(value, list) else value
