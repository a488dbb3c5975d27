"""Words into lines: a line breaks between words, and what goes on in the next one is indented.

A word is written once it is whole, and never again: what has scrolled up stays as it is.
"""

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from ruvllm.cli.rendering.characters import characters_of, goes_on

__all__ = ["PLAIN", "WordWriter"]

PLAIN = Style()
# A line that a window of a few columns breaks has room for something behind its indent.
_LEAST_ROOM = 8
_PIECES = re.compile(r"[ \t]+|[^ \t]+")


class WordWriter:
    """Writes styled text on a console as it comes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._column = 0
        self._hanging: Sequence[Segment] = ()
        self._blanks: list[Segment] = []
        self._word: list[Segment] = []
        self._word_cells = 0
        self._is_wide = False
        # The last character, which is no part of the word before it is known that nothing more belongs to it:
        # half a flag is narrow, and a heart that a selector follows is not.
        self._open = ""
        self._open_style = PLAIN

    @property
    def is_at_beginning(self) -> bool:
        """Whether nothing stands in this line yet."""
        return not (self._column or self._word or self._open or self._blanks)

    def begin_line(self, first: Sequence[Segment], hanging: Sequence[Segment]) -> None:
        """Write what stands before the words of a line, and say what stands before them where it goes on."""
        self._hanging = hanging if _cells(hanging) + _LEAST_ROOM < self._console.width else ()
        self._put(first)

    def add(self, text: str, style: Style = PLAIN) -> None:
        """Take a part of a line; it has no line break."""
        for piece in _PIECES.findall(text):
            if piece.isspace():
                self._flush()
                self._blanks.append(Segment(piece.replace("\t", "    "), style))
            else:
                self._add_piece(piece, style)

    def end_line(self) -> None:
        """Write what is left of the line, and end it."""
        self._flush()
        self._blanks.clear()
        self._console.print()
        self._column = 0
        self._hanging = ()

    def _add_piece(self, piece: str, style: Style) -> None:
        """Take a part of a word, which may begin in the middle of a character."""
        length = 0
        while length < len(piece) and goes_on(self._open, piece[length]):
            self._open += piece[length]
            length += 1
        rest = piece[length:]
        if not rest:
            return
        self._close_character()
        self._open = rest[-1] if rest.isascii() else list(characters_of(rest))[-1]
        self._open_style = style
        for part, is_wide in _by_width(rest.removesuffix(self._open)):
            self._add_to_word(part, style, is_wide=is_wide)

    def _close_character(self) -> None:
        character, self._open = self._open, ""
        for part, is_wide in _by_width(character):
            self._add_to_word(part, self._open_style, is_wide=is_wide)

    def _add_to_word(self, part: str, style: Style, *, is_wide: bool) -> None:
        """Characters of two columns, as Chinese has them, are words by themselves."""
        if is_wide or self._is_wide:
            self._write_word()
        self._word.append(Segment(part, style))
        self._word_cells += cell_len(part)
        self._is_wide = is_wide
        if not is_wide and self._word_cells >= self._console.width - _cells(self._hanging):
            self._write_word()

    def _flush(self) -> None:
        self._close_character()
        self._write_word()

    def _write_word(self) -> None:
        """Write the word that is held, in the next line where it does not fit into this one."""
        if not self._word:
            return
        needed = self._column + _cells(self._blanks) + self._word_cells
        if needed > self._console.width and self._column > _cells(self._hanging):
            self._go_on_in_next_line()
        else:
            self._put(self._blanks)
        if self._column + self._word_cells > self._console.width:
            self._put_in_parts(self._word)
        else:
            self._put(self._word)
        self._blanks, self._word, self._word_cells, self._is_wide = [], [], 0, False

    def _go_on_in_next_line(self) -> None:
        self._console.print()
        self._column = 0
        self._put(self._hanging)

    def _put_in_parts(self, word: Sequence[Segment]) -> None:
        """A word that no line has room for: an address, a line of digits."""
        for segment in word:
            line, cells = "", 0
            for character in characters_of(segment.text):
                needed = cell_len(character)
                if self._column + cells + needed > self._console.width:
                    self._put([Segment(line, segment.style)])
                    self._go_on_in_next_line()
                    line, cells = "", 0
                line += character
                cells += needed
            self._put([Segment(line, segment.style)])

    def _put(self, segments: Sequence[Segment]) -> None:
        if segments:
            self._console.print(Segments(segments), end="")
            self._column += _cells(segments)


def _cells(segments: Sequence[Segment]) -> int:
    return sum(segment.cell_length for segment in segments)


def _by_width(piece: str) -> Iterator[tuple[str, bool]]:
    """Parts of a word: each character of two columns, and what stands between them."""
    if piece.isascii():
        if piece:
            yield piece, False
        return
    narrow = ""
    for character in characters_of(piece):
        if cell_len(character) > 1:
            if narrow:
                yield narrow, False
            yield character, True
            narrow = ""
        else:
            narrow += character
    if narrow:
        yield narrow, False
