"""The output items of a response, made of an answer's parts, and the events that tell of each."""

import secrets
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from ruvllm.serve.call_arguments import custom_input
from ruvllm.serve.schemas.items import output_text
from ruvllm.serve.tool_use import ToolUse
from ruvllm.text.response import CallArguments, CallBegan, CallEnded, Content, Part, Reasoning

__all__ = ["Event", "OutputItems"]

Event: TypeAlias = tuple[str, dict[str, Any]]
"""An event's name and what it says."""

_IDS = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}


class OutputItems:
    """The items of one answer, one open at a time; at the end there is at least one, be it empty."""

    def __init__(self, use: ToolUse) -> None:
        self._use = use
        self._done: list[dict[str, Any]] = []
        self._open: _Item | None = None

    @property
    def items(self) -> list[dict[str, Any]]:
        """Those that are whole."""
        return list(self._done)

    def of(self, parts: Sequence[Part]) -> Iterator[Event]:
        """What some parts come to."""
        for part in parts:
            if isinstance(part, Content):
                yield from self._text("message", part.text)
            elif isinstance(part, Reasoning):
                yield from self._text("reasoning", part.text)
            elif isinstance(part, CallBegan):
                yield from self._ended("completed")
                kind = "custom_tool_call" if part.name in self._use.custom else "function_call"
                yield from self._begun(_Item(kind, len(self._done), call_id=part.id, name=part.name))
            elif isinstance(part, CallArguments) and self._open is not None:
                yield from self._open.more(part.fragment)
            elif isinstance(part, CallEnded):
                yield from self._ended("completed")

    def end(self, status: str) -> Iterator[Event]:
        """The end of the answer: the item that is still open has its status."""
        if not self._done and self._open is None:
            yield from self._begun(_Item("message", 0))
        yield from self._ended(status)

    def _text(self, kind: str, text: str) -> Iterator[Event]:
        if self._open is None or self._open.kind != kind:
            yield from self._ended("completed")
            yield from self._begun(_Item(kind, len(self._done)))
        if self._open is not None:
            yield from self._open.more(text)

    def _begun(self, item: "_Item") -> Iterator[Event]:
        self._open = item
        yield from item.begun()

    def _ended(self, status: str) -> Iterator[Event]:
        if (item := self._open) is not None:
            self._open = None
            self._done.append(item.body(status))
            yield from item.ended(status)


class _Item:
    """One item while its text or its arguments come."""

    def __init__(self, kind: str, index: int, *, call_id: str = "", name: str = "") -> None:
        self.kind = kind
        self._id = f"{_IDS[kind]}_{secrets.token_hex(24)}"
        self._call = {"call_id": call_id, "name": name}
        self._index = index
        self._place = {"item_id": self._id, "output_index": index}
        self._pieces: list[str] = []

    @property
    def _written(self) -> str:
        return "".join(self._pieces)

    def begun(self) -> Iterator[Event]:
        """It is there."""
        yield "response.output_item.added", {"output_index": self._index, "item": self.body("in_progress")}
        if self.kind in ("message", "reasoning"):
            facts = {**self._place, "content_index": 0, "part": self._part("")}
            yield "response.content_part.added", facts

    def more(self, piece: str) -> Iterator[Event]:
        """More of its text, or of its arguments."""
        self._pieces.append(piece)
        facts: dict[str, Any] = {**self._place, "delta": piece}
        if self.kind == "message":
            yield "response.output_text.delta", {**facts, "content_index": 0, "logprobs": []}
        elif self.kind == "reasoning":
            yield "response.reasoning_text.delta", {**facts, "content_index": 0}
        elif self.kind == "function_call":
            yield "response.function_call_arguments.delta", facts

    def ended(self, status: str) -> Iterator[Event]:
        """It is whole, as far as it came."""
        text, place = self._written, {**self._place, "content_index": 0}
        if self.kind == "message":
            yield "response.output_text.done", {**place, "text": text, "logprobs": []}
        elif self.kind == "reasoning":
            yield "response.reasoning_text.done", {**place, "text": text}
        elif self.kind == "function_call":
            facts = {**self._place, "name": self._call["name"], "arguments": text}
            yield "response.function_call_arguments.done", facts
        else:
            # The text of such a call is known once the object that it stands in is whole.
            given = custom_input(text)
            yield "response.custom_tool_call_input.delta", {**self._place, "delta": given}
            yield "response.custom_tool_call_input.done", {**self._place, "input": given}
        if self.kind in ("message", "reasoning"):
            yield "response.content_part.done", {**place, "part": self._part(text)}
        yield "response.output_item.done", {"output_index": self._index, "item": self.body(status)}

    def body(self, status: str) -> dict[str, Any]:
        """The item as far as it came; before its end without its content."""
        whole = status != "in_progress"
        item: dict[str, Any] = {"id": self._id, "type": self.kind, "status": status}
        if self.kind == "message":
            content = [self._part(self._written)] if whole else []
            return {**item, "role": "assistant", "content": content}
        if self.kind == "reasoning":
            content = [self._part(self._written)] if whole else []
            return {**item, "summary": [], "content": content, "encrypted_content": None}
        if self.kind == "function_call":
            return {**item, **self._call, "arguments": self._written if whole else ""}
        return {**item, **self._call, "input": custom_input(self._written) if whole else ""}

    def _part(self, text: str) -> dict[str, Any]:
        return output_text(text) if self.kind == "message" else {"type": "reasoning_text", "text": text}
