"""Objects of a schema with the keys that it names and no others, where it leaves that open.

Most programs that send a schema do not say `additionalProperties`, and small models make up keys without end.
"""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["closed"]

_SCHEMAS = ("items", "additionalProperties")
_NAMED = ("properties", "$defs", "definitions")
_LISTED = ("prefixItems", "anyOf")
# With one of these the keys of an object may be named in another place, or one more part that does not hold
# makes a whole that does.
_JOINING = frozenset(
    {
        *("allOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"),
        *("unevaluatedProperties", "$dynamicRef", "$recursiveRef"),
    }
)
_BESIDE = frozenset({"anyOf", "$ref"})
# With one of these an object says itself what other keys it may have.
_OWN = frozenset({"additionalProperties", "patternProperties", "propertyNames", "minProperties"})
MAX_DEPTH = 64


def closed(schema: Any) -> Any:
    """A schema that allows no key without a name, and otherwise what the given one does.

    >>> closed({"properties": {"a": {}}})
    {'properties': {'a': {}}, 'additionalProperties': False}

    One stays as it is where keys of an object may be named in several places of it.
    """
    parts = _parts(schema, MAX_DEPTH)
    return schema if any(map(_is_joined, parts)) else _closed(schema, MAX_DEPTH)


def _parts(schema: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    if not isinstance(schema, Mapping) or not depth:
        return
    yield schema
    for name in _SCHEMAS:
        yield from _parts(schema.get(name), depth - 1)
    for name in _NAMED:
        inner = schema.get(name)
        for one in inner.values() if isinstance(inner, Mapping) else ():
            yield from _parts(one, depth - 1)
    for name in (*_LISTED, "items"):
        inner = schema.get(name)
        for one in inner if isinstance(inner, list) else ():
            yield from _parts(one, depth - 1)


def _is_joined(part: Mapping[str, Any]) -> bool:
    beside = part.keys() & _BESIDE
    return bool(part.keys() & _JOINING) or len(beside) > 1 or bool(beside and "properties" in part)


def _closed(schema: Any, depth: int) -> Any:
    if not isinstance(schema, Mapping) or not depth:
        return schema
    made = dict(schema)
    for name in _SCHEMAS:
        if name in made:
            made[name] = _closed(made[name], depth - 1)
    for name in _NAMED:
        if isinstance(made.get(name), Mapping):
            made[name] = {key: _closed(value, depth - 1) for key, value in made[name].items()}
    for name in (*_LISTED, "items"):
        if isinstance(made.get(name), list):
            made[name] = [_closed(one, depth - 1) for one in made[name]]
    if not made.keys() & _OWN and _names_all(made.get("properties"), made.get("required", [])):
        made["additionalProperties"] = False
    return made


def _names_all(properties: Any, required: Any) -> bool:
    """Whether keys are named, with all that must be there: others could not be written any more."""
    if not isinstance(properties, Mapping) or not properties or not isinstance(required, list):
        return False
    return all(isinstance(name, str) and name in properties for name in required)
