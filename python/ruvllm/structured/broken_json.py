"""Reads one value of a text that is nearly JSON, from its beginning on; `repair` says where that is."""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

__all__ = ["BrokenJson", "Repair", "RepairError"]

Repair: TypeAlias = Literal[
    "closing",
    "colon",
    "comma",
    "comment",
    "end",
    "escape",
    "fence",
    "key",
    "number",
    "prose",
    "quotes",
    "word",
]
"""What was mended; `end`: the text had ended before the value did."""

MAX_DEPTH = 100
_WORDS = {
    "true": True, "false": False, "null": None,
    "True": True, "False": False, "None": None,
    "TRUE": True, "FALSE": False, "NULL": None,
}  # fmt: skip
_JSON_WORDS = ("true", "false", "null")
_SPACE = re.compile(r"[\s\ufeff]*")
_COMMENT = re.compile(r"//[^\n]*|#[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_$][\w$-]*")
_NUMBER = re.compile(r"[-+]?\.?[0-9][\w.+-]*|[-+.]\Z")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_NEAR_NUMBER = re.compile(r"([-+]?)(0|[1-9][0-9]*)?(?:\.([0-9]*))?([eE][-+]?[0-9]+)?")
_NUMBER_KEY = re.compile(r"-?[0-9]+(?=\s*:)")
_CLOSING_QUOTE = {'"': '"', "'": "'", "\u201c": "\u201d"}
_PLAIN = re.compile(r"[^\"'\u201d\\\x00-\x1f]+")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"'}
_CODE = re.compile(r"u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})")
_HALF_CODE = re.compile(r"(?:u[0-9A-Fa-f]{0,3}|x[0-9A-Fa-f]?)?\Z")
_JOINED = re.compile(r"\s*\+\s*[\"']")
_LOW_HALF = re.compile(r"\\u([dD][c-fC-F][0-9A-Fa-f]{2})")


class RepairError(Exception):
    """What cannot be mended, for the message."""


class _Missing:
    """In the place of a value before which the text has ended."""


_MISSING = _Missing()


class BrokenJson:
    """One reading; `repairs` has what was mended, in the order of its places."""

    def __init__(self, text: str, place: int, *, is_cut: bool) -> None:
        self._text = text
        self.place = place
        self._is_cut = is_cut
        self._open: list[str] = []
        self.repairs: dict[Repair, None] = {}

    def note(self, repair: Repair) -> None:
        """Say that this was mended."""
        self.repairs[repair] = None

    def root(self) -> Any:
        """The value that begins here."""
        value = self._value()
        if isinstance(value, _Missing):
            raise RepairError("it ends before there is a value")
        if not isinstance(value, dict | list):
            self._skip()
        return value

    def is_at_word_or_number(self) -> bool:
        """Whether a value that has no marks of its own may begin here."""
        word = _WORD.match(self._text, self.place)
        return word[0] in _WORDS if word else _NUMBER.match(self._text, self.place) is not None

    def _value(self) -> Any:
        self._skip()
        if self._has_ended():
            return _MISSING
        first = self._text[self.place]
        if first in "{[":
            if len(self._open) >= MAX_DEPTH:
                raise RepairError(f"it is deeper than {MAX_DEPTH} values in each other")
            self._open.append(first)
            self.place += 1
            value = self._object() if first == "{" else self._list()
            self._open.pop()
            return value
        if first in _CLOSING_QUOTE:
            return self._string(is_key=False)
        if word := _WORD.match(self._text, self.place):
            return self._word(word[0])
        if number := _NUMBER.match(self._text, self.place):
            return self._number(number[0])
        raise self._unexpected()

    # -- objects and lists

    def _list(self) -> list[Any]:
        items: list[Any] = []
        for _ in self._places("]"):
            value = self._value()
            if isinstance(value, _Missing):
                break
            items.append(value)
        return items

    def _object(self) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for _ in self._places("}"):
            key = self._key()
            value = _MISSING if key is None else self._value()
            if key is None or isinstance(value, _Missing):
                break
            members[key] = value
        return members

    def _places(self, mark: str) -> Iterator[None]:
        """Where an item or a member begins, each time up to the mark; it is to be read there."""
        is_first = is_after_comma = True
        while not self._is_closed(mark, is_after_comma=is_after_comma and not is_first):
            if self._text[self.place] == ",":
                self._comma(is_surplus=is_after_comma)
                is_after_comma = True
                continue
            if not is_after_comma:
                self.note("comma")
            yield
            is_first = is_after_comma = False

    def _is_closed(self, mark: str, *, is_after_comma: bool) -> bool:
        """Whether an object or a list ends here, by its mark, another one's or the text's end."""
        self._skip()
        if self._has_ended():
            return True
        if self._text[self.place] not in "}]":
            return False
        if is_after_comma:
            self.note("comma")
        if self._text[self.place] == mark:
            self.place += 1
            return True
        opening = "{" if self._text[self.place] == "}" else "["
        if opening not in self._open:
            raise self._unexpected()
        self.note("closing")
        return True

    def _comma(self, *, is_surplus: bool) -> None:
        if is_surplus:
            self.note("comma")
        self.place += 1

    def _key(self) -> str | None:
        """A key with the colon behind it; `None` where the text ends before a value can begin."""
        if self._text[self.place] in _CLOSING_QUOTE:
            key = self._string(is_key=True)
            if isinstance(key, _Missing):
                return None
        else:
            found = _NUMBER_KEY.match(self._text, self.place) or _WORD.match(self._text, self.place)
            if found is None:
                raise self._unexpected()
            self.place = found.end()
            self.note("key")
            key = found[0]
        is_quoted = self._text[self.place - 1] in "\"'\u201d"
        self._skip()
        if self._has_ended():
            return None
        if self._text[self.place] == ":":
            self.place += 1
        elif is_quoted and self._text[self.place] not in ",}]":
            self.note("colon")
        else:
            raise self._unexpected()
        return str(key)

    # -- words and numbers

    def _word(self, word: str) -> Any:
        end = self.place + len(word)
        if word not in _WORDS:
            if end == len(self._text) and any(one.startswith(word) for one in _WORDS):
                self.note("end")
                self.place = end
                return _MISSING
            raise self._unexpected()
        if word not in _JSON_WORDS:
            self.note("word")
        self.place = end
        return _WORDS[word]

    def _number(self, text: str) -> Any:
        end = self.place + len(text)
        if end == len(self._text) and (self._is_cut or not text[-1].isdigit()):
            self.note("end")
            self.place = end
            return _MISSING
        if not _JSON_NUMBER.fullmatch(text):
            near = _NEAR_NUMBER.fullmatch(text)
            if near is None or not (near[2] or near[3]):
                raise self._unexpected()
            self.note("number")
            fraction = f".{near[3] or 0}" if near[3] is not None else ""
            text = f"{near[1].strip('+')}{near[2] or 0}{fraction}{near[4] or ''}"
        self.place = end
        return json.loads(text)

    # -- texts

    def _string(self, *, is_key: bool) -> "str | _Missing":
        opening = self._text[self.place]
        if opening != '"':
            self.note("quotes")
        self.place += 1
        pieces: list[str] = []
        has_inner = False
        while self.place < len(self._text):
            if plain := _PLAIN.match(self._text, self.place):
                pieces.append(plain[0])
                self.place = plain.end()
                continue
            one = self._text[self.place]
            self.place += 1
            if one == "\\":
                pieces.append(self._escaped())
            elif one == _CLOSING_QUOTE[opening]:
                if is_key or self._ends_a_text(one):
                    return "".join(pieces)
                has_inner = True
                self.note("quotes")
                pieces.append(one)
            else:
                if one < " ":
                    self.note("escape")
                pieces.append(one)
        if has_inner:
            raise RepairError("it is not clear where a text with quotes in it ends")
        self.note("end")
        return _MISSING if is_key else "".join(pieces)

    def _ends_a_text(self, quote: str) -> bool:
        """Whether the quote before this place is none of the text's own, by what comes next."""
        if _JOINED.match(self._text, self.place):
            raise RepairError("it joins texts as a program does")
        following = _SPACE.match(self._text, self.place)
        end = following.end() if following else self.place
        if end == len(self._text) or self._text[end] in ",}]" or self._text.startswith("```", end):
            return True
        if _COMMENT.match(self._text, end):
            return True
        if self._open and self._text[end] == ":":
            raise RepairError("it is not clear whether a text is a key or a value")
        # A comma was left out: what comes is another text.
        is_apart = end > self.place or self._text[end] != quote
        return not self._open or (self._text[end] in _CLOSING_QUOTE and is_apart)

    def _escaped(self) -> str:
        code = _CODE.match(self._text, self.place)
        if code:
            self.place = code.end()
            if code[2]:
                self.note("escape")
            return self._character(int(code[1] or code[2], 16))
        if half := _HALF_CODE.match(self._text, self.place):
            self.place = half.end()
            return ""
        one = self._text[self.place]
        self.place += 1
        if one in _ESCAPES:
            return _ESCAPES[one]
        self.note("escape")
        # Nothing says what such a mark stands for, so it stays; a quote that needed none is a quote.
        return one if one in "'\u201d" else f"\\{one}"

    def _character(self, code: int) -> str:
        if not 0xD800 <= code < 0xDC00:
            return chr(code)
        if low := _LOW_HALF.match(self._text, self.place):
            self.place = low.end()
            return chr(0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00)
        # The other half may be what is missing.
        is_last = re.match(r"(?:\\(?:u[0-9A-Fa-f]{0,3})?)?\Z", self._text[self.place : self.place + 6])
        return "" if is_last else chr(code)

    # -- between

    def _skip(self) -> None:
        while True:
            space = _SPACE.match(self._text, self.place)
            self.place = space.end() if space else self.place
            comment = _COMMENT.match(self._text, self.place)
            if comment is None:
                return
            self.note("comment")
            self.place = comment.end()

    def _has_ended(self) -> bool:
        # A block of code that is closed has ended, too.
        if self.place < len(self._text) and not self._text.startswith("```", self.place):
            return False
        self.note("end")
        return True

    def _unexpected(self) -> RepairError:
        rest = self._text[self.place :]
        return RepairError(f"at character {self.place} stands {rest[:30]!r}")
