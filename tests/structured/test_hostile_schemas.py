"""Schemas and grammars made to cost: each ends within bounds of work, as a grammar or as an error."""

import contextlib
import time
from typing import Any

import pytest

import ruvllm._native as _native
from ruvllm.errors import GenerationError, GrammarError
from ruvllm.grammar import Grammar

# Two seconds are allowed on a quick machine in a release; here debug assertions are on, and others run.
SECONDS = 10.0
MEMORY_BYTES = 64 << 20


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


def branching(depth: int) -> dict[str, Any]:
    """Definitions each of which is two of the next: 2^depth paths."""
    names = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(depth)}
    return {"$defs": {**names, f"d{depth}": {"type": "string"}}, "$ref": "#/$defs/d0"}


HOSTILE = {
    "deep": Grammar.json_schema(nested(30)),
    "deeper": Grammar.json_schema(nested(300)),
    "deepest": Grammar("json_schema", '{"items":' * 100_000 + "{}" + "}" * 100_000),
    "wide": Grammar.json_schema({"properties": {f"p{i}": {"type": "string"} for i in range(2000)}}),
    "wider": Grammar.json_schema({"properties": {f"p{i}": {"type": "string"} for i in range(9000)}}),
    "many values": Grammar.json_schema({"enum": [f"value {i}" for i in range(100_000)]}),
    "some values": Grammar.json_schema({"enum": list(range(19_000))}),
    "recursive": Grammar.json_schema({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
    "branching": Grammar.json_schema(branching(28)),
    "alternatives": Grammar.json_schema(
        {"allOf": [{"anyOf": [{"minimum": i * 100 + j} for j in range(20)]} for i in range(12)]}
    ),
    "long text": Grammar.json_schema({"type": "string", "minLength": 10**7, "maxLength": 2 * 10**7}),
    "long list": Grammar.json_schema({"type": "array", "minItems": 10**6}),
    "pattern": Grammar.json_schema({"type": "string", "pattern": "^(([a-z]{0,100}){0,100}){0,100}$"}),
    "patterns": Grammar.json_schema({"patternProperties": {f"a{{0,{i}}}b{{0,50}}": {} for i in range(60)}}),
    "regex": Grammar.regex("(a?){1000}" * 20 + "a{1000}"),
    "regex with a lag": Grammar.regex("[ab]*a[ab]{200}"),
    "unicode": Grammar.regex(r"(\p{L}{1,200}\p{N}{0,200}){50}"),
    "numbers": Grammar.json_schema({"type": "number", "multipleOf": 1e-300, "maximum": 1e300}),
    "ambiguous": Grammar.lark("start: a\na: a a a | \"x\" | \"\""),
    "choice": Grammar.choice([f"{i:x}" * 10 for i in range(3000)]),
    "no end": Grammar.lark("start: start \"a\""),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_grammars_end_within_bounds(byte_grammars: _native.Grammars, name: str) -> None:
    grammar = HOSTILE[name]
    before, _, began = *_native.process_memory(), time.monotonic()
    with contextlib.suppress(GrammarError):
        made = byte_grammars.grammar(grammar.kind, grammar.source)
        for text in ("{}", '{"a":{"a":' * 10, "a" * 500, "x" * 300, '"' + "b" * 400):
            with contextlib.suppress(GenerationError):
                made.accepts(text)
    assert time.monotonic() - began < SECONDS
    after, _ = _native.process_memory()
    assert after - before < MEMORY_BYTES


def test_what_is_kept_has_a_bound(byte_grammars: _native.Grammars) -> None:
    before = byte_grammars.bytes
    for index in range(40):
        grammar = Grammar.choice([f"{index}{i}" + "x" * 1000 for i in range(100)])
        byte_grammars.grammar(grammar.kind, grammar.source)
    # Forty of four million bytes each.
    assert before < byte_grammars.bytes < 70 << 20
