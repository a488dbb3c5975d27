"""What a caller calls a schema: a JSON schema as it stands, a Pydantic model, or any type."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ruvllm.errors import ConfigError, GrammarError
from ruvllm.grammar import Grammar

__all__ = ["Schema", "Shape"]

Schema: TypeAlias = Any
"""A JSON schema as a mapping, a text or a boolean; a Pydantic model; or any type that Pydantic knows."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What an answer must be, and how its text becomes a value.

    >>> Shape.of({"type": "integer"}).value("7")
    7

    Attributes:
        grammar: What the answer must be.
        value: Makes the value of the answer's text.
    """

    grammar: Grammar
    value: Callable[[str], Any]

    @classmethod
    def of(cls, schema: Schema) -> "Shape":
        """The shape that a schema asks for; `GrammarError` for what is none."""
        if isinstance(schema, Mapping | str | bool):
            return cls(Grammar.json_schema(schema), json.loads)
        try:
            import pydantic
        except ImportError:
            raise ConfigError(
                "a type as a schema needs pydantic: pip install pydantic; or give the JSON schema as a dict"
            ) from None
        try:
            adapter = pydantic.TypeAdapter[Any](schema)
            described = adapter.json_schema()
        except pydantic.errors.PydanticUserError as error:
            raise GrammarError(f"{schema!r} is no type that has a JSON schema: {error}") from None
        return cls(Grammar.json_schema(described), adapter.validate_json)
