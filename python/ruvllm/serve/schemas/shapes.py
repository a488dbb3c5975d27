"""What an answer must be, as each API says it: one grammar comes of all of them."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from ruvllm.errors import GrammarError
from ruvllm.grammar import Grammar
from ruvllm.serve.errors import ApiError, unsupported
from ruvllm.serve.schemas.base import Entries, SamplingFields
from ruvllm.structured.closing import closed

__all__ = [
    "AskedShape",
    "JsonSchema",
    "ShapedFields",
    "shape_of_fields",
    "shape_of_format",
    "shape_of_schema",
]

MAX_CHOICES = 10_000
JsonSchema = dict[str, Any] | bool | str
Choices = Annotated[list[str], Entries(MAX_CHOICES, least=1)]
Settings = dict[str, Any]


class AskedShape(NamedTuple):
    """A grammar, and the field that asked for it."""

    grammar: Grammar
    param: str


class ShapedFields(SamplingFields):
    """The fields of OpenAI, vLLM, SGLang and llama.cpp that say what an answer must be."""

    response_format: Settings | None = Field(None, description="{'type': 'json_schema', 'json_schema': ...}.")
    structured_outputs: Settings | None = Field(None, description="vLLM's: json, regex, choice or grammar.")
    json_schema: JsonSchema | None = Field(None, description="llama.cpp's and SGLang's.")
    grammar: str | None = Field(None, description="GBNF, as llama.cpp has it, or Lark.")
    regex: str | None = None
    ebnf: str | None = None
    guided_json: JsonSchema | None = None
    guided_regex: str | None = None
    guided_choice: Choices | None = None
    guided_grammar: str | None = None

    def shape(self) -> AskedShape | None:
        """What the answer must be; 400 where several fields say it."""
        found = [
            shape_of_format(self.response_format, "response_format"),
            _structured_outputs(self.structured_outputs),
            *(shape_of_fields({name: getattr(self, name)}) for name in _FIELDS),
        ]
        return _only([shape for shape in found if shape is not None])


# What each field holds.
_FIELDS = {
    "json_schema": "json",
    "grammar": "grammar",
    "regex": "regex",
    "ebnf": "grammar",
    "guided_json": "json",
    "guided_regex": "regex",
    "guided_choice": "choice",
    "guided_grammar": "grammar",
}


def shape_of_fields(fields: Mapping[str, Any]) -> AskedShape | None:
    """What some of these fields say; nothing where all are empty, and 400 where several are not."""
    given = {name: value for name, value in fields.items() if value not in (None, "")}
    return _only([_shape(_FIELDS[name], value, name) for name, value in given.items()])


def shape_of_format(asked: Mapping[str, Any] | None, param: str) -> AskedShape | None:
    """OpenAI's and Anthropic's way: a type, and with `json_schema` a schema, itself or in an object."""
    if asked is None or (kind := asked.get("type")) in (None, "text"):
        return None
    inner = asked.get("json_schema")
    if kind == "json_object" and asked.get("schema") is None:
        return AskedShape(Grammar.json_object(), param)
    if kind == "json_schema" and isinstance(inner, Mapping):
        return shape_of_schema(inner.get("schema"), f"{param}.json_schema.schema")
    if kind in ("json_schema", "json_object"):
        return shape_of_schema(asked.get("schema"), f"{param}.schema")
    if kind == "regex" and isinstance(asked.get("pattern"), str):
        return AskedShape(Grammar.regex(asked["pattern"]), f"{param}.pattern")
    message = "must be 'text', 'json_object' or 'json_schema', with what belongs to it"
    raise ApiError(400, f"{param}.type {message}", code="invalid_value", param=f"{param}.type")


def shape_of_schema(schema: Any, param: str) -> AskedShape:
    """A JSON schema; any object where there is none."""
    if schema is None:
        return AskedShape(Grammar.json_object(), param)
    return _shape("json", schema, param)


def _structured_outputs(asked: Mapping[str, Any] | None) -> AskedShape | None:
    found = []
    for name, value in (asked or {}).items():
        place = f"structured_outputs.{name}"
        if value in (None, False):
            continue
        if name == "json_object":
            found.append(AskedShape(Grammar.json_object(), place))
        elif name in ("json", "regex", "choice", "grammar"):
            found.append(_shape(name, value, place))
        elif not name.startswith("_"):
            raise unsupported(place, "answers are held to json, regex, choice, grammar or json_object")
    return _only(found)


def _shape(kind: str, value: Any, param: str) -> AskedShape:
    try:
        return AskedShape(_grammar(kind, value), param)
    except GrammarError as error:
        raise ApiError(400, error.message, code="invalid_grammar", param=param) from error


def _grammar(kind: str, value: Any) -> Grammar:
    if kind == "json":
        return Grammar.json_schema(_closed(value))
    if kind == "choice":
        if not isinstance(value, list) or len(value) > MAX_CHOICES:
            raise GrammarError(f"a choice is a list of at most {MAX_CHOICES} texts")
        return Grammar.choice(value)
    if not isinstance(value, str):
        raise GrammarError(f"it is a {type(value).__name__}; it must be a text")
    if kind == "regex":
        return Grammar.regex(value)
    return Grammar.gbnf(value) if "::=" in value else Grammar.lark(value)


def _closed(schema: JsonSchema) -> JsonSchema:
    """What is not JSON stays as it is: the grammar's compiler says what is wrong with it."""
    try:
        read = json.loads(schema) if isinstance(schema, str) else schema
    except (ValueError, RecursionError):
        return schema
    tight: JsonSchema = closed(read)
    return tight if tight != read else schema


def _only(found: list[AskedShape]) -> AskedShape | None:
    if len(found) > 1:
        first, second = found[0].param, found[1].param
        message = f"{first} and {second} both say what the answer must be; leave one out"
        raise ApiError(400, message, code="invalid_value", param=second)
    return found[0] if found else None
