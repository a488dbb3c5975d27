"""The fields `tools` and `tool_choice` as chat completions, responses and messages write them."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from ruvllm.errors import GrammarError
from ruvllm.regular_lark import regex_of_lark
from ruvllm.serve.errors import ApiError, unsupported
from ruvllm.serve.schemas.base import Body, Entries
from ruvllm.serve.tool_use import MAX_TOOLS, NO_TOOLS, ToolUse, chosen, definition, kind_of
from ruvllm.tools import ToolChoice, ToolDefinition

__all__ = ["Choice", "Tools", "chat_tools", "message_tools", "response_tools"]

Tools = Annotated[list[dict[str, Any]], Entries(MAX_TOOLS), Field(description="What the model may call.")]
Choice: TypeAlias = str | dict[str, Any]
_Api = Literal["chat", "responses"]


def chat_tools(tools: Sequence[dict[str, Any]], choice: Choice | None, *, parallel: bool) -> ToolUse:
    """Those of `/v1/chat/completions`: functions, each in an object of its own."""
    found: dict[str, ToolDefinition] = {}
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        if (kind := kind_of(tool, where)) != "function":
            raise unsupported(where, f"there are functions here, and no {kind!r}")
        inner, where = _inner(tool, "function", where), f"{where}.function"
        found[f"{where}.parameters"] = definition(inner, where)
    asked, allowed = _choice(choice, "chat")
    return _use(found, asked, allowed, parallel=parallel)


def response_tools(tools: Sequence[dict[str, Any]], choice: Choice | None, *, parallel: bool) -> ToolUse:
    """Those of `/v1/responses`: functions, texts to write (`custom`), and kinds that others host.

    Clients send what others host whether it is there or not, so it is left out.
    """
    asked, allowed = _choice(choice, "responses")
    found: dict[str, ToolDefinition] = {}
    custom, left_out = set[str](), list[str]()
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        kind = kind_of(tool, where)
        if kind == "function":
            found[f"{where}.parameters"] = definition(tool, where)
        elif kind == "custom":
            must_hold = tool.get("strict") is True or _may_have_to_be_called(tool, asked, allowed)
            found[f"{where}.format"] = text_tool = _text_tool(tool, where, must_hold=must_hold)
            custom.add(text_tool.name)
        else:
            left_out.append(kind)
    return _use(found, asked, allowed, parallel=parallel, custom=frozenset(custom), left_out=left_out)


def message_tools(tools: Sequence[dict[str, Any]], choice: "MessageToolChoice | None") -> ToolUse:
    """Those of `/v1/messages`: tools with a schema, and kinds of Anthropic's own, which are left out."""
    found: dict[str, ToolDefinition] = {}
    left_out: list[str] = []
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        if (kind := kind_of(tool, where, default="custom")) == "custom":
            found[f"{where}.input_schema"] = definition(tool, where, schema_field="input_schema")
        else:
            left_out.append(kind)
    if choice is None:
        return _use(found, ToolChoice(), None, parallel=True, left_out=left_out)
    kinds = {"auto": "auto", "none": "none", "any": "required"}
    if choice.type == "tool":
        if choice.name is None:
            place = "tool_choice.name"
            raise ApiError(400, f"{place} is missing", code="missing_required_parameter", param=place)
        asked = ToolChoice.named(choice.name)
    else:
        asked = ToolChoice(kinds[choice.type])  # type: ignore[arg-type]  # of three that are all kinds
    return _use(found, asked, None, parallel=not choice.disable_parallel_tool_use, left_out=left_out)


class MessageToolChoice(Body):
    """How tools are to be called, as Anthropic has it."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = Field(None, max_length=256)
    disable_parallel_tool_use: bool | None = None


def _use(
    found: Mapping[str, ToolDefinition],
    choice: ToolChoice,
    allowed: frozenset[str] | None,
    *,
    parallel: bool,
    custom: frozenset[str] = frozenset(),
    left_out: Sequence[str] = (),
) -> ToolUse:
    if not found and not left_out and choice.kind in ("auto", "none") and allowed is None:
        return NO_TOOLS
    return chosen(found, choice, parallel=parallel, allowed=allowed, custom=custom, left_out=left_out)


def _choice(choice: Choice | None, api: _Api) -> tuple[ToolChoice, frozenset[str] | None]:
    """What a `tool_choice` of OpenAI's says, and to which tools it limits the model."""
    if choice is None:
        return ToolChoice(), None
    if isinstance(choice, str):
        return _mode(choice, "tool_choice"), None
    kind = kind_of(choice, "tool_choice")
    if kind == "allowed_tools":
        asked = choice if api == "responses" else _inner(choice, "allowed_tools", "tool_choice")
        mode, tools = asked.get("mode"), asked.get("tools")
        if not isinstance(tools, list) or not tools or len(tools) > MAX_TOOLS:
            place = "tool_choice.tools"
            raise ApiError(400, f"{place} must be a list of tools", code="invalid_value", param=place)
        names = frozenset(_name(tool, api) for tool in tools)
        return _mode(mode if isinstance(mode, str) else "", "tool_choice.mode"), names
    if kind in ("auto", "none"):
        return _mode(kind, "tool_choice.type"), None
    if kind in ("function", "custom"):
        return ToolChoice.named(_name(choice, api)), None
    raise unsupported("tool_choice", f"there is no tool of the kind {kind!r} here")


def _mode(mode: str, place: str) -> ToolChoice:
    if mode not in ("auto", "none", "required"):
        message = f"{place} is {mode[:40]!r}; it must be 'auto', 'none' or 'required', or name a tool"
        raise ApiError(400, message, code="invalid_value", param=place)
    return ToolChoice(mode)  # type: ignore[arg-type]  # one of the three


def _name(tool: object, api: _Api) -> str:
    given: Any = tool if isinstance(tool, Mapping) else {}
    if api == "chat":
        given = given.get("function") or given.get("custom") or {}
    name = given.get("name") if isinstance(given, Mapping) else None
    if not isinstance(name, str) or not name:
        message = "tool_choice does not say the name of a tool"
        raise ApiError(400, message, code="invalid_value", param="tool_choice")
    return name


def _inner(tool: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    inner = tool.get(name)
    if not isinstance(inner, Mapping):
        place = f"{where}.{name}"
        raise ApiError(400, f"{place} must be an object", code="invalid_value", param=place)
    return inner


def _may_have_to_be_called(
    tool: Mapping[str, Any], choice: ToolChoice, allowed: frozenset[str] | None
) -> bool:
    name = tool.get("name")
    if choice.kind == "named":
        return choice.name == name
    return choice.kind == "required" and (allowed is None or name in allowed)


def _text_tool(tool: Mapping[str, Any], where: str, *, must_hold: bool) -> ToolDefinition:
    """A tool that takes a text; the model is told what it is to look like, and held to it by a pattern.

    The text is a string of JSON in the call, in which there is a place for a pattern and none for another
    grammar. So a grammar that has no pattern is refused where it must hold, and told where it need not.
    """
    described = definition({**tool, "parameters": None, "strict": None}, where)
    asked = tool.get("format")
    words = described.description
    text = {"type": "string", "description": "The whole text."}
    pattern = None
    if isinstance(asked, Mapping) and asked.get("type") == "grammar":
        rule = asked.get("definition")
        if not isinstance(rule, str):
            place = f"{where}.format.definition"
            raise ApiError(400, f"{place} must be a text", code="invalid_value", param=place)
        words += f"\n\nThe text follows this grammar ({json.dumps(asked.get('syntax'))}):\n{rule}"
        pattern = _pattern(asked.get("syntax"), rule, f"{where}.format", must_hold=must_hold)
    schema: dict[str, Any] = {"type": "object", "properties": {"input": text}, "required": ["input"]}
    if pattern is not None:
        text["pattern"] = f"^(?:{pattern})$"
        schema["additionalProperties"] = False
    return ToolDefinition(
        name=described.name, description=words.strip(), parameters=schema, strict=pattern is not None
    )


def _pattern(syntax: object, rule: str, where: str, *, must_hold: bool) -> str | None:
    """What the text is held to; `None` where it is only told."""
    if syntax == "regex":
        return rule
    if not must_hold:
        return None
    if syntax != "lark":
        place = f"{where}.syntax"
        raise ApiError(400, f"{place} must be 'lark' or 'regex'", code="invalid_value", param=place)
    try:
        return regex_of_lark(rule)
    except GrammarError as error:
        place = f"{where}.definition"
        message = (
            f"{error.message} (at {place}); a call is held only to a grammar that is a pattern, too: "
            "with tool_choice 'auto' and without strict the model is told of it"
        )
        raise ApiError(400, message, code="invalid_grammar", param=place) from error
