"""Calls as the family's models write them, for conversations whose template does not."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ruvllm.text.response.json_text import object_in
from ruvllm.text.response.syntax import CallSyntax, ChannelCalls, JsonCalls, NamedCalls, TaggedCalls
from ruvllm.tools import ToolCall

__all__ = ["arguments_of", "write_calls"]


def write_calls(syntax: CallSyntax, calls: Sequence[ToolCall]) -> str:
    r"""Give the text of calls.

    >>> write_calls(JsonCalls(opening="<call>"), [ToolCall(id="1", name="f", arguments='{"a": 1}')])
    '<call>{"name": "f", "arguments": {"a": 1}}'
    """
    if not calls:
        return ""
    if isinstance(syntax, ChannelCalls):
        return f"{syntax.start}assistant".join(_on_channel(syntax, call) for call in calls)
    if isinstance(syntax, JsonCalls):
        written = [_as_object(syntax, call) for call in calls]
    elif isinstance(syntax, NamedCalls):
        written = [_named(syntax, call) for call in calls]
    else:
        written = [_tagged(syntax, call) for call in calls]
    joined = syntax.separator.join(written)
    if isinstance(syntax, JsonCalls) and syntax.as_list:
        joined = f"[{joined}]"
    return syntax.section[0] + joined + syntax.section[1]


def arguments_of(text: str) -> Any:
    """The arguments of a call in a conversation: an object where they are one, else the text as it is."""
    values = object_in(text)
    return text if values is None else values


def _as_object(syntax: JsonCalls, call: ToolCall) -> str:
    name = json.dumps(call.name, ensure_ascii=False)
    fields = f'"{syntax.name_field}": {name}, "{syntax.arguments_field}": {_json(call)}'
    return f"{syntax.opening}{{{fields}}}{syntax.closing}"


def _named(syntax: NamedCalls, call: ToolCall) -> str:
    return f"{syntax.opening}{call.name}{syntax.name_end}{_json(call)}{syntax.closing}"


def _tagged(syntax: TaggedCalls, call: ToolCall) -> str:
    values = arguments_of(call.arguments)
    written = [f"{syntax.opening}{call.name}{syntax.name_end}"]
    for name, value in values.items() if isinstance(values, Mapping) else ():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        written.append(f"{syntax.key_opening}{name}{syntax.key_end}{text}{syntax.value_end}")
    return "".join([*written, syntax.closing])


def _on_channel(syntax: ChannelCalls, call: ToolCall) -> str:
    header = f"{syntax.channel}commentary to=functions.{call.name} {syntax.constrain}json"
    return f"{header}{syntax.message}{_json(call)}{syntax.call}"


def _json(call: ToolCall) -> str:
    """The arguments as they stand where they are an object, else as a text of JSON."""
    known = isinstance(arguments_of(call.arguments), Mapping)
    return call.arguments if known else json.dumps(call.arguments, ensure_ascii=False)
