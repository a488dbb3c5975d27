"""Emphasis, code and links in a line of Markdown that comes in pieces.

What opens is held until its end is seen, or the line's: a star that nothing closes is a star. It is a little
stricter than CommonMark, for the sake of formulas: marks of emphasis stand at the edges of words.
"""

import re
from collections.abc import Callable

from rich.style import Style

from ruvllm.cli.rendering.word_writer import PLAIN

__all__ = ["InlineMarkdown"]

CODE = Style(color="cyan")
LINK = Style(underline=True)
ADDRESS = Style(dim=True)
_EMPHASIS = {
    "*": Style(italic=True),
    "_": Style(italic=True),
    "**": Style(bold=True),
    "__": Style(bold=True),
    "***": Style(bold=True, italic=True),
    "___": Style(bold=True, italic=True),
    "~~": Style(strike=True),
}
# So much is held at most for the sake of an end: whoever reads wants to see something.
MAX_HELD = 400
# And so much is looked at in one go: each mark in it looks for its end in all of it.
MAX_READ = 200

_SPECIAL = re.compile(r"[\\`*_~\[]")
_RUN = re.compile(r"`+|\*+|_+|~+")
# Each character fits in one place of these alone, so that a text that nearly fits is read once.
_LINK = re.compile(r"\[([^\[\]\n]*)\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)?)(?: \"[^\"]*\")?\)")
_COULD_BE_LINK = re.compile(r"\[[^\[\]\n]*(?:\](?:\([^()\n]*(?:\([^()\n]*(?:\)[^()\n]*)?)?)?)?")
# Of other characters a backslash says nothing here: `\(` and `\[` begin formulas.
_ESCAPED = frozenset("*_`~#>|")


class InlineMarkdown:
    """Gives the parts of a line with their styles as soon as these are known."""

    def __init__(self, emit: Callable[[str, Style], None]) -> None:
        self._emit_to = emit
        self._held = ""
        self._before = ""  # the character before what is held
        self._base = PLAIN
        self._open: list[str] = []

    def begin_line(self, base: Style = PLAIN) -> None:
        """Begin anew, in a style that the whole line has."""
        self._held = self._before = ""
        self._base = base
        self._open.clear()

    def feed(self, text: str) -> None:
        """Take a part of the line."""
        for begin in range(0, len(text), MAX_READ):
            self._held += text[begin : begin + MAX_READ]
            while self._held and self._step(is_whole=False):
                pass

    def end_line(self) -> None:
        """Take the line's end, and give what was held."""
        while self._held:
            self._step(is_whole=True)

    # -- one step: something of what is held is given, or more must come first

    def _step(self, *, is_whole: bool) -> bool:
        is_whole = is_whole or len(self._held) > MAX_HELD
        found = _SPECIAL.search(self._held)
        if found is None:
            return self._give(len(self._held))
        if found.start():
            return self._give(found.start())
        if found[0] == "\\":
            return self._escape(is_whole=is_whole)
        if found[0] == "[":
            return self._link(is_whole=is_whole)
        return self._marks(is_whole=is_whole)

    def _give(self, length: int, style: Style = PLAIN, *, shown: str | None = None) -> bool:
        text, self._held = self._held[:length], self._held[length:]
        self._before = text[-1:]
        self._emit(text if shown is None else shown, style)
        return True

    def _emit(self, text: str, style: Style) -> None:
        whole = self._base
        for mark in self._open:
            whole += _EMPHASIS[mark]
        self._emit_to(text, whole + style)

    def _escape(self, *, is_whole: bool) -> bool:
        if len(self._held) == 1 and not is_whole:
            return False
        if self._held[1:2] in _ESCAPED:
            return self._give(2, shown=self._held[1])
        return self._give(1)

    def _link(self, *, is_whole: bool) -> bool:
        if found := _LINK.match(self._held):
            text, address = found[1], found[2]
            # More could follow of an address in brackets; a link is over with its own.
            self._give(found.end(), LINK, shown=text or address)
            if text and text != address:
                self._emit(f" ({address})", ADDRESS)
            return True
        if not is_whole and _COULD_BE_LINK.fullmatch(self._held):
            return False
        return self._give(1)

    def _marks(self, *, is_whole: bool) -> bool:
        run = _RUN.match(self._held)
        assert run is not None, "a mark stands here"  # noqa: S101
        mark, behind = run[0], self._held[run.end() : run.end() + 1]
        if not behind and not is_whole:
            return False
        if mark[0] == "`":
            return self._code(mark, is_whole=is_whole)
        if self._open and self._closes(mark, behind):
            closing = self._open.pop()
            return self._give(len(closing), shown="")
        if not self._opens(mark, behind):
            return self._give(len(mark))
        if re.search(_closing(mark), self._held[run.end() :]):
            self._give(len(mark), shown="")
            self._open.append(mark)
            return True
        return self._give(len(mark)) if is_whole else False

    def _opens(self, mark: str, behind: str) -> bool:
        if mark not in _EMPHASIS or not behind.strip():
            return False
        return not (_at_edges(mark) and _is_of_word(self._before))

    def _closes(self, mark: str, behind: str) -> bool:
        opened = self._open[-1]
        # Of `***` the inner one may close first.
        is_that = mark == opened or (len(mark) > len(opened) and mark.startswith(opened))
        return is_that and not self._before.isspace() and not (_at_edges(opened) and _is_of_word(behind))

    def _code(self, mark: str, *, is_whole: bool) -> bool:
        found = re.search(rf"(?<!`){mark}(?!`)", self._held[len(mark) :])
        # A run at the end of what is held may go on.
        if found and (is_whole or len(mark) + found.end() < len(self._held)):
            code = self._held[len(mark) : len(mark) + found.start()]
            if code.startswith(" ") and code.endswith(" ") and code.strip():
                code = code[1:-1]
            return self._give(len(mark) + found.end(), CODE, shown=code)
        return self._give(len(mark)) if is_whole else False


def _at_edges(mark: str) -> bool:
    """Whether this mark stands at the edges of words alone: `author__name` and `a*b*c` are none."""
    return len(mark) == 1 or mark[0] == "_"


def _is_of_word(character: str) -> bool:
    """Whether it is a letter or digit of a script that has blanks between words."""
    return character.isalnum() and character < "\u2e80"


def _closing(mark: str) -> str:
    """Where emphasis can end: behind something, and with most marks at the end of a word."""
    ending = r"(?![A-Za-z0-9])" if _at_edges(mark) else ""
    return rf"(?<=[^\s{re.escape(mark[0])}]){re.escape(mark)}{ending}"
