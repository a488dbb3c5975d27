"""What a caller calls a schema: a JSON schema as it stands, a Pydantic model, or any type."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ruvllm.errors import ConfigError, GenerationError, GrammarError
from ruvllm.grammar import Grammar
from ruvllm.structured.closing import closed

__all__ = ["Schema", "Shape"]

_ANY_OBJECT = {"type": "object"}

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
        schema: The JSON schema, where `value` does not hold to it by itself.
    """

    grammar: Grammar
    value: Callable[[str], Any]
    schema: "Mapping[str, Any] | bool | None" = None

    @classmethod
    def any_object(cls) -> "Shape":
        """Any JSON object."""
        return cls(Grammar.json_object(), json.loads, _ANY_OBJECT)

    @classmethod
    def of(cls, schema: Schema) -> "Shape":
        """The shape that a schema asks for; `GrammarError` for what is none."""
        if isinstance(schema, Mapping | str | bool):
            return cls(Grammar.json_schema(schema), json.loads, _read(schema))
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
        # What a type has no field for it drops, or says that it takes.
        return cls(Grammar.json_schema(closed(described)), adapter.validate_json)

    def checker(self) -> Callable[[Any], None]:
        """Says `GenerationError` of a value that is none of the schema; for answers without a mask."""
        if self.schema is None or self.schema is True:
            return lambda value: None
        if self.schema == _ANY_OBJECT:
            return _check_object
        try:
            import jsonschema  # type: ignore[import-untyped]
            import jsonschema_specifications  # type: ignore[import-untyped]
        except ImportError:
            raise ConfigError(
                "answers that no mask holds to their schema are checked: pip install jsonschema; "
                "or set strict=False, or give a type of Pydantic's as the schema"
            ) from None
        kind = jsonschema.validators.validator_for(self.schema, default=jsonschema.Draft202012Validator)
        # With this registry nothing is fetched, whatever a schema refers to.
        registry = jsonschema_specifications.REGISTRY
        validator = kind(self.schema, format_checker=kind.FORMAT_CHECKER, registry=registry)

        def check(value: Any) -> None:
            try:
                error = next(validator.iter_errors(value), None)
            except Exception as problem:
                raise GrammarError(f"the schema cannot be checked: {problem}", pointer="") from problem
            if error is not None:
                raise GenerationError(f"the answer is none of the schema: {error.json_path}: {error.message}")

        return check


def _read(schema: "Mapping[str, Any] | str | bool") -> "Mapping[str, Any] | bool | None":
    """A schema that stands as a text; `None` for what is none, of which its compiler tells the place."""
    if not isinstance(schema, str):
        return schema
    try:
        read = json.loads(schema)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict | bool) else None


def _check_object(value: Any) -> None:
    if not isinstance(value, dict):
        raise GenerationError(f"the answer is no JSON object: {value!r:.80}")
