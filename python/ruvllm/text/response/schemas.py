"""What formats need to know of the JSON schema of a tool's arguments."""

from collections.abc import Mapping
from typing import Any

__all__ = ["kinds_of"]

_MAX_DEPTH = 8
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def kinds_of(schema: Mapping[str, Any], name: str) -> frozenset[str]:
    """The types that an argument may have; empty where its schema says nothing.

    >>> sorted(kinds_of({"properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}, "a"))
    ['integer', 'null']
    """
    properties = schema.get("properties")
    found = properties.get(name) if isinstance(properties, Mapping) else None
    return frozenset(_kinds(found, schema, _MAX_DEPTH))


def _kinds(schema: object, root: Mapping[str, Any], depth: int) -> set[str]:
    if not isinstance(schema, Mapping) or not depth:
        return set()
    if isinstance(kind := schema.get("type"), str):
        return {kind, "integer"} if kind == "number" else {kind}
    if isinstance(kind, list):
        return {str(one) for one in kind} | ({"integer"} if "number" in kind else set())
    if isinstance(values := schema.get("enum"), list):
        return {_KINDS.get(type(value), "null") for value in values}
    if "const" in schema:
        return {_KINDS.get(type(schema["const"]), "null")}
    found: set[str] = set()
    if isinstance(schema.get("$ref"), str):
        found |= _kinds(resolved(schema["$ref"], root), root, depth - 1)
    for word in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(word) or ():
            found |= _kinds(one, root, depth - 1)
    return found


def resolved(reference: str, root: Mapping[str, Any]) -> object:
    """What a reference into the same schema stands for; `None` where there is nothing."""
    value: object = root
    for step in reference.removeprefix("#").split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if reference.startswith("#") else None
