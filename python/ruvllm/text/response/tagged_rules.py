"""The grammar of a call whose arguments stand in tags."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ruvllm.text.response.schemas import kinds_of, rebased, resolved, shape_of
from ruvllm.text.response.syntax import TaggedCalls
from ruvllm.tools import ToolDefinition

__all__ = ["tagged_rule"]

_ROOT_WORDS = ("$defs", "definitions")


def tagged_rule(
    name: str, syntax: TaggedCalls, tool: ToolDefinition, marks: Callable[[str], str]
) -> list[str]:
    """The rules of a tool's call: its arguments in their order, those that are not required or not."""
    schema = tool.schema if tool.strict else shape_of(tool.schema)
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required") or ()
    rules, arguments, end = [], [], syntax.value_end.strip()
    for index, (key, value) in enumerate(properties.items()):
        rule = f"{name}_{index}"
        before = marks(f"{syntax.key_opening}{key}{syntax.key_end}")
        rules.append(f"{rule}: {before} {_value(rule, syntax, (schema, key, value), marks)}")
        if kinds_of(schema, key) <= {"string"} and not _choices(value, schema):
            rules.append(f"{rule}_text[lazy]: {_text_rule(value, syntax)} {json.dumps(end)}")
        arguments.append(rule if key in required else f"( {rule} )?")
    around = [marks(f"{tool.name}{syntax.name_end}"), *arguments, marks(syntax.closing)]
    return [f"{name}: {' '.join(around)}", *rules]


def _value(
    rule: str,
    syntax: TaggedCalls,
    argument: tuple[Mapping[str, Any], str, Any],
    marks: Callable[[str], str],
) -> str:
    schema, key, value = argument
    whole_end = marks(syntax.value_end)
    if choices := _choices(value, schema):
        return f"( {' | '.join(json.dumps(one, ensure_ascii=False) for one in choices)} ) {whole_end}"
    if kinds_of(schema, key) <= {"string"}:
        # The parser ends a text at the tag; the line's end before it is the text's own, or the family's.
        after = syntax.value_end[syntax.value_end.index(end := syntax.value_end.strip()) + len(end) :]
        return f"{rule}_text {marks(after)}"
    whole = {word: schema[word] for word in _ROOT_WORDS if word in schema}
    return f"%json {json.dumps({**whole, **rebased(value, '#')})} {whole_end}"


def _text_rule(value: object, syntax: TaggedCalls) -> str:
    """A text of any kind, or one that a pattern matches as a whole; with what stands before its tag."""
    pattern = value.get("pattern") if isinstance(value, Mapping) else None
    whole = re.fullmatch(r"\^\(\?:(.*)\)\$", pattern, re.DOTALL) if isinstance(pattern, str) else None
    if whole is None:
        return "/(.|\\n)*/"
    before = syntax.value_end[: syntax.value_end.index(syntax.value_end.strip())]
    slashed = re.sub(r"(\\.)|/", lambda found: found[1] or r"\/", whole[1], flags=re.DOTALL)
    return f"/(?:{slashed}){before}/".replace("\n", "\\n")


def _choices(value: object, schema: Mapping[str, Any]) -> list[str]:
    """The texts that an argument may be, where the schema lists them."""
    if isinstance(value, Mapping) and isinstance(value.get("$ref"), str):
        value = resolved(value["$ref"], schema)
    if not isinstance(value, Mapping):
        return []
    found = [value["const"]] if "const" in value else value.get("enum")
    texts = isinstance(found, list) and all(isinstance(one, str) and one for one in found)
    return list(found) if texts and found else []
