"""The parts of an answer as Anthropic's messages have them: as content blocks, and as a stream's events."""

from collections.abc import Iterator, Sequence
from typing import Any

from ruvllm.serve.answer_reading import AnswerReader
from ruvllm.serve.schemas.blocks import signature_of
from ruvllm.serve.sse import named_frame
from ruvllm.text.response import CallArguments, CallBegan, CallEnded, Content, Part, Reasoning, object_in

__all__ = ["BlockFrames", "content_blocks", "event"]


def content_blocks(reader: AnswerReader, *, shows_thoughts: bool) -> list[dict[str, Any]]:
    """The content of an answer that has ended; at least one text, be it empty.

    The input of a call is an object there, so a call whose arguments are none is told as a text.
    """
    blocks: list[dict[str, Any]] = []
    if reader.reasoning:
        thinking = reader.reasoning if shows_thoughts else ""
        blocks.append({"type": "thinking", "thinking": thinking, "signature": signature_of(thinking)})
    texts, calls = [reader.content] if reader.content else [], []
    for call in reader.calls:
        values = object_in(call.arguments)
        if values is None:
            texts.append(f"{call.name}: {call.arguments}")
        else:
            calls.append(_call(call.id, call.name, values))
    if texts or not (blocks or calls):
        blocks.append(_text("\n".join(texts)))
    return blocks + calls


class BlockFrames:
    """The events of one stream's blocks, in the order in which the parts come."""

    def __init__(self, *, shows_thoughts: bool) -> None:
        self._shows_thoughts = shows_thoughts
        self._index = 0
        self._open: str | None = None
        self._thinking: list[str] = []

    def of(self, parts: Sequence[Part]) -> Iterator[bytes]:
        """What some parts come to."""
        for part in parts:
            if isinstance(part, Content):
                yield from self._begun("text", _text(""))
                yield self._delta({"type": "text_delta", "text": part.text})
            elif isinstance(part, Reasoning):
                yield from self._begun("thinking", {"type": "thinking", "thinking": "", "signature": ""})
                if self._shows_thoughts:
                    self._thinking.append(part.text)
                    yield self._delta({"type": "thinking_delta", "thinking": part.text})
            elif isinstance(part, CallBegan):
                yield from self._ended()
                yield from self._begun("call", _call(part.id, part.name, {}))
            elif isinstance(part, CallArguments):
                yield self._delta({"type": "input_json_delta", "partial_json": part.fragment})
            elif isinstance(part, CallEnded):
                yield from self._ended()

    def end(self) -> Iterator[bytes]:
        """The end of the last block; an answer of nothing has an empty text."""
        if self._index == 0:
            yield from self._begun("text", _text(""))
        yield from self._ended()

    def _begun(self, kind: str, block: dict[str, Any]) -> Iterator[bytes]:
        if self._open == kind:
            return
        yield from self._ended()
        self._open = kind
        yield event("content_block_start", index=self._index, content_block=block)

    def _ended(self) -> Iterator[bytes]:
        if self._open is None:
            return
        if self._open == "thinking":
            signature = signature_of("".join(self._thinking))
            self._thinking.clear()
            yield self._delta({"type": "signature_delta", "signature": signature})
        yield event("content_block_stop", index=self._index)
        self._index += 1
        self._open = None

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return event("content_block_delta", index=self._index, delta=delta)


def event(kind: str, **facts: Any) -> bytes:
    """An event of the API's streams."""
    return named_frame(kind, {"type": kind, **facts})


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "citations": None}


def _call(call_id: str, name: str, values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": values, "caller": None}
