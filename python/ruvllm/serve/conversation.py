"""Conversations on their way into a model: the one place where any API's messages become tokens."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ruvllm.errors import RuvLLMError
from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.errors import api_error
from ruvllm.serve.generation import check_length
from ruvllm.serve.off_loop import AT_ONCE, Errand
from ruvllm.serve.prompts import check_texts
from ruvllm.serve.tool_use import NO_TOOLS, ToolUse
from ruvllm.tools import ToolDefinition

__all__ = ["MESSAGE_SIZE", "Conversation", "conversation_tokens", "prompt_tokens"]

# How long a message takes on its way, be it empty, in the unit of `off_loop.AT_ONCE`.
MESSAGE_SIZE = 32
# The same of a tool, whose schema is written as JSON.
TOOL_SIZE = 1024
# And of a value in one, or in variables.
VALUE_SIZE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Messages that are to be answered.

    Attributes:
        messages: Each with `role` and `content`, a text.
        continues_last: Whether the last message, the assistant's, is the beginning of the answer.
        parse_special: Whether texts of control tokens in messages become these tokens.
        use: The tools that the model is told of.
        effort: How hard a model that may think first is to think; `none` answers at once, `None` leaves it to
            the template.
        variables: More that the template is told; what `effort` comes to goes before it.
        param: The field that they came in, for errors.
    """

    messages: Sequence[Mapping[str, Any]]
    continues_last: bool = False
    parse_special: bool = False
    use: ToolUse = NO_TOOLS
    effort: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    param: str = "messages"


async def conversation_tokens(errand: Errand, model: AskedModel, conversation: Conversation) -> list[int]:
    """The tokens of a conversation, fit they the context or not; 400 where the template refuses it."""

    def work() -> list[int]:
        check_texts(model, _texts_of(conversation), param=conversation.param)
        return model.llm.chat_tokens(
            conversation.messages,
            continue_last=conversation.continues_last,
            variables=_variables(model, conversation),
            parse_special=conversation.parse_special,
            tools=conversation.use.tools,
        )

    try:
        return await errand.do(_size(conversation), work)
    except RuvLLMError as error:
        raise api_error(error, param=conversation.param) from error


async def prompt_tokens(errand: Errand, model: AskedModel, conversation: Conversation) -> list[int]:
    """The same for one that is to be answered: 400 where it leaves no room for an answer."""
    token_ids = await conversation_tokens(errand, model, conversation)
    try:
        check_length(model, len(token_ids))
    except RuvLLMError as error:
        raise api_error(error, param=conversation.param) from error
    return token_ids


def _size(conversation: Conversation) -> int:
    """How long a conversation takes to become tokens, in the unit of `off_loop.AT_ONCE`."""
    beside = _tools_size(conversation.use.tools) + _variables_size(conversation.variables)
    return beside + sum(MESSAGE_SIZE + sum(map(len, _texts_in(one))) for one in conversation.messages)


def _tools_size(tools: Sequence[ToolDefinition]) -> int:
    """The same of tools; of those that are too large to be done at once, as far as it was looked for."""
    values = [value for tool in tools for value in (tool.description, tool.parameters)]
    return TOOL_SIZE * len(tools) + _values_size(values)


def _variables_size(variables: Mapping[str, Any]) -> int:
    """The same of variables; lists and objects, which a template may loop over, are never done at once."""
    size = _values_size([*variables, *variables.values()])
    has_inner = any(isinstance(value, dict | list) for value in variables.values())
    return max(size, AT_ONCE + 1) if has_inner else size


def _values_size(waiting: list[Any]) -> int:
    size = 0
    while waiting and size <= AT_ONCE:
        one = waiting.pop()
        size += len(one) if isinstance(one, str) else VALUE_SIZE
        if isinstance(one, int):
            size += one.bit_length() // 3  # its digits
        if isinstance(one, dict):
            waiting += one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return size


def _texts_of(conversation: Conversation) -> Iterator[str]:
    """All that a template may write of a conversation."""
    for message in conversation.messages:
        yield from _texts_in(message)
    for tool in conversation.use.tools:
        yield json.dumps(tool.as_dict(), ensure_ascii=False)
    if conversation.variables:
        yield json.dumps(dict(conversation.variables), ensure_ascii=False)


def _texts_in(message: Mapping[str, Any]) -> Iterator[str]:
    yield message["content"]
    if thoughts := message.get("reasoning_content"):
        yield thoughts
    for call in message.get("tool_calls", ()):
        yield call["function"]["name"]
        yield call["function"]["arguments"]


def _variables(model: AskedModel, conversation: Conversation) -> dict[str, Any]:
    """All that the template is told; what the request's own fields say of thinking goes before."""
    effort = conversation.effort
    if effort is None:
        return dict(conversation.variables)
    others = {name: value for name, value in conversation.variables.items() if name != "reasoning_effort"}
    reasons = model.llm.response_format.reasons
    switch = (reasons.variable if reasons else None) or "enable_thinking"
    thinks = effort != "none"
    told = {**others, switch: thinks, "enable_thinking": thinks}
    return {**told, "reasoning_effort": effort} if thinks else told
