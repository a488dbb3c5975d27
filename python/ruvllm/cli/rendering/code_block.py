"""Lines of code in colour. A line is written as it comes, and in its colours over that when it is whole.

Only the line that is being written is ever written over, and only where it is certain to be all there: one
that is longer than the screen, or whose place cannot be told, stays as it is. Lines are not broken here, so
that they can be copied.
"""

import os
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.control import Control
from rich.segment import ControlType, Segment, Segments

if TYPE_CHECKING:
    from rich.syntax import Syntax
    from rich.text import Text

__all__ = ["CodeBlock"]

# So much code is read anew for each of its lines, so that what began in an earlier one is known; of a longer
# block what came before is forgotten. It takes some two milliseconds.
MAX_READ_ANEW = 4_000
# What is longer is data, and stays as it is.
MAX_COLOURED_LINE = 1_000
TAB = 8


class CodeBlock:
    """The code of one fence."""

    def __init__(self, console: Console, language: str) -> None:
        self._console = console
        self._syntax = _syntax_of(language) if language else None
        self._before = ""  # whole lines
        self._line = ""
        self._width = console.width

    def add(self, text: str) -> None:
        """Write a part of a line."""
        if not self._line:
            self._width = self._console.width
        if len(self._line) <= MAX_COLOURED_LINE:  # what is more is not asked for again
            self._line += text
        if text:
            self._console.print(Segments([Segment(text)]), end="")

    def end_line(self) -> None:
        """The line is whole: colour it, and end it."""
        line, self._line = self._line, ""
        is_short = len(line) <= MAX_COLOURED_LINE
        if is_short and self._syntax and line.strip() and (rows := self._rows_above(line)) is not None:
            segments = list(self._coloured(self._syntax, line).render(self._console))
            back = Control(ControlType.CARRIAGE_RETURN, *[(ControlType.CURSOR_UP, rows)] * bool(rows))
            self._console.print(Segments([back.segment, *segments]), end="")
        self._console.print()
        if is_short:
            self._before += f"{line}\n"
        if len(self._before) > MAX_READ_ANEW:
            self._before = ""

    def _rows_above(self, line: str) -> int | None:
        """How many rows up the line began; `None` where that is not certain."""
        width, height = self._console.size
        cells = cell_len(line.expandtabs(TAB))
        if cells <= width == self._width:
            return 0
        is_simple = line.isascii() and "\t" not in line
        rows = max(0, cells - 1) // width
        return rows if is_simple and width == self._width and rows < height - 1 else None

    def _coloured(self, syntax: "Syntax", line: str) -> "Text":
        number = self._before.count("\n")
        text = syntax.highlight(self._before + line, (number + 1, number + 1))
        coloured = text.split("\n", allow_blank=True)[number]
        coloured.end = ""
        return coloured


def _syntax_of(language: str) -> "Syntax | None":
    """What colours code of this language; `None` for one that is not known."""
    from rich.syntax import Syntax

    lexer = Syntax("", language).lexer
    if lexer is None:
        return None
    # What is written over must be what stood there, tabs too.
    lexer.tabsize = 0
    return Syntax("", lexer, theme=_theme(), background_color="default")


def _theme() -> str:
    """Colours of the terminal's own sixteen; few terminals say that theirs is light."""
    background = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return "ansi_light" if background in ("7", "15") else "ansi_dark"
