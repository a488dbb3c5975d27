"""Right calls of a public benchmark, in each family's format, are read back, and its grammar allows them."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ruvllm.text.response import KNOWN_FORMATS
from ruvllm.text.response.syntax import TaggedCalls
from ruvllm.text.response.writing import write_calls
from ruvllm.tools import ToolCall, ToolChoice
from tests.text.response.bfcl import FIXTURE, Case, cases, entries_of, fetch_wheel
from tests.text.response.reading import read, seen
from tests.text.response.walking import Walk

ENTRIES = json.loads(FIXTURE.read_text(encoding="utf-8"))


def written(name: str, case: Case) -> str:
    calls = [
        ToolCall(id="", name=one, arguments=json.dumps(values, ensure_ascii=False))
        for one, values in case.calls
    ]
    return write_calls(KNOWN_FORMATS[name].calls, calls)


def check(name: str, entries: list[dict[str, Any]]) -> None:
    for case in cases(entries):
        # Texts stand there as they are, so that a schema alone says what is none.
        if isinstance(KNOWN_FORMATS[name].calls, TaggedCalls) and not (fits_all(case) and tells_texts(case)):
            continue
        text = written(name, case)
        expected = [("call", *call) for call in case.calls]
        found = KNOWN_FORMATS[name]
        assert seen(read(found, [text], tools=case.tools)) == expected, case.name
        pieces = [text[begin : begin + 3] for begin in range(0, len(text), 3)]
        assert seen(read(found, pieces, tools=case.tools)) == expected, case.name


@pytest.mark.parametrize("name", KNOWN_FORMATS)
def test_written_and_read_back(name: str) -> None:
    assert len(ENTRIES) == 110
    check(name, ENTRIES)


@pytest.mark.parametrize("name", [name for name, one in KNOWN_FORMATS.items() if name != "gpt-oss"])
def test_the_grammar_allows_them(name: str) -> None:
    allowed = 0
    for case in list(cases(ENTRIES))[::2]:
        found = KNOWN_FORMATS[name]
        calls = case.calls if found.parallel else case.calls[:1]
        # Some right answers are none by their own schema.
        if not all(fits(values, case, one) for one, values in calls):
            continue
        text = written(name, Case(case.name, case.tools, calls))
        walk = Walk(found.lark(case.tools, ToolChoice.of("required")), {})
        assert walk.accepts(text), (case.name, text)
        allowed += 1
    assert allowed >= 40


def fits_all(case: Case) -> bool:
    return all(fits(values, case, name) for name, values in case.calls)


def tells_texts(case: Case) -> bool:
    """Whether the schemas say of each value that is no text that it is none."""
    schemas = {tool.name: tool.schema["properties"] for tool in case.tools}
    return all(
        isinstance(value, str) or "type" in schemas[name].get(argument, {})
        for name, values in case.calls
        for argument, value in values.items()
    )


def fits(values: dict[str, Any], case: Case, name: str) -> bool:
    schema = next(tool.schema for tool in case.tools if tool.name == name)
    validator = jsonschema.Draft202012Validator(schema)
    try:
        return validator.is_valid(values) and not _empty_names(schema)
    except jsonschema.exceptions.UnknownType:
        # Some of its schemas have types of other languages.
        return False


def _empty_names(schema: dict[str, Any]) -> bool:
    return any(not name for name in schema["properties"])


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN_FORMATS)
def test_all_of_them(name: str, wheel: Path) -> None:
    entries = entries_of(wheel)
    assert len(entries) > 2000
    assert sum(map(fits_all, cases(entries))) > 0.9 * len(entries)
    check(name, entries)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole benchmark, over the package index."""
    return fetch_wheel(tmp_path_factory.mktemp("bfcl"))
