"""What a chat template does with tools, calls and results: found out by letting it write some."""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ruvllm.errors import TokenizationError
from ruvllm.text.chat_template import ChatTemplate

__all__ = ["SAMPLE_ARGUMENTS", "SAMPLE_TOOL", "TemplateTraits", "sample_turn", "traits_of"]

_NAME, _KEY, _VALUE, _RESULT, _SYSTEM = "zq_name", "zq_key", "zq_value", "zq_result", "zq_system"
# Mistral's templates take ids of nine letters and digits, and others take any.
_ID = "zq1234567"
SAMPLE_ARGUMENTS = {_KEY: _VALUE}
SAMPLE_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "A tool.",
        "parameters": {
            "type": "object",
            "properties": {_KEY: {"type": "string", "description": "A text."}},
            "required": [_KEY],
        },
    },
}
_USER = {"role": "user", "content": "Hello."}


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateTraits:
    """What a template can write.

    Attributes:
        tools: Tools that it is given by that name.
        tools_of_system: Tools that the system's message has.
        calls: Calls of an assistant's message.
        text_arguments: Whether it wants the arguments of these as a text, and not as values.
        results: What the messages of the role `tool` say.
        system: A system's message.
        parallel: Several calls of one message.
    """

    tools: bool = False
    tools_of_system: bool = False
    calls: bool = False
    text_arguments: bool = False
    results: bool = False
    system: bool = False
    parallel: bool = False


def sample_turn(arguments: object, *, calls: int = 1) -> list[dict[str, Any]]:
    """A question, its calls and their results."""
    made = [
        {"id": f"{_ID[:-1]}{index}", "type": "function", "function": {"name": _NAME, "arguments": arguments}}
        for index in range(calls)
    ]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "name": _NAME, "content": _RESULT} for call in made
    ]
    return [_USER, {"role": "assistant", "content": "", "tool_calls": made}, *results]


@lru_cache(maxsize=64)
def traits_of(template: ChatTemplate) -> TemplateTraits:
    """Let a template write samples, and look for what they say."""

    def written(messages: list[dict[str, Any]], *, with_tools: bool) -> str:
        tools = [SAMPLE_TOOL] if with_tools else None
        try:
            return template.render(messages, add_generation_prompt=False, variables={"tools": tools})
        except TokenizationError:
            return ""

    tools = _NAME in written([_USER], with_tools=True)
    system = {"role": "system", "content": _SYSTEM}
    tools_of_system = not tools and _NAME in written(
        [{**system, "tools": json.dumps([SAMPLE_TOOL["function"]])}, _USER], with_tools=False
    )
    texts = [json.dumps(SAMPLE_ARGUMENTS), SAMPLE_ARGUMENTS]
    as_text, as_values = (written(sample_turn(arguments)[:2], with_tools=tools) for arguments in texts)
    calls_of_values, calls_of_text = _has_call(as_values), _has_call(as_text)
    text_arguments = calls_of_text and not calls_of_values
    arguments = texts[0] if text_arguments else texts[1]
    calls = calls_of_values or calls_of_text
    # What stands before the calls has the name, too, as a tool.
    count = written(sample_turn(arguments), with_tools=False).count(_VALUE)
    return TemplateTraits(
        tools=tools,
        tools_of_system=tools_of_system,
        calls=calls,
        text_arguments=text_arguments,
        results=_RESULT in written(sample_turn(arguments), with_tools=tools),
        system=_SYSTEM in written([system, _USER], with_tools=False),
        parallel=calls and written(sample_turn(arguments, calls=2), with_tools=False).count(_VALUE) > count,
    )


def _has_call(text: str) -> bool:
    """Whether the arguments stand there, and neither as Python's values nor as a text within JSON."""
    wrong = (f"'{_KEY}'", f'\\"{_KEY}\\"')
    return _VALUE in text and _KEY in text and not any(one in text for one in wrong)
