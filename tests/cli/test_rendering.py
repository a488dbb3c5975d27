"""Answers as a terminal shows them, read off a terminal that is not ours."""

import re
import textwrap
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.syntax import Syntax

from ruvllm.cli.rendering.answer_view import AnswerView
from ruvllm.cli.rendering.markdown_stream import MarkdownStream
from ruvllm.cli.rendering.waiting_line import WaitingLine
from ruvllm.cli.rendering.word_writer import WordWriter
from ruvllm.text.response import ResponseParser
from ruvllm.text.response.syntax import JsonCalls, Reasons
from tests.support.screens import Screen, ScreenConsole

PROSE = (
    "Wolves are social animals that live in packs, and a pack is most often a family. They communicate by "
    "howling, by scent and by posture; a howl can be heard over a distance of ten kilometres."
)
ANSWER = """\
# Lists in **Python**

A *list* keeps its order, `len(x)` counts, and 2 * 3 * 4 is a product.
See [the manual](https://docs.python.org/3/) or snake_case_names.

- one, which is long enough to go on in another line than its first
  - two
1. first
10. tenth

> quoted, and long enough as well to go on in another line than this

```python
def greet(name: str) -> str:
    \"\"\"Say hello.

    # no comment
    \"\"\"
    return f"Hello, {name}"  # a comment
```

---

| name | length |
|:-----|-------:|
| ada | 3 |
| **bo** | 2 |

The end."""


def shown(text: str, *, columns: int = 40, pieces: list[str] | None = None) -> Screen:
    on = ScreenConsole(columns)
    view = MarkdownStream(on.console, WaitingLine(on.console))
    for piece in [text] if pieces is None else pieces:
        view.feed(piece)
    view.close()
    return on.shown()


# -- words


@pytest.mark.parametrize("columns", [20, 33, 40, 79])
def test_lines_break_between_words(columns: int) -> None:
    assert shown(PROSE, columns=columns).lines == textwrap.wrap(PROSE, columns)


def test_a_word_that_no_line_has_room_for_is_broken() -> None:
    address = "https://example.org/" + "a" * 90
    screen = shown(f"Look at {address} and come back.")
    assert "".join(screen.lines[1:4]).startswith(address)
    assert screen.lines[0] == "Look at"
    assert screen.lines[-2:] == ["a" * 30 + " and come", "back."]


def test_chinese_is_broken_between_characters_of_two_columns() -> None:
    screen = shown("狼是社会性动物" * 6, columns=21)
    # pyte keeps an empty cell behind a wide character, which takes no place in the text.
    assert "".join(screen.lines) == "狼是社会性动物" * 6
    assert [len(line) for line in screen.lines[:-1]] == [10] * (len(screen.lines) - 1)


def test_a_word_is_shown_when_it_is_whole_and_a_line_is_not_written_again() -> None:
    on = ScreenConsole()
    words = WordWriter(on.console)
    words.add("two wo")
    assert on.written.getvalue() == "two"
    words.add("rds ")
    assert on.written.getvalue() == "two words"
    words.add("more")
    words.end_line()
    assert on.written.getvalue() == "two words more\n"


def test_blank_lines_are_between_things_and_not_around_them() -> None:
    assert shown("\n\na\n\n\n\nb\n\n").lines == ["a", "", "b"]


FAMILY, THUMB, FLAG = (
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f44d\U0001f3fd",
    "\U0001f1e9\U0001f1ea",
)


@pytest.mark.parametrize("columns", range(9, 20))
@pytest.mark.parametrize("character", [FAMILY, THUMB, FLAG, "e\u0301", "\u72fc\ufe00", "\u0915\u093f"])
def test_a_line_does_not_break_within_a_character(character: str, columns: int) -> None:
    for text in (character * 30, f"a {character} {character}{character} " * 8):
        for pieces in ([text], list(text)):
            on = ScreenConsole(columns)
            words = WordWriter(on.console)
            for piece in pieces:
                words.add(piece)
            words.end_line()
            written = on.written.getvalue()
            assert "\n" in written[:-1]
            assert re.sub(r"[ \n]", "", written) == text.replace(" ", "")
            assert written.count(character) == text.count(character)


@settings(deadline=None)
@example("aaaaa\u72fca\U0001f1e9\U0001f1e9", 9)  # half a flag is narrow, a flag is wide
@example("aaaaaaa \u2764\ufe0fb", 9)  # and so is a heart by what follows it
@given(
    st.text(alphabet="ab \u72fc\u0301\u200d\ufe0f\u2764\U0001f468\U0001f3fd\U0001f1e9", max_size=50).map(
        str.strip
    ),
    st.integers(9, 25),
)
def test_characters_come_whole_however_they_are_cut(text: str, columns: int) -> None:
    written = []
    for pieces in ([text], list(text)):
        on = ScreenConsole(columns)
        words = WordWriter(on.console)
        for piece in pieces:
            words.add(piece)
        words.end_line()
        written.append(on.written.getvalue())
        assert written[-1].replace("\n", "").replace(" ", "") == text.replace(" ", "")
    assert written[0] == written[1]


# -- Markdown


def test_an_answer() -> None:
    screen = shown(ANSWER, columns=50)
    assert screen.text == textwrap.dedent(
        """\
        Lists in Python

        A list keeps its order, len(x) counts, and 2 * 3 *
        4 is a product.
        See the manual (https://docs.python.org/3/) or
        snake_case_names.

        • one, which is long enough to go on in another
          line than its first
          • two
        1. first
        10. tenth

        │ quoted, and long enough as well to go on in
        │ another line than this

        ```python
        def greet(name: str) -> str:
            \"\"\"Say hello.

            # no comment
            \"\"\"
            return f"Hello, {name}"  # a comment
        ```

        ────────────────────────────────────────

        name   length
        ─────────────
        ada         3
        bo          2

        The end."""
    )


def test_emphasis_code_and_links() -> None:
    screen = shown(
        "**bold** *italic* ***both*** `code` ~~gone~~ [link](https://a.b) _it_ __bo__\n# Title", columns=80
    )
    assert screen.lines == ["bold italic both code gone link (https://a.b) it bo", "Title"]
    for text, bold, italics in [
        ("bold", True, False),
        ("italic", False, True),
        ("both", True, True),
        ("code", False, False),
        ("it bo", False, True),
        ("bo", True, False),
        ("Title", True, False),
    ]:
        assert (screen.cell(text).bold, screen.cell(text).italics) == (bold, italics), text
    assert screen.cell("code").fg == "cyan"
    assert screen.cell("gone").strikethrough
    assert screen.cell("link").underscore


@pytest.mark.parametrize(
    "text",
    [
        "2 * 3 * 4",
        "a*b*c and a_b_c",
        "snake_case_name and __init__ of a_",
        r"\(a^2 + b_1 * c_2\) and \[x\]",
        "**never closed",
        "`never closed",
        "[no link] and [1] and (x)",
        "a [link](that is none)",
        "#hashtag",
        "-5 degrees",
        "3.14 is pi",
        "<div> & <b>",
        "5 > 3",
        "~5 km",
        "C:\\new",
        "-",
        "**",
    ],
)
def test_what_is_no_markdown_stays_as_it_is(text: str) -> None:
    assert shown(text, columns=80).lines == [text.replace("__init__", "init")]


BARS = [
    "|x| = 3",
    "| grep foo | wc",
    "a\n| grep foo | wc -l\n| sort\nb",
    "|a|\n|b|\n\n|c|",
    "|> f |> g",
    "|" * 200,
]


@pytest.mark.parametrize("text", BARS)
def test_a_line_that_begins_with_a_bar_is_no_table_without_a_delimiter_row(text: str) -> None:
    assert shown(text, columns=220).lines == text.split("\n")
    assert shown("", pieces=list(text), columns=220).lines == text.split("\n")


def test_a_table_may_stand_below_a_line_with_bars() -> None:
    screen = shown("| cat\n| a | b |\n|---|---|\n| 1 | 2 |\nend")
    assert screen.lines == ["| cat", "a   b", "─────", "1   2", "end"]


def test_a_table_that_is_too_wide_loses_nothing() -> None:
    words = [f"{index}{'abcdefghij' * 3}" for index in range(4)]
    screen = shown("|a|b|c|d|\n|-|-|-|-|\n|" + "|".join(words) + "|", columns=20)
    for index in range(4):
        assert str(index) in screen.text
    assert screen.text.count("j") == 12
    assert "…" not in screen.text


def test_any_row_of_bars_is_shown_soon() -> None:
    """Columns are not without bound: what is more stays together in the last one."""
    bars = "|" * 3000
    begun = time.process_time()
    assert shown(f"{bars}\n{'|-' * 1500}|", columns=80).text.count("|") == 3000 + 1501
    screen = shown(f"|a|b|\n|-|-|\n|1|2{bars}x|", columns=200)
    assert screen.text.count("|") > 2900
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    "text",
    [
        "author__name__icontains",
        "filter(author__name__icontains=x, a__b=y)",
        "a__init__b and x___y___z",
        "é__à__ü",
    ],
)
def test_marks_inside_of_words_are_no_emphasis(text: str) -> None:
    assert shown(text, columns=80).lines == [text]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("__a__b__ c", "a__b c"),
        ("文字**重点**内容", "文字重点内容"),
        ("a \\*star\\* and \\_line\\_", "a *star* and _line_"),
        ("``a ` b`` and ` x `", "a ` b and x"),
        ("*a **b** c*", "a b c"),
        ("**a *b* c**", "a b c"),
        ("[**bold**](u)", "**bold** (u)"),
        ("[u](u)", "u"),
        ("[a](b(c)d)", "a (b(c)d)"),
        ("> > twice", "│ │ twice"),
        (">", "│"),
        ("* star", "• star"),
        ("+ plus", "• plus"),
        ("    deep", "    deep"),
    ],
)
def test_marks_are_left_out(text: str, lines: str) -> None:
    assert shown(text, columns=80).lines == [lines]


def test_what_is_never_closed_is_held_for_a_while_and_no_longer() -> None:
    on = ScreenConsole(80)
    view = MarkdownStream(on.console, WaitingLine(on.console))
    view.feed("a **" + "word " * 40)
    assert "word" not in on.written.getvalue()
    view.feed("word " * 60)
    assert "a **word word" in on.shown().text


def test_code_has_colours_also_of_what_an_earlier_line_began() -> None:
    screen = shown(ANSWER, columns=50)
    comment, string, word = screen.cell("# a comment"), screen.cell("# no comment"), screen.cell("def")
    assert (string.fg, word.fg) == ("brown", "brightblue")  # pyte's brown is yellow
    assert comment.fg not in (string.fg, word.fg)
    assert screen.cell("return").fg == word.fg


def test_code_of_an_unknown_language_and_a_fence_that_is_not_closed() -> None:
    assert shown("```nonesuch\na = 1").lines == ["```nonesuch", "a = 1"]
    assert shown("~~~\n```\n~~~\n**b**").lines == ["~~~", "```", "~~~", "b"]


def test_code_is_not_broken_so_that_it_can_be_copied() -> None:
    """A line that is longer than the window goes on where the terminal has it go on, in its colours."""
    line = "value = " + " + ".join(f"'{index}'" for index in range(20))
    screen = shown(f"```python\n{line}\n```")
    assert "".join(text.ljust(40) for text in screen.lines[1:-1]).rstrip() == line
    assert screen.cell("'0'").fg == screen.cell("'19'").fg == "brown"


def test_a_line_of_code_that_is_longer_than_the_window_is_not_written_over() -> None:
    on = ScreenConsole(20, 4)
    view = MarkdownStream(on.console, WaitingLine(on.console))
    line = "value = " + " + ".join(str(index) for index in range(40))
    for character in f"```python\n{line}\nx = 1\n```":
        view.feed(character)
    view.close()
    shown = on.shown()
    assert "".join(text.ljust(20) for text in shown.lines[1:-2]).rstrip() == line
    assert shown.cell("1").fg == "brightblue"


def test_a_line_of_code_with_tabs_and_wide_characters() -> None:
    on = ScreenConsole(30)
    view = MarkdownStream(on.console, WaitingLine(on.console))
    view.feed('```go\n\tx := "狼狼狼狼狼狼狼狼狼狼狼狼" // wide\n\treturn x\n```\n')
    view.close()
    assert "\treturn" in on.written.getvalue()
    assert on.shown().text.count("wide") == 1
    assert on.shown().text.count("return") == 1


def test_what_has_scrolled_up_stays_as_it_is() -> None:
    """A window of four lines shows at last what a large one does."""
    tall, low = ScreenConsole(50, 60), ScreenConsole(50, 4)
    for on in (tall, low):
        view = MarkdownStream(on.console, WaitingLine(on.console))
        for character in ANSWER:
            view.feed(character)
        view.close()
    assert low.shown().lines == tall.shown().lines == shown(ANSWER, columns=50).lines


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, len(ANSWER)), max_size=12), st.integers(12, 60))
def test_any_cutting_gives_the_same(cuts: list[int], columns: int) -> None:
    places = [0, *sorted(cuts), len(ANSWER)]
    pieces = [ANSWER[begin:end] for begin, end in pairwise(places)]
    cut, whole = shown("", pieces=pieces, columns=columns), shown(ANSWER, columns=columns)
    assert cut.lines == whole.lines
    styles = [[row[x] for x in range(columns)] for row in cut.rows]
    assert styles == [[row[x] for x in range(columns)] for row in whole.rows]


@settings(deadline=None)
@given(st.text(alphabet=" \n*_`~#>-|[]1.\\ab", max_size=60))
def test_whatever_is_written_nothing_but_marks_is_left_out(text: str) -> None:
    assert sorted(re.findall("[ab]", shown(text, columns=30).text)) == sorted(re.findall("[ab]", text))


LONG = 40_000


@pytest.mark.parametrize(
    "text",
    [
        "```" + "a" * LONG + "`\n",
        "```" + " " * LONG + "`\n",
        "~~~" + "~" * LONG + "`\n",
        "a [x](" + "a" * LONG,
        "a " + "[x](a" * (LONG // 5),
        "a [" * (LONG // 3),
        "a **" + "b* " * (LONG // 3),
        "a " + "`b``" * (LONG // 4),
        "|" * LONG,
        f"|a|\n|-|\n{'|' * LONG}\n",
        "- " * (LONG // 2) + "x",
        "-" + " " * LONG + "x",
        "```\n" + "`" * LONG + "x",
        "```python\n" + "x = [" + "1, " * (LONG // 3) + "]\n```",
        "a" * LONG,
        "\u72fc\u0301" * (LONG // 8),
        "e" + "\u0301" * LONG,
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_no_text_takes_time_by_its_square(text: str) -> None:
    """Here each takes some tenths of a second; where it is read anew for each of its parts, minutes."""
    begun = time.process_time()
    for pieces in ([text], [text[place : place + 20] for place in range(0, len(text), 20)]):
        on = ScreenConsole(80)
        view = MarkdownStream(on.console, WaitingLine(on.console))
        for piece in pieces:
            view.feed(piece)
        view.close()
        assert on.written.getvalue()
        assert time.process_time() - begun < 12


def test_of_a_block_of_code_little_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    coloured = Syntax.highlight

    def counted(syntax: Syntax, code: str, *rest: Any) -> Any:
        read.append(len(code))
        return coloured(syntax, code, *rest)

    monkeypatch.setattr(Syntax, "highlight", counted)
    code = [f"value_{index} = {index}" for index in range(300)]
    code[290] = "x = [" + "1, " * 5000 + "]"
    shown("```python\n" + "\n".join(code) + "\n```")
    assert len(read) == 299
    assert max(read) < 4100


# -- thoughts


def answered(text: str, *, thinking_open: bool = False) -> Screen:
    on = ScreenConsole()
    parser = ResponseParser(JsonCalls(), Reasons(), thinking_open=thinking_open, tools=())
    view = AnswerView(on.console, parser, WaitingLine(on.console))
    for character in text:
        view.write(character)
    view.close()
    return on.shown()


def test_thoughts_are_set_apart() -> None:
    screen = answered("<think>\nHm, *so*.\n\nWell.\n</think>\n\n**Yes**, indeed.")
    assert screen.lines == ["Hm, *so*.", "", "Well.", "", "Yes, indeed."]
    assert screen.cell("Hm").italics
    assert not screen.cell("Yes").italics
    assert screen.cell("Yes").bold


def test_thoughts_that_the_prompt_began() -> None:
    screen = answered("Hm.\n</think>\n\nYes.", thinking_open=True)
    assert (screen.lines, screen.cell("Hm").italics) == (["Hm.", "", "Yes."], True)


def test_thoughts_that_have_no_end_are_shown() -> None:
    assert answered("<think>\nAnd then").lines == ["And then"]


# -- a sign of life


def reading() -> str:
    return "reading, 43%"


def line_that_waits(on: ScreenConsole) -> str:
    """The last line of the screen, once it says for how long something goes on."""
    end = time.monotonic() + 20
    while " s" not in on.written.getvalue():
        assert time.monotonic() < end, "no sign of life"
        time.sleep(0.02)
    return on.shown().lines[-1]


def test_a_waiting_line_is_there_and_gone() -> None:
    on = ScreenConsole()
    with WaitingLine(on.console) as waiting:
        for _ in range(2):
            waiting.start(reading)
            assert re.fullmatch(r". reading, 43% · \d\.\d s", line_that_waits(on))
            waiting.stop()
            waiting.stop()
            assert on.shown().text == ""
        waiting.start(lambda: "")
        assert re.fullmatch(r". \d\.\d s", line_that_waits(on))
    assert on.shown().text == ""


def test_a_waiting_line_stays_in_one_row() -> None:
    on = ScreenConsole(12)
    with WaitingLine(on.console) as waiting:
        waiting.start(reading)
        for _ in range(3):
            time.sleep(0.2)
            assert len(on.shown().lines) <= 1
        assert on.written.getvalue() or on.shown().lines


def test_what_comes_at_once_needs_no_sign() -> None:
    on = ScreenConsole()
    with WaitingLine(on.console) as waiting:
        waiting.start(reading)
    assert on.written.getvalue() == ""


def test_a_table_that_is_not_whole_is_said_to_come() -> None:
    on = ScreenConsole()
    view = MarkdownStream(on.console, WaitingLine(on.console))
    view.feed("Look:\n| a | b |\n|--|--|\n| 1 | 2 |\n| 3 ")
    assert re.fullmatch(r". a table · \d\.\d s", line_that_waits(on))
    assert on.shown().lines[0] == "Look:"
    view.feed("| 4 |\nThere.")
    view.close()
    assert on.shown().lines == ["Look:", "a   b", "─────", "1   2", "3   4", "There."]
