"""Families whose format is known."""

from ruvllm.text.response.format import ResponseFormat
from ruvllm.text.response.syntax import ChannelCalls, JsonCalls, NamedCalls, Reasons, TaggedCalls

__all__ = ["GENERIC", "KNOWN_FORMATS"]

_HERMES = JsonCalls(
    opening="<tool_call>\n", closing="\n</tool_call>", separator="\n", fenced=("```json", "```")
)
_DEEPSEEK_SECTION = ("<\uff5ctool\u2581calls\u2581begin\uff5c>", "<\uff5ctool\u2581calls\u2581end\uff5c>")

GENERIC = ResponseFormat(name="generic", calls=_HERMES, native=False)

_FORMATS = (
    GENERIC,
    ResponseFormat(
        name="llama-3",
        calls=JsonCalls(arguments_field="parameters", separator="; ", bare_opening="<|python_tag|>"),
        parallel=False,
    ),
    ResponseFormat(name="hermes", calls=_HERMES),
    ResponseFormat(name="qwen-2.5", calls=_HERMES),
    ResponseFormat(name="qwen-3", calls=_HERMES, reasons=Reasons(variable="enable_thinking")),
    ResponseFormat(
        name="qwen-3-coder",
        calls=TaggedCalls(
            opening="<tool_call>\n<function=",
            name_end=">\n",
            key_opening="<parameter=",
            key_end=">\n",
            value_end="\n</parameter>\n",
            closing="</function>\n</tool_call>",
        ),
        reasons=Reasons(variable="enable_thinking"),
    ),
    ResponseFormat(name="smollm-3", calls=_HERMES, reasons=Reasons(variable="enable_thinking")),
    ResponseFormat(
        name="mistral",
        calls=JsonCalls(section=("[TOOL_CALLS]", ""), as_list=True, separator=", "),
        ids="nine",
    ),
    ResponseFormat(
        name="mistral-v11",
        calls=NamedCalls(opening="[TOOL_CALLS]", id_opening="[CALL_ID]", name_end="[ARGS]"),
        reasons=Reasons(opening="[THINK]", closing="[/THINK]"),
        ids="nine",
    ),
    ResponseFormat(
        name="phi-4-mini",
        calls=JsonCalls(section=("<|tool_call|>", "<|/tool_call|>"), as_list=True, separator=", "),
    ),
    ResponseFormat(name="gpt-oss", calls=ChannelCalls(), parallel=False),
    ResponseFormat(
        name="deepseek",
        calls=NamedCalls(
            section=_DEEPSEEK_SECTION,
            opening="<\uff5ctool\u2581call\u2581begin\uff5c>",
            name_end="<\uff5ctool\u2581sep\uff5c>",
            closing="<\uff5ctool\u2581call\u2581end\uff5c>",
        ),
        reasons=Reasons(variable="thinking"),
    ),
    ResponseFormat(
        name="deepseek-r1",
        calls=NamedCalls(
            section=_DEEPSEEK_SECTION,
            opening="<\uff5ctool\u2581call\u2581begin\uff5c>function<\uff5ctool\u2581sep\uff5c>",
            name_end="\n```json\n",
            closing="\n```<\uff5ctool\u2581call\u2581end\uff5c>",
            separator="\n",
        ),
        reasons=Reasons(),
    ),
)

KNOWN_FORMATS = {one.name: one for one in _FORMATS}
