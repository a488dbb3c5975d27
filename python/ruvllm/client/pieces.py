"""What the events of an answer say: OpenAI's chunks, and the counts and times that servers add.

Read by the chat and by `bench-serve` alike. A chunk that is none is an error: nothing is guessed.
"""

import json
from typing import Any, NamedTuple

from ruvllm.client.events import Event
from ruvllm.client.failures import failure_in_stream
from ruvllm.errors import BackendError
from ruvllm.outputs import Timings, Usage

__all__ = ["DONE", "Piece", "ServerTimings", "read_piece", "timings_of"]

DONE = "[DONE]"


class ServerTimings(NamedTuple):
    """What the server measured, in llama.cpp's words.

    Attributes:
        prompt_n: Tokens of the prompt that were computed.
        predicted_n: Tokens that were made.
        predicted_ms: The time from the first of them to the last.
    """

    prompt_n: int
    predicted_n: int
    predicted_ms: float


class Piece(NamedTuple):
    """One chunk of an answer.

    Attributes:
        text: What it adds to the answer.
        thought: What it adds to the model's thoughts, where the server keeps them apart.
        finish_reason: Why the answer ended; `None` before.
        usage: Tokens counted, where this chunk says so.
        timings: Times measured, where this chunk says so.
    """

    text: str
    thought: str
    finish_reason: str | None
    usage: Usage | None
    timings: ServerTimings | None


def read_piece(event: Event) -> Piece:
    """Read one event; an error that it holds is raised as ours."""
    try:
        value = json.loads(event.data)
    except ValueError as error:
        raise BackendError(f"the server sent {_quoted(event.data)}, which is no JSON") from error
    if not isinstance(value, dict):
        raise BackendError(f"the server sent {_quoted(event.data)}; it is no chunk of an answer")
    if value.get("error") or event.name == "error":
        raise failure_in_stream(value.get("error") or value)
    try:
        return _piece(value)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise BackendError(f"the server sent {_quoted(event.data)}; it is no chunk of an answer") from error


def _piece(value: dict[str, Any]) -> Piece:
    choices = value["choices"]
    text: Any = ""
    thought: Any = ""
    finish_reason = None
    if choices:
        delta, finish_reason = choices[0]["delta"], choices[0].get("finish_reason")
        text = delta.get("content") or ""
        thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
    if not (isinstance(text, str) and isinstance(thought, str)):
        raise TypeError("a delta's content must be a text")
    usage, timings = value.get("usage"), value.get("timings")
    return Piece(
        text,
        thought,
        finish_reason,
        _usage(usage) if usage else None,
        _timings(timings) if timings else None,
    )


def _usage(value: dict[str, Any]) -> Usage:
    details = value.get("prompt_tokens_details") or {}
    return Usage(
        prompt_tokens=int(value["prompt_tokens"]),
        # A server may leave it out of the usage of a prompt alone.
        completion_tokens=int(value.get("completion_tokens") or 0),
        cached_tokens=int(details.get("cached_tokens") or 0),
    )


def _timings(value: dict[str, Any]) -> ServerTimings:
    return ServerTimings(int(value["prompt_n"]), int(value["predicted_n"]), float(value["predicted_ms"]))


def timings_of(
    first_token_seconds: float, total_seconds: float, usage: Usage | None, server: ServerTimings | None
) -> Timings:
    """The times of an answer: until the first token as it was seen here, then as the server measured it.

    Without the server's measurement the rest is what was seen here, too.
    """
    if server is not None:
        return Timings(
            first_token_seconds=first_token_seconds,
            total_seconds=first_token_seconds + server.predicted_ms / 1000,
            computed_prompt_tokens=server.prompt_n,
            completion_tokens=server.predicted_n,
        )
    return Timings(
        first_token_seconds=first_token_seconds,
        total_seconds=total_seconds,
        computed_prompt_tokens=usage.prompt_tokens - usage.cached_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
    )


def _quoted(data: str) -> str:
    return repr(data if len(data) <= 120 else data[:120] + "...")
