"""An answer on a terminal: what the model thinks dimmed, what it says as Markdown."""

from rich.console import Console
from rich.style import Style

from ruvllm.cli.rendering.markdown_stream import MarkdownStream
from ruvllm.cli.rendering.waiting_line import WaitingLine
from ruvllm.cli.rendering.word_writer import WordWriter
from ruvllm.text.response import Content, Part, Reasoning, ResponseParser

__all__ = ["AnswerView"]

THOUGHT = Style(dim=True, italic=True)


class AnswerView:
    """Takes an answer piece by piece. `close` ends its last line.

    `parser` tells thoughts from the rest; without one there are none.
    """

    def __init__(self, console: Console, parser: ResponseParser | None, waiting: WaitingLine) -> None:
        self._console = console
        self._parser = parser
        self._said = MarkdownStream(console, waiting)
        self._thoughts: WordWriter | None = None

    def write(self, text: str) -> None:
        """Take a piece."""
        if self._parser is None:
            self._said.feed(text)
        else:
            self._show(self._parser.feed(text))

    def close(self) -> None:
        """Write what is left."""
        if self._parser is not None:
            self._show(self._parser.end())
        self._end_thoughts()
        self._said.close()

    def _show(self, parts: list[Part]) -> None:
        for part in parts:
            if isinstance(part, Reasoning):
                self._think(part.text)
            elif isinstance(part, Content):
                if self._end_thoughts():
                    self._console.print()
                self._said.feed(part.text)

    def _think(self, text: str) -> None:
        if self._thoughts is None:
            self._said.close()
            self._thoughts = WordWriter(self._console)
        first, *rest = text.split("\n")
        self._thoughts.add(first, THOUGHT)
        for line in rest:
            self._thoughts.end_line()
            self._thoughts.add(line, THOUGHT)

    def _end_thoughts(self) -> bool:
        thoughts, self._thoughts = self._thoughts, None
        if thoughts is None:
            return False
        if not thoughts.is_at_beginning:
            thoughts.end_line()
        return True
