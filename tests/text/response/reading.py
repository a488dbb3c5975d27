"""Reads an answer that comes in pieces, and says in short what was seen."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ruvllm.outputs import FinishReason
from ruvllm.text.response import (
    CallArguments,
    CallBegan,
    CallEnded,
    Content,
    Part,
    Reasoning,
    ResponseFormat,
)
from ruvllm.tools import ToolDefinition


def read(
    response_format: ResponseFormat,
    pieces: Iterable[str],
    *,
    tools: Sequence[ToolDefinition] | None = None,
    finish_reason: FinishReason = "stop",
    thinking_open: bool = False,
) -> list[Part]:
    parser = response_format.parser(thinking_open=thinking_open, tools=tools)
    parts = [part for piece in pieces for part in parser.feed(piece)]
    return parts + parser.end(finish_reason)


def seen(parts: Iterable[Part]) -> list[Any]:
    """Texts as they are, `("thought", text)`, `("call", name, values)`, `("cut call", name, text)`."""
    found: list[Any] = []
    for part in parts:
        if isinstance(part, Content):
            found[-1:] = (
                [found[-1] + part.text] if found and isinstance(found[-1], str) else [*found[-1:], part.text]
            )
        elif isinstance(part, Reasoning):
            if found and found[-1][0] == "thought":
                found[-1] = ("thought", found[-1][1] + part.text)
            else:
                found.append(("thought", part.text))
        elif isinstance(part, CallBegan):
            assert part.index == sum(1 for one in found if "call" in one[0] and isinstance(one, tuple))
            found.append(("cut call", part.name, ""))
        elif isinstance(part, CallArguments):
            found[-1] = (*found[-1][:2], found[-1][2] + part.fragment)
        elif isinstance(part, CallEnded):
            found[-1] = ("call", found[-1][1], _values(found[-1][2]))
    return found


def _values(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments
