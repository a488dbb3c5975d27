"""The parts of an answer as chat completions have them: as deltas of a stream, and as one message."""

from collections.abc import Iterator, Sequence
from typing import Any

from ruvllm.serve.answer_reading import AnswerReader
from ruvllm.text.response import CallArguments, CallBegan, Content, Part, Reasoning

__all__ = ["deltas", "whole_message"]


def deltas(parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
    """What a stream says of some parts. A call's id and name come once, with its first fragment."""
    for part in parts:
        if isinstance(part, Content):
            yield {"content": part.text}
        elif isinstance(part, Reasoning):
            yield _thoughts(part.text)
        elif isinstance(part, CallBegan):
            function = {"name": part.name, "arguments": ""}
            yield {
                "tool_calls": [{"index": part.index, "id": part.id, "type": "function", "function": function}]
            }
        elif isinstance(part, CallArguments):
            yield {"tool_calls": [{"index": part.index, "function": {"arguments": part.fragment}}]}


def whole_message(reader: AnswerReader) -> dict[str, Any]:
    """The message of an answer that has ended; where it only calls tools, it has no content."""
    calls = [call.as_dict() for call in reader.calls]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reader.content or (None if calls else ""),
        "refusal": None,
        "annotations": [],
    }
    if reader.reasoning:
        message |= _thoughts(reader.reasoning)
    return {**message, "tool_calls": calls} if calls else message


def _thoughts(text: str) -> dict[str, Any]:
    """Under both names that clients look for."""
    return {"reasoning_content": text, "reasoning": text}
