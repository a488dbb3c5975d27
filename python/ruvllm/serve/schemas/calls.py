"""Calls of tools, and their results, in the conversations of bodies."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from ruvllm.serve.errors import ApiError
from ruvllm.serve.schemas.base import Body, Entries

__all__ = ["CallHistory", "CallId", "CalledTool", "CalledTools", "ToolName", "call_message"]

MAX_CALLS = 1024
CallId = Annotated[str, Field(min_length=1, max_length=256)]
ToolName = Annotated[str, Field(min_length=1, max_length=256)]


class CalledFunction(Body):
    """The function of a call; arguments that are no JSON, as models write them, are told as they are."""

    name: ToolName
    arguments: str


class CalledTool(Body):
    """A call that an assistant's message has made."""

    id: CallId
    type: Literal["function"] = "function"
    function: CalledFunction


CalledTools = Annotated[list[CalledTool], Entries(MAX_CALLS)]


def call_message(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A call as templates take it; no arguments at all are an empty object."""
    function = {"name": name, "arguments": (arguments.strip() and arguments) or "{}"}
    return {"id": call_id, "type": "function", "function": function}


class CallHistory:
    """Which calls a conversation has made so far; a result belongs to one of them."""

    def __init__(self, messages: Iterable[Mapping[str, Any]] = ()) -> None:
        self._names: dict[str, str] = {}
        for message in messages:
            for call in message.get("tool_calls") or ():
                self.made(call["id"], call["function"]["name"])

    def made(self, call_id: str, name: str) -> None:
        """A call."""
        self._names[call_id] = name

    def result(self, call_id: str | None, content: str, where: str) -> dict[str, Any]:
        """The message with a call's result; 400 at the place `where` for a call that was not made before."""
        if call_id is None:
            raise ApiError(400, f"{where} is missing", code="missing_required_parameter", param=where)
        if call_id not in self._names:
            message = f"{where} is {call_id[:100]!r}, but no message before has a call of this id"
            raise ApiError(400, message, code="invalid_value", param=where)
        return {"role": "tool", "tool_call_id": call_id, "name": self._names[call_id], "content": content}
