"""A closed schema allows nothing that the given one does not, by `jsonschema`; so is what programs send."""

from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from ruvllm.structured.closing import closed
from ruvllm.structured.schemas import Shape
from tests.structured.conftest import Accepts
from tests.structured.test_schema_suite import FUNCTIONS, SUITE


class Point(BaseModel):
    x: int


class Line(BaseModel):
    name: str
    points: list[Point]
    start: Point | None = None


def test_a_closed_schema_allows_no_more() -> None:
    changed = 0
    for group in SUITE:
        schema = group["schema"]
        tight = closed(schema)
        changed += tight != schema
        kind = jsonschema.Draft202012Validator if "2020" in group["file"] else jsonschema.Draft7Validator
        for value, _ in group["tests"]:
            try:
                wide = kind(schema).is_valid(value)
            except Exception:  # noqa: BLE001 - what jsonschema itself cannot read
                continue
            assert wide or not kind(tight).is_valid(value), (schema, value)
    assert changed > 20


def test_what_programs_send_is_closed() -> None:
    schema = closed(Line.model_json_schema())
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Point"]["additionalProperties"] is False
    whole = {"name": "a", "points": [{"x": 1}], "start": {"x": 2}}
    jsonschema.validate(whole, schema)
    for more in (
        {**whole, "y": 1},
        {**whole, "points": [{"x": 1, "y": 2}]},
        {**whole, "start": {"x": 1, "z": 2}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(more, schema)
    assert sum(closed(one) != one for one in FUNCTIONS) > 0.2 * len(FUNCTIONS)


def test_types_have_the_keys_of_their_fields(accepts: Accepts) -> None:
    class Bag(BaseModel):
        x: int
        model_config = {"extra": "allow"}

    assert not accepts(Shape.of(Point).grammar, '{"x": 1, "y": 2}')
    assert accepts(Shape.of(Point).grammar, '{"x": 1}')
    assert accepts(Shape.of(Bag).grammar, '{"x": 1, "y": 2}')
    assert accepts(Shape.of(Point.model_json_schema()).grammar, '{"x": 1, "y": 2}')


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {}}, "additionalProperties": True},
        {"properties": {"a": {}}, "additionalProperties": {"type": "string"}},
        {"properties": {"a": {}}, "patternProperties": {"^x": {}}},
        {"properties": {"a": {}}, "required": ["a", "b"]},
        {"properties": {"a": {}}, "minProperties": 2},
        {"properties": {"a": {}}, "anyOf": [{"properties": {"b": {}}, "required": ["b"]}, {}]},
        {"$ref": "#/$defs/x", "properties": {"a": {}}, "$defs": {"x": {"properties": {"b": {}}}}},
        {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]},
        {"items": {"properties": {"a": {}}, "allOf": [{"properties": {"b": {}}}]}},
        # Of one key the given schema allows none, and of two closed parts one would hold.
        {"oneOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]},
        {"type": "object"},
        {"properties": {}},
        True,
        "properties",
        {"properties": [], "items": 5},
    ],
)
def test_what_may_have_other_keys_stays(schema: Any) -> None:
    assert closed(schema) == schema
