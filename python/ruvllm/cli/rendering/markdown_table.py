"""A table of Markdown, whose columns are known when all of its rows are."""

import re

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ruvllm.cli.rendering.inline_markdown import InlineMarkdown

__all__ = ["MarkdownTable", "is_delimiter_row"]

_BORDER = re.compile(r"(?<!\\)\|")
# What is more stays together in the last one: wider tables are none, and cost what they do not show.
MAX_COLUMNS = 64
_DELIMITER = re.compile(r":?-+:?")


class MarkdownTable:
    """A header, the delimiter row below it, and rows as they come."""

    def __init__(self, header: str, delimiters: str) -> None:
        self._header = _cells(header)
        self._delimiters = _cells(delimiters)
        self._rows: list[list[str]] = []

    def add(self, line: str) -> None:
        """Take a line that begins with a bar."""
        self._rows.append(_cells(line))

    def show(self, console: Console) -> None:
        """Write the table, as wide as the console at most."""
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for index in range(max(map(len, (self._header, self._delimiters, *self._rows)))):
            mark = self._delimiters[index] if index < len(self._delimiters) else ""
            title = _text(self._header[index]) if index < len(self._header) else ""
            is_right = mark.endswith(":") and mark[0] != ":"
            table.add_column(title, justify="right" if is_right else "left", overflow="fold")
        for row in self._rows:
            table.add_row(*map(_text, row))
        console.print(table, soft_wrap=False)


def is_delimiter_row(line: str) -> bool:
    """Whether this line, which begins with a bar, makes a table of the one above it."""
    return all(map(_DELIMITER.fullmatch, _cells(line)))


def _cells(line: str) -> list[str]:
    inner = line.strip()[1:].rstrip()
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return [cell.strip() for cell in _BORDER.split(inner, MAX_COLUMNS - 1)]


def _text(cell: str) -> Text:
    made = Text()

    def append(text: str, style: Style) -> None:
        made.append(text, style)

    inline = InlineMarkdown(append)
    inline.begin_line()
    inline.feed(cell.replace("\\|", "|"))
    inline.end_line()
    return made
