"""A text that comes in pieces, read as if it stood there whole.

Whoever reads is a generator: where it cannot decide yet it yields, and goes on when there is more. It decides
by what the text says and never by where a piece ends, so any cutting gives the same.
"""

import re
from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias, TypeVar

__all__ = ["Reader", "Steps"]

Result = TypeVar("Result")
Steps: TypeAlias = Generator[None, None, Result]

_WHITE = re.compile(r"\s*")
_IN_STRING = re.compile(r'[^"\\]*')
_OUTSIDE_STRINGS = re.compile(r'[^"{}\[\]]*')
_CLOSING = {"{": "}", "[": "]"}


class Reader:
    """The text so far, and the place up to which it is read."""

    def __init__(self) -> None:
        self._text = ""
        self._place = 0
        # Where what is kept of the text begins, after those pieces of it that were read before.
        self._pinned: int | None = None
        self._behind: list[str] = []
        self._ended = self._cut = self._wanted_more = False

    def feed(self, piece: str) -> None:
        """Add a piece; what is read goes, but for what was read since a pinned place."""
        if self._pinned is not None:
            self._behind.append(self._text[self._pinned : self._place])
            self._pinned = 0
        self._text = self._text[self._place :] + piece
        self._place = 0

    def end(self, *, cut: bool) -> None:
        """There is no more; `cut` says that the writer was stopped: half a mark is then none of the text."""
        self._ended = True
        self._cut = cut

    def pin(self) -> None:
        """Remember this place, for `since_pin` and `cut_since_pin`."""
        self._pinned = self._place
        self._behind.clear()
        self._wanted_more = False

    def since_pin(self) -> str:
        """What was read since then; forgets the place."""
        pinned, self._pinned = self._pinned, None
        return "".join([*self._behind, self._text[pinned : self._place]])

    def cut_since_pin(self) -> bool:
        """Whether the text was cut off while more was wanted since then; what is left of it goes."""
        if self._cut and self._wanted_more:
            self._place = len(self._text)
        return self._cut and self._wanted_more

    def more(self) -> Steps[bool]:
        """Wait for more text; whether there is some."""
        length = len(self._text) - self._place
        while len(self._text) - self._place == length:
            if self._ended:
                self._wanted_more = True
                return False
            yield
        return True

    # -- reading

    def next(self) -> Steps[str]:
        """The next character, unread; empty at the end."""
        if self._place == len(self._text) and not (yield from self.more()):
            return ""
        return self._text[self._place]

    def white_space(self) -> Steps[None]:
        """Read all white space."""
        while True:
            found = _WHITE.match(self._text, self._place)
            self._place = found.end() if found else self._place
            if self._place < len(self._text) or not (yield from self.more()):
                return

    def one_of(self, texts: Sequence[str]) -> Steps[str | None]:
        """Read one of some texts if it stands here."""
        longest = max(map(len, texts), default=0)
        while True:
            for text in texts:
                if self._text.startswith(text, self._place):
                    self._place += len(text)
                    return text
            rest = self._text[self._place : self._place + longest]
            if not any(text.startswith(rest) for text in texts) or not (yield from self.more()):
                return None

    def through(
        self, marks: Sequence[str], emit: Callable[[str], None], *, at_most: int | None = None
    ) -> Steps[str | None]:
        """Read through the first of some marks and emit what stands before it; `None` at the end of the text.

        Of marks none begins with another. Where there is none among so many characters, it is `None` as well,
        and nothing is read or emitted.
        """
        pattern = re.compile("|".join(map(re.escape, marks)) or r"(?!)")
        while True:
            limit = len(self._text) if at_most is None else self._place + at_most
            if found := pattern.search(self._text, self._place, limit):
                emit(self._text[self._place : found.start()])
                self._place = found.end()
                return found[0]
            if len(self._text) >= limit and at_most is not None:
                return None
            if at_most is None:
                begin = self._begin_of_mark(marks)
                emit(self._text[self._place : begin])
                self._place = begin
            if not (yield from self.more()):
                if at_most is None:
                    rest = self._text[self._place :]
                    # A single character may well be the writer's own.
                    emit("" if self._cut and len(rest) > 1 else rest)
                    self._place = len(self._text)
                return None

    def _begin_of_mark(self, marks: Sequence[str]) -> int:
        """Where the longest end of the text begins that could become a mark."""
        text, begin = self._text, len(self._text)
        for mark in marks:
            place = text.find(mark[0], max(self._place, len(text) - len(mark) + 1))
            while 0 <= place < begin:
                if mark.startswith(text[place:]):
                    begin = place
                place = text.find(mark[0], place + 1)
        return begin

    def json_value(self, emit: Callable[[str], None]) -> Steps[bool]:
        """Read an object, a list or a string, and emit it piece by piece; whether it is whole.

        Only strings and brackets are looked at: what else is wrong in it, its reader finds.
        """
        open_brackets: list[str] = []
        in_string, whole = False, False
        while True:
            begin = self._place
            try:
                while (
                    not whole and (after := self._json_step(open_brackets, in_string=in_string)) is not None
                ):
                    in_string = after
                    whole = not in_string and not open_brackets
            except _BrokenJson:
                emit(self._text[begin : self._place])
                return False
            emit(self._text[begin : self._place])
            if whole or not (yield from self.more()):
                return whole

    def _json_step(self, open_brackets: list[str], *, in_string: bool) -> bool | None:
        """Read up to and with the next quote or bracket.

        Whether a string is open then; `None` where more text must come first.
        """
        if open_brackets or in_string:
            found = (_IN_STRING if in_string else _OUTSIDE_STRINGS).match(self._text, self._place)
            self._place = found.end() if found else self._place
        rest = len(self._text) - self._place
        character = self._text[self._place] if rest else ""
        if not rest or (character == "\\" and rest == 1):
            return None
        if character == "\\" and in_string:
            self._place += 2
            return True
        if character in "}]" and (not open_brackets or _CLOSING[open_brackets.pop()] != character):
            raise _BrokenJson
        if character in "{[":
            open_brackets.append(character)
        elif character not in '"}]':
            raise _BrokenJson
        self._place += 1
        return character == '"' and not in_string


class _BrokenJson(Exception):  # noqa: N818 - it never leaves this module
    pass
