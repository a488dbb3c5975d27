"""An answer on its way to whoever reads it: a person at a terminal, or a program behind a pipe.

A person sees that something goes on until the first word, does not see what is typed meanwhile, and where
the terminal has colours reads Markdown. Into a pipe, and against NO_COLOR, the text goes as it is.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ruvllm.cli import terminal
from ruvllm.cli.streaming import Answer, Chunks, stream_answer

if TYPE_CHECKING:
    from ruvllm.cli.rendering import WaitingLine
    from ruvllm.text.response import ResponseParser

__all__ = ["ParserOf", "show_answer", "show_text"]

ParserOf = Callable[[Chunks], "ResponseParser | None"]
"""What tells the thoughts of an answer from the rest; `None` where there are none."""


class _View(Protocol):
    """Where a text appears."""

    def write(self, text: str) -> None:
        """Take a piece."""

    def close(self) -> None:
        """End the last line."""


class _PlainView:
    """The text as it is."""

    def write(self, text: str) -> None:
        terminal.print_text(text)

    def close(self) -> None:
        terminal.print_text("\n")


def show_answer(ask: Callable[[], Chunks], parser_of: ParserOf, *, for_editor: bool = False) -> Answer:
    """Ask, and show the answer while it is made, as Markdown where that can be shown.

    `for_editor` says that a line editor reads the keyboard afterwards.
    """

    def view_of(chunks: Chunks, waiting: "WaitingLine") -> _View:
        if not terminal.has_colours():
            return _PlainView()
        from ruvllm.cli.rendering import AnswerView

        return AnswerView(terminal.out(), parser_of(chunks), waiting)

    return _shown(ask, view_of, for_editor=for_editor)


def show_text(ask: Callable[[], Chunks]) -> Answer:
    """Ask, and show what is made as it is."""
    return _shown(ask, lambda chunks, waiting: _PlainView(), for_editor=False)


def _shown(
    ask: Callable[[], Chunks],
    view_of: Callable[[Chunks, "WaitingLine"], _View],
    *,
    for_editor: bool,
) -> Answer:
    if not sys.stdout.isatty():
        plain = _PlainView()
        answer = stream_answer(ask(), write=plain.write)
        plain.close()
        return answer
    from ruvllm.cli.rendering import WaitingLine, unseen_typing

    chunks: Chunks | None = None

    def waited_for() -> str:
        if getattr(chunks, "is_thinking", False):
            return "thinking"
        share = getattr(chunks, "prompt_share", None)
        return f"reading the prompt, {share:.0%}" if share is not None and share < 1 else ""

    with unseen_typing(for_editor=for_editor), WaitingLine(terminal.out()) as waiting:
        waiting.start(waited_for)
        chunks = ask()
        view = view_of(chunks, waiting)
        has_begun = False

        def write(text: str) -> None:
            nonlocal has_begun
            if not has_begun:
                waiting.stop()
            has_begun = True
            view.write(terminal.visible(text))

        try:
            return stream_answer(chunks, write=write)
        finally:
            waiting.stop()
            view.close()
