"""What a terminal shows of what was written to it: pyte's reading of the control codes, not ours."""

import io
from typing import Any

import pytest
from rich.console import Console


class Screen:
    """A terminal of so many columns that shows all that was ever written."""

    def __init__(self, columns: int = 40, lines: int = 24) -> None:
        pyte = pytest.importorskip("pyte", reason="it comes with the extra of the tests")
        self.columns = columns
        self._terminal: Any = pyte.HistoryScreen(columns, lines, history=10_000, ratio=0.5)
        self._stream: Any = pyte.Stream(self._terminal)

    def feed(self, written: str) -> None:
        """Take what a program wrote."""
        self._stream.feed(written)

    @property
    def rows(self) -> list[dict[int, Any]]:
        """All rows, those that have scrolled up first."""
        return [*self._terminal.history.top, *(self._terminal.buffer[y] for y in range(self._terminal.lines))]

    @property
    def lines(self) -> list[str]:
        """The rows as texts, without what is blank at the ends."""
        lines = ["".join(row[x].data for x in range(self.columns)).rstrip() for row in self.rows]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def cell(self, text: str) -> Any:
        """The first cell of a text where it stands lowest: `bold`, `italics`, `fg` and others."""
        for row, line in reversed([*zip(self.rows, self.lines, strict=False)]):
            if text in line:
                return row[line.index(text)]
        raise AssertionError(f"{text!r} is not shown in {self.text!r}")


class ScreenConsole:
    """A console of rich's, as the command line has them, on such a screen."""

    def __init__(self, columns: int = 40, lines: int = 24) -> None:
        self.screen = Screen(columns, lines)
        self.written = io.StringIO()
        self.console = Console(
            file=self.written,
            force_terminal=True,
            color_system="standard",
            width=columns,
            height=lines,
            highlight=False,
            soft_wrap=True,
            legacy_windows=False,
            no_color=False,
            _environ={"TERM": "xterm"},
        )

    def shown(self) -> Screen:
        """The screen with all that was written so far."""
        # A terminal's driver makes two of a line break.
        self.screen.feed(self.written.getvalue().replace("\n", "\r\n"))
        self.written.seek(0)
        self.written.truncate()
        return self.screen
