"""What a request says of tools, in whatever API it came: what may be called, and what became of the rest."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from ruvllm.errors import RuvLLMError
from ruvllm.serve.errors import ApiError, api_error
from ruvllm.tools import MAX_TOOLS, ToolChoice, ToolDefinition, check_tools

__all__ = ["MAX_TOOLS", "NO_TOOLS", "ToolUse", "chosen", "definition", "kind_of"]

# The kinds of tools that the model was not told of, parted by commas.
LEFT_OUT_HEADER = "x-ruvllm-tools-left-out"
_AUTO = ToolChoice()
_KIND = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """The tools of a request.

    Attributes:
        tools: What the model is told of, and may call.
        choice: Whether it must.
        parallel: Whether an answer may have several calls; otherwise only its first one counts.
        places: Where the schemas of the tools stand in the body, by their names.
        custom: Names of those tools whose argument is a text, which stands in the field `input`.
        left_out: Kinds of tools that this server does not have, and that the model is not told of.
    """

    tools: tuple[ToolDefinition, ...] = ()
    choice: ToolChoice = _AUTO
    parallel: bool = True
    places: Mapping[str, str] = field(default_factory=dict, hash=False)
    custom: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()

    @property
    def is_held(self) -> bool:
        """Whether calls are held to a grammar: one must come, or keep to every word of a schema."""
        return self.choice.kind in ("required", "named") or any(tool.strict for tool in self.tools)

    def tell(self, response: Response) -> Response:
        """Name in a response's head what was left out."""
        if self.left_out:
            response.headers[LEFT_OUT_HEADER] = ", ".join(self.left_out)
        return response

    def facts(self) -> dict[str, Any]:
        """What the log's line says of it."""
        told: dict[str, Any] = {}
        if self.tools:
            told["tools"] = len(self.tools)
        if self.left_out:
            told["tools_left_out"] = ",".join(self.left_out)
        return told


NO_TOOLS = ToolUse()


def kind_of(tool: Mapping[str, Any], where: str, *, default: str | None = None) -> str:
    """A tool's `type`; 400 by its place where that is none."""
    kind = tool.get("type", default)
    if kind is None and default is not None:
        kind = default
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise ApiError(
            400, f"{where}.type must name a kind of tool", code="invalid_value", param=f"{where}.type"
        )
    return kind


def definition(tool: Mapping[str, Any], where: str, *, schema_field: str = "parameters") -> ToolDefinition:
    """A function of a body; 400 by its place where it is none that a model can be told of."""
    name, description = tool.get("name"), tool.get("description")
    for key, value in (("name", name), ("description", description or "")):
        if not isinstance(value, str):
            place = f"{where}.{key}"
            raise ApiError(400, f"{place} must be a text", code="invalid_value", param=place)
    schema = tool.get(schema_field)
    if schema is not None and not isinstance(schema, dict):
        place = f"{where}.{schema_field}"
        raise ApiError(400, f"{place} must be a JSON schema", code="invalid_value", param=place)
    required = (schema or {}).get("required", [])
    if not isinstance(required, list) or not all(isinstance(one, str) for one in required):
        place = f"{where}.{schema_field}.required"
        raise ApiError(400, f"{place} must be a list of names", code="invalid_value", param=place)
    try:
        return ToolDefinition(
            name=name or "",
            description=description or "",
            parameters=schema or {},
            strict=tool.get("strict") is True,
        )
    except RuvLLMError as error:
        raise api_error(error, param=where) from error


def chosen(
    found: Mapping[str, ToolDefinition],
    choice: ToolChoice,
    *,
    parallel: bool,
    allowed: frozenset[str] | None = None,
    custom: frozenset[str] = frozenset(),
    left_out: Iterable[str] = (),
) -> ToolUse:
    """What comes of a request's tools, by the places of their schemas; 400 for a choice of nothing.

    Under the choice `none`, and beside tools that are allowed, the model is told of no others, so that it has
    none to call.
    """
    try:
        tools = check_tools(list(found.values()), _AUTO)
        known = {tool.name for tool in tools}
        if unknown := sorted((allowed or frozenset()) - known):
            raise ApiError(
                400,
                f"tool_choice allows {unknown[0][:100]!r}, which is not among the tools",
                code="invalid_value",
                param="tool_choice",
            )
        check_tools(tools, choice)
    except RuvLLMError as error:
        place = "tool_choice" if choice.kind in ("required", "named") else "tools"
        raise api_error(error, param=place) from error
    if choice.kind == "none":
        tools = ()
    elif allowed is not None:
        tools = tuple(tool for tool in tools if tool.name in allowed)
    kinds = tuple(dict.fromkeys(left_out))
    return ToolUse(
        tools=tools,
        choice=choice,
        parallel=parallel,
        places={tool.name: place for place, tool in found.items()},
        custom=custom,
        left_out=kinds,
    )
