"""Markdown that comes in pieces, as a terminal shows it: a line is begun as soon as its kind is known.

A light reading of it, by lines, as models write it: headings, lists, quotes, fences of code, tables, rules.
A line break is one; a table is shown when it is whole. What is none of these is text, and nothing of it is
left out: a line that begins with a bar may be mathematics or a shell's, and is a table's only where a
delimiter row stands below it.
"""

import re

from rich.console import Console
from rich.segment import Segment
from rich.style import Style

from ruvllm.cli.rendering.code_block import CodeBlock
from ruvllm.cli.rendering.inline_markdown import InlineMarkdown
from ruvllm.cli.rendering.markdown_table import MarkdownTable, is_delimiter_row
from ruvllm.cli.rendering.waiting_line import WaitingLine
from ruvllm.cli.rendering.word_writer import PLAIN, WordWriter

__all__ = ["MarkdownStream"]

HEADING = Style(bold=True, color="bright_blue")
QUOTE = Style(italic=True)
MARK = Style(dim=True)

_FENCE = re.compile(r"\s*(?P<marks>`{3,}(?!`)|~{3,}(?!~))(?P<words>[^`]*)")
_LANGUAGE = re.compile(r"[^\s{]*")
_HEADING = re.compile(r" {0,3}#{1,6} +(?P<rest>.*)")
_RULE = re.compile(r" {0,3}([-*_])(?: *\1){2,} *")
_ITEM = re.compile(r"(?P<indent> *)(?P<mark>[-*+]|\d{1,9}[.)]) +(?P<rest>\S.*)")
_QUOTE = re.compile(r" {0,3}(?P<marks>>(?: ?>)*) ?(?P<rest>(?:[^> ].*)?)")
# The beginning of a line that could become one of several kinds.
_UNDECIDED = re.compile(
    r"\s*(?:[-*_](?: *[-*_])* *|\+ *|\d{1,9}[.)]? *|#{1,6} *|>[> ]*|`{1,2}|~{1,2}|(?:`{3}|~{3}|\|).*)?"
)
# A line whose kind is not known for so long is text.
MAX_UNDECIDED = 4_000
_RULE_CELLS = 40


class MarkdownStream:
    """Writes an answer on a console as it comes. `close` ends its last line.

    While a table is not whole, `waiting` says that one comes.
    """

    def __init__(self, console: Console, waiting: WaitingLine) -> None:
        self._console = console
        self._waiting = waiting
        self._words = WordWriter(console)
        self._inline = InlineMarkdown(self._words.add)
        self._begun = ""  # of a line whose kind is not known yet
        self._is_known = False
        self._code: CodeBlock | None = None
        self._fence = ""
        self._table: MarkdownTable | None = None
        self._header: str | None = None  # what is a table's first line if a delimiter row follows
        # Blank lines are written when something follows them.
        self._is_blank_due = False
        self._has_written = False

    def feed(self, text: str) -> None:
        """Take a piece of the answer."""
        *lines, last = text.split("\n")
        for line in lines:
            self._take(line)
            self._end_line()
        self._take(last)

    def close(self) -> None:
        """Write what is left."""
        if self._begun or self._is_known:
            self._end_line()
        self._end_table()

    # -- a line

    def _take(self, text: str) -> None:
        if self._is_known and self._code:
            self._code.add(text)
        elif self._is_known:
            self._inline.feed(text)
        elif text:
            self._begun += text
            if self._code:
                self._decide_code()
            elif len(self._begun) > MAX_UNDECIDED or not _UNDECIDED.fullmatch(self._begun):
                self._decide()

    def _end_line(self) -> None:
        if self._code:
            self._end_code_line(self._code)
            return
        if not self._is_known:
            line, self._begun = self._begun, ""
            if self._whole_line(line):
                return
            self._text_line(line)
            return
        self._inline.end_line()
        self._words.end_line()
        self._is_known = False

    def _whole_line(self, line: str) -> bool:
        """Do what is done for lines that are known as a whole; false where it is none."""
        if line.lstrip().startswith("|"):
            self._row(line)
            return True
        self._end_table()
        if not line.strip():
            self._is_blank_due = self._has_written
        elif fence := _FENCE.fullmatch(line):
            self._begin_code(line, fence)
        elif _RULE.fullmatch(line):
            self._begin()
            self._words.add("─" * min(_RULE_CELLS, self._console.width), MARK)
            self._words.end_line()
        else:
            return False
        return True

    def _decide(self) -> None:
        """The kind of a line, by its beginning, is known: begin it."""
        line, self._begun, self._is_known = self._begun, "", True
        self._begin()
        if heading := _HEADING.fullmatch(line):
            self._begin_text(heading["rest"], HEADING)
        elif item := _ITEM.fullmatch(line):
            mark = item["mark"] if item["mark"][0].isdigit() else "•"
            first = [Segment(item["indent"]), Segment(f"{mark} ", MARK)]
            blanks = [Segment(" " * (len(item["indent"]) + len(mark) + 1))]
            self._words.begin_line(first, blanks)
            self._begin_text(item["rest"])
        elif quote := _QUOTE.fullmatch(line):
            bars = [Segment("│ " * quote["marks"].count(">"), MARK)]
            self._words.begin_line(bars, bars)
            self._begin_text(quote["rest"], QUOTE)
        else:
            text = line.lstrip(" ")
            indent = [Segment(" " * (len(line) - len(text)))] if len(text) < len(line) else []
            self._words.begin_line(indent, indent)
            self._begin_text(text)

    def _row(self, line: str) -> None:
        """A line that is a table's, or becomes one with the next."""
        if self._table:
            self._table.add(line)
        elif self._header is not None and is_delimiter_row(line):
            header, self._header = self._header, None
            self._table = MarkdownTable(header, line)
        else:
            self._end_table()
            self._header = line
            self._waiting.start(lambda: "a table")

    def _text_line(self, line: str) -> None:
        self._begun = line
        self._decide()
        self._inline.end_line()
        self._words.end_line()
        self._is_known = False

    def _begin_text(self, text: str, base: Style = PLAIN) -> None:
        self._inline.begin_line(base)
        self._inline.feed(text)

    def _begin(self) -> None:
        """Something is written: what was held before it comes first."""
        self._end_table()
        if self._is_blank_due:
            self._words.end_line()
        self._is_blank_due, self._has_written = False, True

    def _end_table(self) -> None:
        """What was held as a table's is shown: as one, or as the text that it is."""
        table, self._table = self._table, None
        header, self._header = self._header, None
        if table is not None:
            self._waiting.stop()
            self._begin()
            table.show(self._console)
        elif header is not None:
            self._waiting.stop()
            begun, is_known = self._begun, self._is_known
            self._text_line(header)
            self._begun, self._is_known = begun, is_known

    # -- code

    def _begin_code(self, line: str, fence: re.Match[str]) -> None:
        self._begin()
        self._fence = fence["marks"]
        language = _LANGUAGE.match(fence["words"].strip())
        self._code = CodeBlock(self._console, language[0] if language else "")
        self._words.add(line, MARK)
        self._words.end_line()

    def _decide_code(self) -> None:
        """A line of code is written as soon as it cannot be the fence's end."""
        if self._code and not self._could_end_code():
            self._code.add(self._begun)
            self._begun, self._is_known = "", True

    def _could_end_code(self) -> bool:
        begun = self._begun.strip()
        return len(self._begun) <= MAX_UNDECIDED and not begun.strip(self._fence[0])

    def _end_code_line(self, code: CodeBlock) -> None:
        line, self._begun = self._begun, ""
        is_known, self._is_known = self._is_known, False
        if not is_known and len(line.strip()) >= len(self._fence):
            self._code = None
            self._words.add(line, MARK)
            self._words.end_line()
            return
        code.add(line)
        code.end_line()
