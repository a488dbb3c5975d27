"""Grammars of Lark as patterns: Python's `re` finds in the pattern what llguidance draws from the grammar."""

import json
import random
import re

import pytest

import ruvllm._native as _native
from ruvllm.errors import GrammarError
from ruvllm.regular_lark import regex_of_lark
from ruvllm.text.response import KNOWN_FORMATS
from ruvllm.tools import ToolChoice, ToolDefinition
from tests.text.response.reading import read, seen
from tests.text.response.walking import Walk

# As an agent for code gives it to its tool that edits files.
PATCH = r"""
start: begin_patch hunk+ end_patch
begin_patch: "*** Begin Patch" LF
end_patch: "*** End Patch" LF?

hunk: add_hunk | delete_hunk | update_hunk
add_hunk: "*** Add File: " filename LF add_line+
delete_hunk: "*** Delete File: " filename LF
update_hunk: "*** Update File: " filename LF change_move? change?

filename: /(.+)/
add_line: "+" /(.*)/ LF -> line

change_move: "*** Move to: " filename LF
change: (change_context | change_line)+ eof_line?
change_context: ("@@" | "@@ " /(.+)/) LF
change_line: ("+" | "-" | " ") /(.*)/ LF
eof_line: "*** End of File" LF

%import common.LF
"""
EDIT = """*** Begin Patch
*** Update File: a/b.py
*** Move to: c.py
@@ def f():
-    return "one"
+    return 'tw\\o'
*** End of File
*** Add File: d
+x
*** End Patch
"""
SUMS = """
start: expr // a sum
expr: term (SP ADD SP term)*
    | "(" SP? term ")"
?term: factor (SP "*" SP factor)* -> product
factor: INT | SIGNED_INT
SP: " "
ADD: "+"   # more
%import common.INT
%import common.SIGNED_INT
"""
GRAMMARS = {
    "patch": (
        PATCH,
        [EDIT],
        ["", "*** Begin Patch\n*** End Patch\n", EDIT.replace("+x", "x"), EDIT + "\n\n"],
    ),
    "sums": (SUMS, ["1", "1 + 2 * -3", "(5 * 6)"], ["1+2", "1 +", "a", "(1", "1 + (2)"]),
    "pieces": (
        'start: ["x"] "a".."f"~2 B{1,2} ("\\t"|"\\u00e9"|/[0-9\\/]/)* "."?\nB: "no"i | /q+/i\n',
        ["xabno", "afNOQq\té1/.", "aaQQQ."],
        ["agno", "abnonono", "abx", "xxabno"],
    ),
    "empty alternatives": ('start: "a" (| "b") (\n| "c"\n| "d")', ["a", "ab", "abc", "ad"], ["b", "acd"]),
}


@pytest.mark.parametrize("name", GRAMMARS)
def test_the_pattern_has_the_grammars_texts(name: str) -> None:
    grammar, taken, refused = GRAMMARS[name]
    pattern = re.compile(regex_of_lark(grammar))
    walk = Walk(grammar, {})
    for text in taken:
        assert walk.accepts(text), text
        assert pattern.fullmatch(text), text
    for text in refused:
        assert not walk.accepts(text), text
        assert not pattern.fullmatch(text), text
    found = 0
    for seed in range(300):
        text = changed(random.Random(seed), taken, grammar)
        found += walk.accepts(text)
        assert walk.accepts(text) == (pattern.fullmatch(text) is not None), text
    assert 0 < found < 300


def changed(drawn: random.Random, texts: list[str], grammar: str) -> str:
    """One of the texts with some of its characters or lines gone, doubled, or of the grammar's."""
    text = drawn.choice(texts)
    for _ in range(drawn.randrange(3)):
        lines = text.splitlines(keepends=True)
        index = drawn.randrange(len(lines)) if lines else 0
        place = drawn.randrange(len(text) + 1)
        text = drawn.choice(
            [
                "".join(lines[:index] + lines[index + 1 :]),
                "".join(lines[: index + 1] + lines[index:]),
                text[:place] + text[place + 1 :],
                text[:place] + drawn.choice(grammar) + text[place:],
            ]
        )
    return text


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        ('start: "(" start? ")"', "leads back to itself"),
        ('start: a\na: b "x" |\nb: a', "leads back to itself"),
        ("start: a", "uses 'a', and has no such rule"),
        ('a: "x"', "no rule named start"),
        ('start: "x"\n%ignore " "', "%ignore': there is no pattern"),
        ("start: X\n%import common.NOTHING", "no pattern for it"),
        ('start: %json {"type": "string"}', "for which there is no pattern"),
        ('start: "a"\nstart: "b"', "stands before"),
        ("start: <think>", "'<think>'"),
        ("start: ~/a/", "'~/a/'"),
        ("start: /a/x", "of the flags"),
        ('start: ("a"', "not closed"),
        ('start: "a")', "does not belong"),
        ('"a"', "belongs to no rule"),
        ('start: "ab".."c"', "a range is"),
        ('start: "\\q"', "no text"),
        (
            "start: a_0\n" + "\n".join(f"a_{i}: a_{i + 1} a_{i + 1}" for i in range(30)) + '\na_30: "xx"',
            "characters",
        ),
        ("start: a_0\n" + "\n".join(f"a_{i}: a_{i + 1}" for i in range(99)) + '\na_99: "xx"', "deeper than"),
        ("start: " + "(" * 5000, "deeper than"),
    ],
)
def test_what_has_no_pattern_is_refused(grammar: str, words: str) -> None:
    with pytest.raises(GrammarError) as caught:
        print(regex_of_lark(grammar))
    assert words in str(caught.value)


def test_a_string_of_json_is_held_to_the_pattern(byte_vocabulary: _native.Grammars) -> None:
    schema = {"type": "string", "pattern": f"^(?:{regex_of_lark(PATCH)})$"}
    grammar = byte_vocabulary.grammar("json_schema", json.dumps(schema))
    assert grammar.accepts(json.dumps(EDIT))
    assert not grammar.accepts(json.dumps(EDIT.replace("*** End Patch", "*** End Patc")))
    assert not grammar.accepts(json.dumps(EDIT.replace("@@ def", "def")))


@pytest.fixture(scope="module")
def byte_vocabulary() -> _native.Grammars:
    pieces = [bytes([byte]) for byte in range(256)]
    return _native.Grammars(_native.Vocabulary([*pieces, b"<end>"], [256]), [256], None)


CALLS = {
    "hermes": (
        '<tool_call>\n{"name": "patch", "arguments": {"input": ',
        "}}\n</tool_call>",
    ),
    "qwen-3-coder": (
        "<tool_call>\n<function=patch>\n<parameter=input>\n",
        "\n</parameter>\n</function>\n</tool_call>",
    ),
    "mistral-v11": ('[TOOL_CALLS]patch[ARGS]{"input": ', "}"),
    "gpt-oss": (
        '<|channel|>commentary to=functions.patch <|constrain|>json<|message|>{"input": ',
        "}",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_in_each_way_of_writing_keeps_to_the_pattern(name: str) -> None:
    text = {"type": "string", "pattern": f"^(?:{regex_of_lark(PATCH)})$"}
    parameters = {"properties": {"input": text}, "required": ["input"], "additionalProperties": False}
    tool = ToolDefinition(name="patch", parameters=parameters, strict=True)
    found = KNOWN_FORMATS[name]
    walk = Walk(found.lark([tool], ToolChoice.named("patch"), parallel=False), {})
    before, after = CALLS[name]

    def call(text: str) -> str:
        return before + (text if name == "qwen-3-coder" else json.dumps(text)) + after

    assert walk.accepts(call(EDIT))
    assert seen(read(found, [call(EDIT)], tools=[tool])) == [("call", "patch", {"input": EDIT})]
    for other in ("", EDIT + "more\n", EDIT.replace("+x", "x"), EDIT.replace("*** Begin", "*** begin")):
        assert not walk.accepts(call(other)), other
