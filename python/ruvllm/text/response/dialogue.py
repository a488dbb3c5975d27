"""Conversations with tools, made into what the model's chat template can write."""

import hashlib
import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ruvllm.text.chat_template import ChatTemplate
from ruvllm.text.messages import Message, MessageLike, check_messages
from ruvllm.text.response.format import ResponseFormat
from ruvllm.text.response.traits import TemplateTraits, traits_of
from ruvllm.text.response.writing import arguments_of, write_calls
from ruvllm.tools import ToolCall, ToolDefinition

__all__ = ["Dialogue", "has_tools"]

_NINE = re.compile(r"[A-Za-z0-9]{9}")
_LETTERS = string.ascii_letters + string.digits

_INSTRUCTIONS = """\
You can call tools. These are the tools, each with the JSON schema of its arguments:
<tools>
{tools}
</tools>
To call one, write nothing else but, for each call:
{example}
The results come in <tool_response></tool_response>."""


def has_tools(messages: object) -> bool:
    """Whether a conversation has calls or results of tools."""
    if isinstance(messages, str) or not isinstance(messages, Sequence):
        return False
    told = (message for message in messages if isinstance(message, Mapping))
    return any(message.get("tool_calls") or message.get("role") == "tool" for message in told)


@dataclass(frozen=True)
class Dialogue:
    """How a model is told of tools: its template where that can, else its own format in plain messages."""

    template: ChatTemplate
    response_format: ResponseFormat

    @cached_property
    def traits(self) -> TemplateTraits:
        """What the template can write, of use to the model."""
        traits = traits_of(self.template)
        if self.response_format.native:
            return traits
        # It tells of tools in other words than the model's answers are read in.
        return replace(traits, tools=False, tools_of_system=False, calls=False, results=False)

    def prepared(
        self, messages: str | Sequence[MessageLike], tools: Sequence[ToolDefinition] = ()
    ) -> tuple[list[Message], dict[str, Any]]:
        """The messages and variables with which the template writes all of a conversation."""
        checked = [self._with_fitting_ids(message) for message in check_messages(messages)]
        traits = self.traits
        if not self.response_format.parallel or (traits.calls and not traits.parallel):
            checked = _one_call_each(checked)
        checked = [self._with_calls(message) for message in checked]
        # A template that writes any role does not make a model know it.
        if not traits.results or not (traits.calls or traits.tools):
            checked = _results_of_user(checked)
        return self._with_tools(checked, tools)

    # -- what was called, and what came of it

    def _with_fitting_ids(self, message: Message) -> Message:
        if self.response_format.ids != "nine":
            return message
        fitting = dict(message)
        if isinstance(message.get("tool_call_id"), str):
            fitting["tool_call_id"] = _nine(message["tool_call_id"])
        if calls := _calls_of(message):
            fitting["tool_calls"] = [{**call, "id": _nine(str(call.get("id", "")))} for call in calls]
        return fitting

    def _with_calls(self, message: Message) -> Message:
        """The message with calls as the template wants them, or as the model has written them."""
        calls = _calls_of(message)
        if not calls:
            return message
        if self.traits.calls:
            return {**message, "tool_calls": [self._call(call) for call in calls]}
        written = write_calls(self.response_format.calls, [_call_of(call) for call in calls])
        content = "\n".join(filter(None, (message["content"], written)))
        return {key: value for key, value in {**message, "content": content}.items() if key != "tool_calls"}

    def _call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        function = dict(call.get("function") or {})
        arguments = function.get("arguments")
        if isinstance(arguments, str) and not self.traits.text_arguments:
            function["arguments"] = arguments_of(arguments)
        elif isinstance(arguments, Mapping) and self.traits.text_arguments:
            function["arguments"] = json.dumps(arguments, ensure_ascii=False)
        return {**call, "type": "function", "function": function}

    # -- what may be called

    def _with_tools(
        self, messages: list[Message], tools: Sequence[ToolDefinition]
    ) -> tuple[list[Message], dict[str, Any]]:
        if not tools:
            return messages, {}
        if self.traits.tools:
            return messages, {"tools": [tool.as_dict() for tool in tools]}
        if self.traits.tools_of_system:
            functions = json.dumps([tool.as_dict()["function"] for tool in tools], ensure_ascii=False)
            first, others = _system_apart(messages)
            return [{"role": "system", "content": "", **first, "tools": functions}, *others], {}
        return self._with_instructions(messages, tools), {}

    def _with_instructions(self, messages: list[Message], tools: Sequence[ToolDefinition]) -> list[Message]:
        """The tools in the system's message, or where there can be none in the first of the user."""
        listed = "\n".join(json.dumps(tool.as_dict()["function"], ensure_ascii=False) for tool in tools)
        example = ToolCall(id="", name="NAME", arguments="{ARGUMENTS}")
        shown = write_calls(self.response_format.calls, [example]).replace('"{ARGUMENTS}"', "{ARGUMENTS}")
        words = _INSTRUCTIONS.format(tools=listed, example=shown)
        first, others = _system_apart(messages)
        content = "\n\n".join(filter(None, (first.get("content"), words)))
        if self.traits.system:
            return [{**first, "role": "system", "content": content}, *others]
        for index, message in enumerate(others):
            if message["role"] == "user":
                joined = {**message, "content": f"{content}\n\n{message['content']}"}
                return [*others[:index], joined, *others[index + 1 :]]
        return [{"role": "user", "content": content}, *others]


def _calls_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    calls = message.get("tool_calls")
    return [call for call in calls if isinstance(call, Mapping)] if isinstance(calls, list | tuple) else []


def _call_of(call: Mapping[str, Any]) -> ToolCall:
    function = call.get("function") or {}
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return ToolCall(id=str(call.get("id", "")), name=str(function.get("name", "")), arguments=text)


def _system_apart(messages: list[Message]) -> tuple[Message, list[Message]]:
    if messages and messages[0]["role"] in ("system", "developer"):
        return messages[0], messages[1:]
    return {}, messages


def _one_call_each(messages: list[Message]) -> list[Message]:
    """Calls that were made side by side, one after the other, each with its result."""
    ordered: list[Message] = []
    index = 0
    while index < len(messages):
        message, calls = messages[index], _calls_of(messages[index])
        index += 1
        if len(calls) < 2:
            ordered.append(message)
            continue
        results = []
        while index < len(messages) and messages[index]["role"] == "tool":
            results.append(messages[index])
            index += 1
        for number, call in enumerate(calls):
            content = message["content"] if number == 0 else ""
            ordered.append({**message, "content": content, "tool_calls": [call]})
            own = [one for one in results if one.get("tool_call_id") == call.get("id")]
            ordered += own
            results = [one for one in results if one not in own]
        ordered += results
    return ordered


def _results_of_user(messages: list[Message]) -> list[Message]:
    """Results as the user's words, those of one turn together."""
    told: list[Message] = []
    after_result = False
    for message in messages:
        is_result = message["role"] == "tool"
        if not is_result:
            told.append(message)
        else:
            content = f"<tool_response>\n{message['content']}\n</tool_response>"
            if after_result:
                content = f"{told.pop()['content']}\n{content}"
            told.append({"role": "user", "content": content})
        after_result = is_result
    return told


def _nine(call_id: str) -> str:
    """The id itself where it is nine letters and digits, else such a one that stands for it."""
    if _NINE.fullmatch(call_id):
        return call_id
    number = int.from_bytes(hashlib.sha256(call_id.encode()).digest()[:8], "big")
    return "".join(_LETTERS[number // len(_LETTERS) ** place % len(_LETTERS)] for place in range(9))
