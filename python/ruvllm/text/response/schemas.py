"""What formats need to know of the JSON schema of a tool's arguments."""

from collections.abc import Mapping
from typing import Any

__all__ = ["kinds_of", "rebased", "resolved", "shape_of"]

_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def kinds_of(schema: Mapping[str, Any], name: str) -> frozenset[str]:
    """The types that an argument may have; empty where its schema says nothing.

    >>> sorted(kinds_of({"properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}, "a"))
    ['integer', 'null']
    """
    properties = schema.get("properties")
    waiting = [properties.get(name)] if isinstance(properties, Mapping) else []
    found, seen = set[str](), set[str]()
    while waiting:
        one = waiting.pop()
        if not isinstance(one, Mapping):
            continue
        if (kinds := _own_kinds(one)) is not None:
            found |= kinds
            continue
        reference = one.get("$ref")
        if isinstance(reference, str) and reference not in seen:
            seen.add(reference)
            waiting.append(resolved(reference, schema))
        for word in ("anyOf", "oneOf", "allOf"):
            waiting += one[word] if isinstance(one.get(word), list) else ()
    return frozenset(found)


def _own_kinds(schema: Mapping[str, Any]) -> set[str] | None:
    """The types that a schema itself names; `None` where it leaves that to others."""
    if isinstance(kind := schema.get("type"), str):
        return {kind, "integer"} if kind == "number" else {kind}
    if isinstance(kind, list):
        return {str(one) for one in kind} | ({"integer"} if "number" in kind else set())
    if isinstance(values := schema.get("enum"), list):
        return {_KINDS.get(type(value), "null") for value in values}
    if "const" in schema:
        return {_KINDS.get(type(schema["const"]), "null")}
    return None


def resolved(reference: str, root: Mapping[str, Any]) -> object:
    """What a reference into the same schema stands for; `None` where there is nothing."""
    value: object = root
    for step in reference.removeprefix("#").split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if reference.startswith("#") else None


# The words that are kept of a schema that is not strict.
_KEPT = ("type", "enum", "const", "required", "$ref")
_KEPT_ONE = ("items", "additionalProperties")
_KEPT_LISTS = ("anyOf",)
_KEPT_NAMED = ("properties", "$defs", "definitions")
_MAX_SHAPE_DEPTH = 32


def shape_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema's names, types and choices, and no other words.

    >>> shape_of({"type": "object", "properties": {"a": {"type": "string", "pattern": "^x"}}})["properties"]
    {'a': {'type': 'string'}}
    """
    return _shape(schema, _MAX_SHAPE_DEPTH)


def _shape(schema: object, depth: int) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or not depth:
        return {}
    shape: dict[str, Any] = {word: schema[word] for word in _KEPT if word in schema}
    if not str(shape.get("$ref", "#")).startswith("#"):
        del shape["$ref"]
    if isinstance(shape.get("enum"), list) or "const" in shape:
        shape.pop("type", None)
    for word in _KEPT_ONE:
        if word in schema:
            value = schema[word]
            shape[word] = value if isinstance(value, bool) else _shape(value, depth - 1)
    for word in (*_KEPT_LISTS, "oneOf"):
        if isinstance(schema.get(word), list):
            shape["anyOf"] = [_shape(one, depth - 1) for one in schema[word]]
    for word in _KEPT_NAMED:
        if isinstance(schema.get(word), Mapping):
            shape[word] = {str(name): _shape(one, depth - 1) for name, one in schema[word].items()}
    return _with_known_names(shape)


def _with_known_names(shape: dict[str, Any]) -> dict[str, Any]:
    """An object that names its properties has no others; what must be there is one of them."""
    properties = shape.get("properties")
    if properties is not None:
        shape.setdefault("additionalProperties", False)
    if "required" in shape:
        required = shape["required"] if isinstance(shape["required"], list | tuple) else ()
        shape["required"] = [name for name in required if name in (properties or {})]
    return shape


def rebased(schema: Any, place: str) -> Any:
    """The same schema where it stands at a place of another one: its references begin there."""
    if isinstance(schema, list):
        return [rebased(one, place) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    changed = {key: rebased(value, place) for key, value in schema.items() if key != "x-guidance"}
    reference = changed.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        changed["$ref"] = place + reference[1:]
    return changed
