"""A table of Markdown, whose columns are known when all of its rows are."""

import re

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ruvllm.cli.rendering.inline_markdown import InlineMarkdown

__all__ = ["MarkdownTable"]

_BORDER = re.compile(r"(?<!\\)\|")
_DELIMITER = re.compile(r":?-+:?")


class MarkdownTable:
    """Rows as they come."""

    def __init__(self) -> None:
        self._rows: list[list[str]] = []

    def add(self, line: str) -> None:
        """Take a line that begins with a bar."""
        inner = re.sub(r"(?<!\\)\|\s*$", "", line.strip()[1:])
        self._rows.append([cell.strip() for cell in _BORDER.split(inner)])

    def show(self, console: Console) -> None:
        """Write the table, as wide as the console at most."""
        header, rows = self._rows[0], self._rows[1:]
        delimiters = rows[0] if rows and all(map(_DELIMITER.fullmatch, rows[0])) else None
        table = Table(box=SIMPLE_HEAD if delimiters else None, pad_edge=False, show_edge=False)
        table.show_header = delimiters is not None
        for index in range(max(map(len, self._rows))):
            mark = delimiters[index] if delimiters and index < len(delimiters) else ""
            title = _text(header[index]) if delimiters and index < len(header) else ""
            table.add_column(title, justify="right" if mark.endswith(":") and mark[0] != ":" else "left")
        for row in rows[1:] if delimiters else self._rows:
            table.add_row(*map(_text, row))
        console.print(table, soft_wrap=False)


def _text(cell: str) -> Text:
    made = Text()

    def append(text: str, style: Style) -> None:
        made.append(text, style)

    inline = InlineMarkdown(append)
    inline.begin_line()
    inline.feed(cell.replace("\\|", "|"))
    inline.end_line()
    return made
