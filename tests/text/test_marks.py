"""Marks come from a template alone, whatever messages say and whatever the template does with it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm.errors import TokenizationError
from ruvllm.text.chat_template import ChatTemplate
from ruvllm.text.marks import MarkFinder, Rendered, can_be_mark
from tests.text.test_chat_template import ANY_TEXT, CONVERSATIONS, SOURCES, SYSTEM, TURNS

MARKS = (
    "<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eot_id|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|USER|>", "<|ASSISTANT|>",
    "<|SYSTEM|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]",
)  # fmt: skip


def each(body: str) -> str:
    """A template that does the same with each message."""
    return "{% for m in messages %}" + body + "{% endfor %}"


# Templates that put marks together out of parts, and some that do so around what a message says.
COMPOSING = {
    "by role": each("{{ '<|' + m.role + '|>' }}{{ m.content }}<|end|>"),
    "between tags": each("<|{{ m.role }}|>{{ m.content | trim }}<|end|>"),
    "by an escape": each("{{ '\\u003c|user|>' }}{{ m.content }}"),
    "by format": each("{{ '<|%s|>' | format(m.role) }}{{ m.content }}"),
    "with a name": each("{{ '<|' + m.role + '|><|' + (m.name or '') + '|>' + m.content }}"),
    "and cleaning": each("<|{{ m.role }}|>{{ m.content.replace('</think>', '') }}"),
    "and reversing": each("<|{{ m.role }}|>{{ m.content[::-1] }}"),
}
# Templates that only write whole marks, whatever else they do.
READING = {
    "joining": each("<|user|>{{ m.content.split('</think>') | join('') }}<|end|>"),
    "side by side": "<|user|>" + each("{{ m.content }}") + "<|end|>",
    "half a mark": "<|user|>" + each("{{ '<|im_' }}{{ m.content }}") + "<|end|>",
    "with names": each("<|user|>{{ m.name }}: {{ m.content | upper }}<|end|>"),
    "as JSON": each("<|user|>{{ m | tojson }}<|end|>"),
    "in pieces": each("<|user|>{% for c in m.content %}{{ c }}{% endfor %}<|end|>"),
    "cutting": each("<|user|>{{ m.content[1:-1] }}<|end|>"),
}

# Whole marks, parts of them, what stands in the middle of them, what templates look for, and plain text.
PIECES = st.sampled_from(
    [*MARKS, "<|", "|>", "<", ">", "<|im_", "im_end|>", "end|>", "<|us", "er|>", "user", "end", "im_end",
     "<sta", "_turn>", "<think>", "</think>", ">|resu|<", ">|RESU|<", ">|dne_mi|<", "[/", "ST]", "\n", " ",
     "x", "skip", "!", "\\u003c", "\U000f0000", "\U000f0001", "\U000f0002", "日", "🙂",
     "{{ '<|im_end|>' }}", "&lt;"]
)  # fmt: skip
CONTENTS = st.lists(PIECES, max_size=8).map("".join)


def template(source: str, limits: Any = None) -> ChatTemplate:
    return ChatTemplate(source, bos_token="<s>", eos_token="</s>", marks=MARKS, limits=limits)


def marks_of(rendered: Rendered) -> list[str]:
    return rendered.pieces()[1::2]


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("messages", CONVERSATIONS, ids=range(len(CONVERSATIONS)))
def test_the_text_is_the_same(name: str, messages: list[dict[str, Any]]) -> None:
    one = template(SOURCES[name])
    assert one.rendered(messages).text == one.render(messages)


@pytest.mark.parametrize("source", [*SOURCES.values(), *COMPOSING.values(), *READING.values()])
def test_of_harmless_messages_every_mark_is_told_apart(source: str) -> None:
    """What the text spells as marks is what is told apart, so nothing changes for a model."""
    one = template(source)
    messages = [{**message, "name": "ada"} for message in [SYSTEM, *TURNS]]
    rendered = one.rendered(messages)
    assert rendered.text == one.render(messages)
    assert rendered.pieces() == MarkFinder(MARKS).split(rendered.text)


def conversation(contents: list[str], name: str = "ada") -> list[dict[str, Any]]:
    roles = ["user", "assistant"]
    return [{"role": roles[index % 2], "content": text, "name": name} for index, text in enumerate(contents)]


# Templates of which the marks do not depend on what is said: `features` leaves messages out by it.
STEADY = {**{name: source for name, source in SOURCES.items() if name != "features"}, **READING}


@pytest.mark.parametrize("name", STEADY)
@settings(max_examples=150, deadline=None)
@given(contents=st.lists(st.one_of(CONTENTS, ANY_TEXT), min_size=1, max_size=4), name_of=CONTENTS)
def test_fault_11_no_message_makes_a_mark(name: str, contents: list[str], name_of: str) -> None:
    one = template(STEADY[name])
    rendered = one.rendered(conversation(contents, name_of))
    assert marks_of(rendered) == marks_of(one.rendered(conversation(["x"] * len(contents))))
    # Templates read what is said as they did: the text is the same, stand-ins and all.
    assert rendered.text == one.render(conversation(contents, name_of))


@pytest.mark.parametrize("name", COMPOSING)
@settings(max_examples=150, deadline=None)
@given(contents=st.lists(st.one_of(CONTENTS, ANY_TEXT), min_size=1, max_size=4), name_of=CONTENTS)
def test_nor_where_a_template_puts_marks_together(name: str, contents: list[str], name_of: str) -> None:
    one = template(COMPOSING[name])
    rendered = one.rendered(conversation(contents, name_of))
    # With another name than that of a mark; what is said is not what the marks are made of.
    assert marks_of(rendered) == marks_of(one.rendered(conversation(["x"] * len(contents))))


@settings(max_examples=300, deadline=None)
@given(contents=st.lists(CONTENTS, min_size=1, max_size=8))
def test_nor_where_such_a_template_reads_what_is_said(contents: list[str]) -> None:
    """`features` puts marks together, leaves messages out, reverses, cuts, and ends after the sixth."""
    messages = conversation(contents)
    kept = [message for message in messages if message["content"] != "skip"]
    expected = ["<s>"]
    for message in kept[:6]:
        expected += ["<|ASSISTANT|>", "</s>"] if message["role"] == "assistant" else ["<|USER|>"]
    rendered = template(SOURCES["features"]).rendered(messages)
    assert marks_of(rendered) == [*expected, "<|ASSISTANT|>"]


def test_the_end_of_a_message_that_is_to_go_on() -> None:
    one = template(SOURCES["chatml"])
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "<|im_end|> "}]
    rendered = one.rendered(messages, continue_last=True)
    # The end of the content, not the mark behind it that reads the same.
    assert rendered.text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<|im_end|>"
    assert marks_of(rendered) == ["<|im_start|>", "<|im_end|>", "<|im_start|>"]


def test_variables_are_text() -> None:
    one = template("<|user|>{{ who }}{{ bos_token }}{{ tools | tojson }}<|end|>")
    variables = {"who": "<|end|>", "tools": [{"<|end|>": ["</s>"]}]}
    assert marks_of(one.rendered("x", variables=variables)) == ["<|user|>", "<s>", "<|end|>"]
    own = one.rendered("x", variables={"bos_token": "</s>", "who": "", "tools": []})
    assert marks_of(own) == ["<|user|>", "<|end|>"]


def test_errors_have_the_templates_own_words() -> None:
    with pytest.raises(TokenizationError, match=r"refused the messages: no <\|user\|> here"):
        template("{{ raise_exception('no <|user|> here') }}").rendered("x")


def test_messages_that_hold_every_private_character() -> None:
    everything = "".join(map(chr, range(0xF0000, 0x110000)))
    with pytest.raises(TokenizationError, match="private-use"):
        template(SOURCES["chatml"]).rendered(everything)
    most = everything[:100]
    assert template(SOURCES["chatml"]).rendered(most).text == template(SOURCES["chatml"]).render(most)


def test_only_what_a_template_writes_is_replaced() -> None:
    """Marks may look like a part of the program; only its strings, and what stands between tags, are text."""
    marks = ["[0]", "loop.first", "|>"]
    one = ChatTemplate("{# [0] #}{{ messages[0].content|upper }}[0]{{ '[0]' ~ \"|>\" }}", marks=marks)
    rendered = one.rendered("[0]|>")
    assert rendered.pieces() == ["[0]|>", "[0]", "", "[0]", "", "|>", ""]


@pytest.mark.parametrize(
    ("text", "special", "expected"),
    [
        ("<|im_start|>", True, True),
        ("<s>", True, True),
        ("<unused1>", True, True),
        ("<think>", False, False),
        ("<tool_call>", False, False),
        ("<|channel|>", False, True),
        ("<start_of_turn>", False, True),
        ("[INST]", False, True),
        ("sop", True, False),
        ("\n\n", True, False),
        ("<", True, False),
        ("<0x0A>", True, False),
        ("<|>", False, False),
    ],
)
def test_what_can_be_a_mark(text: str, special: bool, expected: bool) -> None:
    assert can_be_mark(text, is_special=special) is expected


@settings(max_examples=300, deadline=None)
@given(marks=st.sets(st.text("<a|>", min_size=2, max_size=5), max_size=6), text=st.text("<a|>", max_size=30))
def test_marks_are_found_from_left_to_right_the_longest_first(marks: set[str], text: str) -> None:
    expected, position = [], 0
    while position < len(text):
        here = [mark for mark in marks if text.startswith(mark, position)]
        if here:
            expected.append((position, position + len(max(here, key=len))))
        position = expected[-1][1] if here else position + 1
    finder = MarkFinder(marks)
    assert list(finder.find(text)) == expected
    assert "".join(finder.split(text)) == text
