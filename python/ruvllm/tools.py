"""Tools: what a model may call, how it is asked to, and what it called. Plain values; nothing runs here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ruvllm.errors import ConfigError

__all__ = ["ToolCall", "ToolChoice", "ToolChoiceLike", "ToolDefinition", "ToolLike", "check_tools"]

MAX_TOOLS = 256
MAX_NAME_CHARACTERS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """A function that a model may call.

    >>> ToolDefinition(name="now", description="The time of day.").schema
    {'type': 'object', 'properties': {}}

    Attributes:
        name: What the model calls it: no white space, quotes or angle brackets.
        description: What it does, for the model.
        parameters: The JSON schema of its arguments, an object's.
        required: Names of arguments that must be given, beside those that `parameters` names.
        strict: Whether a call keeps to every word of the schema, or is refused with the word that cannot be
            kept; otherwise it keeps to names, types and choices.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    required: tuple[str, ...] = ()
    strict: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)
        parameters: object = self.parameters
        if not isinstance(parameters, Mapping):
            kind = type(parameters).__name__
            raise ConfigError(f"the parameters of the tool {self.name!r} are a {kind}; give a JSON schema")
        if self.parameters.get("type", "object") != "object":
            raise ConfigError(
                f"the parameters of the tool {self.name!r} are of the type {self.parameters['type']!r}; "
                "a call's arguments are an object"
            )

    @classmethod
    def of(cls, tool: "ToolLike") -> "ToolDefinition":
        """Take a tool as OpenAI's clients write one, with its `function` or flat.

        >>> ToolDefinition.of({"type": "function", "function": {"name": "now"}}).name
        'now'
        """
        if isinstance(tool, ToolDefinition):
            return tool
        if not isinstance(tool, Mapping):
            raise ConfigError(f"a tool is a {type(tool).__name__}; it must be a ToolDefinition or a dict")
        if tool.get("type", "function") != "function":
            raise ConfigError(f"a tool is of the type {tool['type']!r}; only functions can be called")
        function = tool.get("function", tool)
        if not isinstance(function, Mapping):
            raise ConfigError(f"a tool's function is a {type(function).__name__}; it must be a dict")
        return cls(
            name=function.get("name", ""),
            description=function.get("description") or "",
            parameters=function.get("parameters") or {},
            strict=function.get("strict") is True,
        )

    @property
    def schema(self) -> dict[str, Any]:
        """The schema of the arguments, with `required` in it."""
        schema = {"type": "object", "properties": {}, **self.parameters}
        if required := [*dict.fromkeys([*schema.get("required", ()), *self.required])]:
            schema["required"] = required
        return schema

    def as_dict(self) -> dict[str, Any]:
        """The tool as chat templates and OpenAI's clients know it."""
        function = {"name": self.name, "description": self.description, "parameters": self.schema}
        return {"type": "function", "function": function}


ToolLike: TypeAlias = ToolDefinition | Mapping[str, Any]
"""What callers may give for a tool."""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether a model may call tools, must, or must call a certain one.

    >>> ToolChoice.of("required")
    ToolChoice(kind='required', name=None)
    >>> ToolChoice.named("now").name
    'now'
    """

    kind: Literal["auto", "none", "required", "named"] = "auto"
    name: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("auto", "none", "required", "named"):
            raise ConfigError(
                f"the tool choice is {self.kind!r}; it must be 'auto', 'none', 'required' or a named tool"
            )
        if (self.kind == "named") != (self.name is not None):
            raise ConfigError(f"the tool choice {self.kind!r} with the name {self.name!r} makes no sense")

    @classmethod
    def named(cls, name: str) -> "ToolChoice":
        """The model must call this tool."""
        return cls("named", name)

    @classmethod
    def of(cls, choice: "ToolChoiceLike") -> "ToolChoice":
        """Take a choice as OpenAI's clients write it."""
        if choice is None:
            return cls()
        if isinstance(choice, ToolChoice):
            return choice
        if isinstance(choice, Mapping):
            function = choice.get("function", choice)
            name = function.get("name") if isinstance(function, Mapping) else None
            if choice.get("type", "function") != "function" or not isinstance(name, str):
                raise ConfigError(f"the tool choice {dict(choice)!r} does not name a function")
            return cls.named(name)
        return cls(choice)  # type: ignore[arg-type]  # what it may be is checked there


ToolChoiceLike: TypeAlias = ToolChoice | str | Mapping[str, Any] | None
"""What callers may give for a choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that a model made.

    >>> ToolCall(id="call_1", name="add", arguments='{"a": 1}').values
    {'a': 1}

    Attributes:
        id: What the call's result is sent back with.
        name: The tool.
        arguments: JSON, as the model wrote it; of a model that was cut off, or writes badly, possibly less.
    """

    id: str
    name: str
    arguments: str

    @property
    def values(self) -> dict[str, Any]:
        """The arguments as values; `ConfigError` where they are no JSON object."""
        try:
            values = json.loads(self.arguments)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"the arguments of the call {self.name!r} are not JSON: {error}") from error
        if not isinstance(values, dict):
            kind = type(values).__name__
            raise ConfigError(f"the arguments of the call {self.name!r} are a {kind}, not an object")
        return values

    def as_dict(self) -> dict[str, Any]:
        """The call as a message's `tool_calls` has it."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


def check_tools(tools: Sequence[ToolLike], choice: ToolChoice) -> tuple[ToolDefinition, ...]:
    """Take a request's tools; no name stands for two, and a choice needs what it chooses from."""
    if isinstance(tools, Mapping | str) or not isinstance(tools, Sequence):
        raise ConfigError(f"tools is a {type(tools).__name__}; it must be a list of tools")
    if len(tools) > MAX_TOOLS:
        raise ConfigError(f"there are {len(tools)} tools; at most {MAX_TOOLS} are allowed")
    checked = tuple(ToolDefinition.of(tool) for tool in tools)
    names = [tool.name for tool in checked]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two tools have the name {name!r}")
    if choice.kind == "required" and not names:
        raise ConfigError("the tool choice is 'required', but there are no tools")
    if choice.name is not None and choice.name not in names:
        raise ConfigError(f"the tool choice names {choice.name!r}, which is not among the tools")
    return checked


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise ConfigError(f"a tool has the name {name!r}; it must be a text that is not empty")
    if len(name) > MAX_NAME_CHARACTERS:
        raise ConfigError(f"a tool's name has {len(name)} characters; at most {MAX_NAME_CHARACTERS} are")
    if any(character.isspace() or character in "\"'<>[]{}\\" for character in name):
        raise ConfigError(
            f"a tool has the name {name!r}; a name has no white space, quotes, brackets or backslashes"
        )
