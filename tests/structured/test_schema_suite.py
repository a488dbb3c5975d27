"""JSON schemas against the JSON-Schema-Test-Suite: nothing that it calls invalid may be written."""

import json
from pathlib import Path
from typing import Any

import pytest

import ruvllm._native as _native
from ruvllm.errors import GrammarError
from ruvllm.grammar import Grammar
from tests.structured.conftest import written

FOLDER = Path(__file__).parents[1] / "fixtures" / "json_schema"
SUITE = [json.loads(line) for line in (FOLDER / "suite.jsonl").read_text("utf-8").splitlines()]
FUNCTIONS = [json.loads(line) for line in (FOLDER / "functions.jsonl").read_text("utf-8").splitlines()]


def resolved(schema: Any, pointer: str) -> bool:
    """Whether a JSON pointer leads to something."""
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        try:
            schema = schema[int(step)] if isinstance(schema, list) else schema[step]
        except (KeyError, IndexError, ValueError, TypeError):
            return False
    return True


def compiled(grammars: _native.Grammars, schema: Any) -> _native.Grammar | GrammarError:
    grammar = Grammar.json_schema(schema)
    try:
        return grammars.grammar(grammar.kind, grammar.source)
    except GrammarError as error:
        return error


@pytest.mark.parametrize("draft", ["draft2020-12", "draft7"])
def test_what_the_suite_calls_invalid_is_never_accepted(byte_grammars: _native.Grammars, draft: str) -> None:
    wrong, missed, right, refused = [], 0, 0, 0
    for group in SUITE:
        if not group["file"].startswith(draft):
            continue
        grammar = compiled(byte_grammars, group["schema"])
        if isinstance(grammar, GrammarError):
            refused += 1
            assert grammar.pointer is not None
            assert resolved(group["schema"], grammar.pointer), (group["schema"], grammar.pointer)
            continue
        for value, is_valid in group["tests"]:
            is_accepted = any(grammar.accepts(text) for text in written(value))
            if is_accepted and not is_valid:
                wrong.append((group["file"], group["about"], value))
            missed += is_valid and not is_accepted
            right += is_accepted == is_valid
    assert not wrong, wrong
    # A value may be written in few ways only (keys in the schema's order, one form of a number); of what the
    # suite has, most can be.
    assert right > 600
    assert missed < 0.06 * right
    assert refused < 240


def test_schemas_of_functions_are_mostly_honoured(byte_grammars: _native.Grammars) -> None:
    refused = [
        (schema, outcome)
        for schema in FUNCTIONS
        if isinstance(outcome := compiled(byte_grammars, schema), GrammarError)
    ]
    assert len(refused) <= 0.09 * len(FUNCTIONS), refused
    assert all(resolved(schema, error.pointer or "") for schema, error in refused)


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        ({"properties": {"a": {"anyOf": [{"type": "null"}, {"not": {}}]}}}, "/properties/a/anyOf/1/not"),
        ({"type": "array", "uniqueItems": True}, "/uniqueItems"),
        ({"$defs": {"a/b": {"type": "thing"}}, "$ref": "#/$defs/a~1b"}, "/$defs/a~1b/type"),
        ({"items": {"pattern": "(?=a)b"}}, "/items/pattern"),
        ({"properties": {"x": {"x-guidance": {"lenient": True}}}}, "/properties/x/x-guidance"),
        ({"x-guidance": {"lenient": True}, "not": {}}, "/x-guidance"),
        ({"$ref": "#/nowhere"}, "/$ref"),
        ({"properties": {"a": {"minProperties": 3}}}, "/properties/a/minProperties"),
        (False, ""),
        ("{", ""),
        ("7", ""),
    ],
)
def test_what_is_refused_is_named_by_its_place(
    byte_grammars: _native.Grammars, schema: Any, pointer: str
) -> None:
    outcome = compiled(byte_grammars, schema)
    assert isinstance(outcome, GrammarError)
    assert outcome.pointer == pointer, outcome
    assert len(str(outcome)) > 30


def test_dates_hold_to_the_calendar(byte_grammars: _native.Grammars) -> None:
    date = compiled(byte_grammars, {"type": "string", "format": "date"})
    assert isinstance(date, _native.Grammar)
    for text, is_day in [
        ("2024-02-29", True), ("2023-02-29", False), ("1900-02-29", False), ("2000-02-29", True),
        ("2024-04-31", False), ("2024-12-31", True), ("2024-13-01", False),
    ]:  # fmt: skip
        assert date.accepts(f'"{text}"') is is_day, text


def test_formats_that_no_draft_defines_ask_for_nothing(byte_grammars: _native.Grammars) -> None:
    grammar = compiled(byte_grammars, {"properties": {"a": {"type": "string", "format": "path"}}})
    assert isinstance(grammar, _native.Grammar)
    assert grammar.accepts('{"a":"/tmp"}')
    outcome = compiled(byte_grammars, {"properties": {"a": {"type": "string", "format": "iri"}}})
    assert isinstance(outcome, GrammarError)
    assert outcome.pointer == "/properties/a/format"


def test_keys_named_like_keywords_are_only_names(byte_grammars: _native.Grammars) -> None:
    schema = {"type": "object", "properties": {"format": {"const": "date"}, "$id": {"type": "integer"}}}
    grammar = compiled(byte_grammars, schema)
    assert isinstance(grammar, _native.Grammar)
    assert grammar.accepts('{"format":"date","$id":1}')
    assert not grammar.accepts('{"format":"x"}')


def test_a_choice_has_any_number_of_texts(byte_grammars: _native.Grammars) -> None:
    """Also such that begin alike, or with each other."""
    texts = [f"{index:x}" * 3 for index in range(3000)] + ["yes", "yesterday"]
    grammar = Grammar.choice(texts)
    made = byte_grammars.grammar(grammar.kind, grammar.source)
    assert all(made.accepts(text) for text in (*texts[::100], "yes", "yesterday"))
    assert not any(made.accepts(text) for text in ("yest", "", "fff0", "yesyes"))


def test_white_space_has_a_bound(byte_grammars: _native.Grammars) -> None:
    grammar = byte_grammars.grammar("json_object", "")
    assert grammar.accepts('{\n        "a": [1, {}]}')
    assert not grammar.accepts("{" + " " * 41 + "}")
    assert not grammar.accepts(' {"a":1}')
    assert not grammar.accepts("[]")
