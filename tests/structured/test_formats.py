"""The built-in grammars of JSON, JSON lines, CSV and XML: Python's own parsers read what is made by them."""

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from ruvllm import LLM, GenerateParams, Grammar, GrammarError
from tests.structured.conftest import Accepts

COLUMNS = ["city", "people, in millions", 'the "capital"']
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "maximum": 120}},
    "required": ["name", "age"],
    "additionalProperties": False,
}

TAKEN = {
    "json": (Grammar.json(), ["1", "null", '"x"', '{"a": [1, 2.5e3, {}]}', "[\n  true\n]"]),
    "jsonl": (Grammar.jsonl(), ["1", '{"a": 1}\n[1, 2]\n"x"\n', '{"a":1,"b":[]}\n{}']),
    "jsonl of a schema": (Grammar.jsonl(PERSON), ['{"name": "Ann", "age": 7}\n{"name":"Bob","age":70}\n']),
    "csv": (Grammar.csv(), ["a", "a,b\n1,2\n", 'a,"b, ""c""\nd"\n,\n', "New York,8\nRome,3"]),
    "csv with names": (
        Grammar.csv(COLUMNS),
        [
            'city,"people, in millions","the ""capital"""\n',
            'city,"people, in millions","the ""capital"""\nRome,3,y',
        ],
    ),
    "xml": (
        Grammar.xml(),
        [
            "<root/>",
            "<root>a &lt; b <item>x</item> y</root>\n",
            "<item>\n <name>A b</name>\n <value/>\n</item>",
        ],
    ),
    "xml with attributes": (
        Grammar.xml(["list", "entry"], ["id", "kind"]),
        ['<list id="1" kind="a &amp; b"><entry kind="x"/></list>', "<entry>über</entry>"],
    ),
}
REFUSED = {
    "json": ["", "{a: 1}", "1 2", "[1,]", "'x'", "[" + " " * 41 + "1]", "NaN", "1\n\n"],
    "jsonl": ["", "1\n\n2", '{"a":\n1}', "1 2", "[1,  2]", "1\n\n", "\n1"],
    "jsonl of a schema": ['{"name": "Ann"}', '{"name": "Ann", "age": 7, "x": 1}',
        '{"name": "Ann", "age": 121}'],
    "csv": ["", "a,b\n1", "a\n\nb", 'a,"b', 'x"y,z', "a\nb,c", " a,b", "a     b,c", "a,b\n\n", "a\x00,b"],
    "csv with names": ["city,people\n1,2",
        'city,"people, in millions","the ""capital"""\nRome,3', "Rome,3,y"],
    "xml": [
        "", "x", "<root>", "<root></item>", "<root>a & b</root>", "<root/><root/>", "<foo/>",
        "<root>]]></root>",
        "<root>" + " " * 41 + "</root>", "<root>\x01</root>", "<root a='1'/>", "<root><item></root></item>",
    ],
    "xml with attributes": ['<list kind="a" kind="b"/>', "<list id=1/>",
        '<list id="<"/>', '<list id="a" "/>'],
}  # fmt: skip


def read_json(text: str) -> None:
    json.loads(text)


def read_jsonl(text: str) -> None:
    for line in text.removesuffix("\n").split("\n"):
        json.loads(line)


def read_csv(text: str) -> None:
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert len({len(row) for row in rows}) == 1, text


def read_named_csv(text: str) -> None:
    read_csv(text)
    assert next(csv.reader(io.StringIO(text, newline=""), strict=True)) == COLUMNS


def read_xml(text: str) -> None:
    ElementTree.fromstring(text)


READERS: dict[str, Callable[[str], None]] = {
    "json": read_json,
    "jsonl": read_jsonl,
    "jsonl of a schema": read_jsonl,
    "csv": read_csv,
    "csv with names": read_named_csv,
    "xml": read_xml,
    "xml with attributes": read_xml,
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_a_format_is(accepts: Accepts, name: str) -> None:
    grammar, texts = TAKEN[name]
    for text in texts:
        READERS[name](text)
        assert accepts(grammar, text), text
    for text in REFUSED[name]:
        assert not accepts(grammar, text), text


def hot(llm: LLM, grammar: Grammar, prompt: str, count: int) -> list[str]:
    """Answers that ended by themselves; ends are made likelier, as hot models seldom find one."""
    ends = dict.fromkeys(llm.tokenizer.end_tokens, 6.0)

    def answer(seed: int) -> str | None:
        params = GenerateParams(
            temperature=1.5,
            top_p=1.0,
            repetition_penalty=1.0,
            seed=seed,
            max_tokens=120,
            grammar=grammar,
            logit_bias=ends,
        )
        completion = llm.generate(prompt, params)
        return completion.text if completion.finish_reason == "stop" else None

    with ThreadPoolExecutor(8) as threads:
        return [text for text in threads.map(answer, range(count)) if text is not None]


@pytest.mark.parametrize("name", TAKEN)
def test_hot_answers_of_random_weights_are_read(tiny_gguf: LLM, name: str) -> None:
    answers = hot(tiny_gguf, TAKEN[name][0], "x", 40)
    for text in answers:
        READERS[name](text)
    print(f"{name}: {len(answers)} of 40 ended")
    assert answers


@pytest.mark.real_model
@pytest.mark.parametrize("name", TAKEN)
def test_hot_answers_of_a_real_model_are_read(smollm2: LLM, name: str) -> None:
    answers = hot(smollm2, TAKEN[name][0], f"Some cities as {name}:\n", 16)
    for text in answers:
        READERS[name](text)
    print(f"{name}: {len(answers)} of 16 ended")
    assert len(answers) >= 2


def test_names_that_are_none_are_refused() -> None:
    for wrong in ([], "name", [""], ["a b"], ["1a"], ["xmlns"], ["a", "a"], ["<"], [1]):
        with pytest.raises(GrammarError, match="XML"):
            Grammar.xml(wrong)  # type: ignore[arg-type]
    with pytest.raises(GrammarError, match="attributes"):
        Grammar.xml(["a"], ["x y"])
    for wrong in ([], "name", [""], [1]):
        with pytest.raises(GrammarError, match="columns"):
            Grammar.csv(wrong)  # type: ignore[arg-type]
    with pytest.raises(GrammarError, match="cannot be written"):
        Grammar.jsonl({"const": {1, 2}})
