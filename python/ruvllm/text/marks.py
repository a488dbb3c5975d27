"""Marks: the control tokens that a chat template alone may write, kept apart from what messages say.

The trusted part is signed, not the rest escaped: before a template runs, each mark that it writes in its own
words is replaced by a private character that no message holds, and after it has run, these characters are the
marks, and whatever else spells one is text. So a message cannot make a mark, whatever the template does with
it, and the template sees messages as they are.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ruvllm.errors import TokenizationError

__all__ = ["MarkFinder", "Rendered", "SignedTemplate", "TemplateMarks", "Veil", "can_be_mark", "texts_in"]

# Private use, and never a character of a text that people write; messages that hold some get others.
_PRIVATE = range(0xF0000, 0x10FFFE)
_HELD = re.compile("[\U000f0000-\U0010ffff]")
_OUTSIDE = re.compile(r"\{#.*?#\}|\{[{%]", re.DOTALL)
_INSIDE = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[}%]\}""", re.DOTALL)
_WORDS_OR_BYTE = re.compile(r"[\w\s]+|<0x[0-9A-F]{2}>")
_FRAMES = re.compile(r"<\|.+\|>|<\uff5c.+\uff5c>|<start_of_turn>|<end_of_turn>|\[/?INST\]", re.DOTALL)


def can_be_mark(text: str, *, is_special: bool) -> bool:
    """Whether only templates write a token: a special one, or another whose text says that it frames a turn.

    A word or a single character cannot be one, since text consists of them. `rust/core/src/text/roles.rs` has
    the same rule for GGUF files.

    >>> can_be_mark("<|im_end|>", is_special=True), can_be_mark("<think>", is_special=False)
    (True, False)
    """
    if not is_special:
        return _FRAMES.fullmatch(text) is not None
    return len(text) > 1 and _WORDS_OR_BYTE.fullmatch(text) is None


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a template made of a conversation.

    Attributes:
        signed: The text, with one private character in the place of each mark.
        stand_ins: The mark for which each of these characters stands.
    """

    signed: str
    stand_ins: Mapping[str, str]

    @property
    def text(self) -> str:
        """The text that a model sees."""
        return self.signed.translate({ord(stand_in): mark for stand_in, mark in self.stand_ins.items()})

    def pieces(self) -> list[str]:
        """Text and marks by turns, text first and last."""
        if not self.stand_ins:
            return [self.signed]
        parts = re.split(f"([{''.join(self.stand_ins)}])", self.signed)
        parts[1::2] = [self.stand_ins[stand_in] for stand_in in parts[1::2]]
        return parts

    def upto(self, end: int) -> "Rendered":
        """Its beginning; `end` counts characters of `signed`."""
        return Rendered(self.signed[:end], self.stand_ins)

    def after(self, begin: int) -> "Rendered":
        """Its end."""
        return Rendered(self.signed[begin:], self.stand_ins)


class MarkFinder:
    """Finds texts of marks, from left to right, of those that begin at one place the longest."""

    def __init__(self, marks: Collection[str]) -> None:
        self.marks = frozenset(marks)
        lengths: dict[str, set[int]] = {}
        for mark in self.marks:
            lengths.setdefault(mark[:2], set()).add(len(mark))
        self._lengths = {begin: sorted(found, reverse=True) for begin, found in lengths.items()}
        self._begins = re.compile("|".join(re.escape(begin) for begin in sorted(lengths)) or r"(?!)")
        self._first_characters = {begin[0] for begin in lengths}

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Give the places of marks."""
        position = 0
        while found := self._begins.search(text, position):
            begin = position = found.start()
            here = (text[begin : begin + length] for length in self._lengths[found[0]])
            if mark := next((mark for mark in here if mark in self.marks), None):
                position += len(mark)
                yield begin, position
            else:
                position += 1

    def split(self, text: str) -> list[str]:
        """Give text and marks by turns, text first and last."""
        pieces, position = [], 0
        for begin, end in self.find(text):
            pieces += [text[position:begin], text[begin:end]]
            position = end
        return [*pieces, text[position:]]

    def may_begin_in(self, text: str) -> bool:
        """Whether something in a text could become a mark with what follows, or by an escape."""
        return (
            self._begins.search(text) is not None
            or text[-1:] in self._first_characters
            or re.search(r"\\[uxUN0-7]", text) is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTemplate:
    """A template for one call.

    Attributes:
        program: The template, with stand-ins for the marks that it writes.
        values: The same for the values that are given to it.
        stand_ins: What the stand-ins stand for.
        held: Private characters that are in the call's own texts.
    """

    program: str
    values: Mapping[str, str]
    stand_ins: Mapping[str, str]
    held: frozenset[str] = frozenset()

    def unused(self) -> Iterator[str]:
        """More characters that stand nowhere in the call."""
        return _unused(self.held | self.stand_ins.keys())

    def rendered(self, text: str) -> Rendered:
        """What it made."""
        return Rendered(text, self.stand_ins)

    def words(self, error: object) -> str:
        """What it said, in its own words."""
        return self.rendered(str(error)).text

    def with_more(self, rendered: Rendered, places: Iterable[tuple[int, int]]) -> Rendered:
        """Sign marks of a text that the template has put together, too."""
        unused = self.unused()
        stand_ins = dict(rendered.stand_ins)
        of_marks = {mark: stand_in for stand_in, mark in stand_ins.items()}
        parts, position = [], 0
        for begin, end in places:
            mark = rendered.signed[begin:end]
            if mark not in of_marks:
                of_marks[mark] = _take(unused)
                stand_ins[of_marks[mark]] = mark
            parts += [rendered.signed[position:begin], of_marks[mark]]
            position = end
        return Rendered("".join([*parts, rendered.signed[position:]]), stand_ins)


class TemplateMarks:
    """The marks that a template writes in its own words."""

    def __init__(self, program: str, marks: Collection[str], values: Mapping[str, str]) -> None:
        self._program = program
        self._values = dict(values)
        self.finder = MarkFinder(marks)

    def sign(self, texts: Iterable[str]) -> SignedTemplate:
        """Give the template with stand-ins that none of the texts of a call holds."""
        held = frozenset().union(*(_HELD.findall(text) for text in texts if not text.isascii()))
        return self._signed(held) if held else self._as_always

    @cached_property
    def _as_always(self) -> SignedTemplate:
        return self._signed(frozenset())

    def _signed(self, held: frozenset[str]) -> SignedTemplate:
        held |= frozenset(_HELD.findall("".join([self._program, *self._values.values()])))
        unused = _unused(held)
        written = [value for value in self._values.values() if value in self.finder.marks]
        marks = dict.fromkeys([*self._pieces[1::2], *written])
        of_marks = {mark: _take(unused) for mark in marks}
        pieces = list(self._pieces)
        pieces[1::2] = [of_marks[mark] for mark in pieces[1::2]]
        return SignedTemplate(
            program="".join(pieces),
            values={name: of_marks.get(value, value) for name, value in self._values.items()},
            stand_ins={stand_in: mark for mark, stand_in in of_marks.items()},
            held=held,
        )

    @cached_property
    def composes(self) -> bool:
        """Whether the template may put marks together, as in `'<|' + role + '|>'`."""
        return any(
            self.finder.may_begin_in(piece)
            for begin, end in self._literals
            for piece in self.finder.split(self._program[begin:end])[::2]
        )

    @cached_property
    def _pieces(self) -> list[str]:
        """The program, and the marks in its texts, by turns."""
        pieces, position = [""], 0
        for begin, end in self._literals:
            pieces[-1] += self._program[position:begin]
            first, *others = self.finder.split(self._program[begin:end])
            pieces[-1] += first
            pieces += others
            position = end
        pieces[-1] += self._program[position:]
        return pieces

    @cached_property
    def _literals(self) -> list[tuple[int, int]]:
        """The places of what a template writes as it stands: between its tags, and strings within them."""
        places, position, program = [], 0, self._program
        while position < len(program):
            tag = _OUTSIDE.search(program, position)
            places.append((position, tag.start() if tag else len(program)))
            if tag is None:
                break
            position = tag.end()
            while len(tag[0]) == 2 and (token := _INSIDE.search(program, position)):
                position = token.end()
                if token[0] in ("}}", "%}"):
                    break
                places.append((token.start() + 1, token.end() - 1))
        return places


class Veil:
    """Other characters for those of which marks consist, so that what messages say makes none.

    Nor does a template recognize what they say, so this is a second look at a template that composes marks.
    """

    def __init__(self, marks: Iterable[str], unused: Iterator[str]) -> None:
        self._over = {ord(character): _take(unused) for character in sorted(set("".join(marks)))}
        self._back = {ord(veiled): chr(character) for character, veiled in self._over.items()}

        self._outside_words = frozenset(re.findall(r"\W", "".join(map(chr, self._over))))

    def may_be_of_a_mark(self, text: str) -> bool:
        """Whether a text has characters of marks that words do not have."""
        return not self._outside_words.isdisjoint(text)

    def over(self, value: Any) -> Any:
        """A value with all its texts veiled; names of fields stay."""
        if isinstance(value, str):
            return value.translate(self._over)
        if isinstance(value, Mapping):
            return {
                key if not isinstance(key, str) or key.isidentifier() else self.over(key): self.over(entry)
                for key, entry in value.items()
            }
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
            return [self.over(entry) for entry in value]
        return value

    def lift(self, text: str) -> str:
        """The text as it was, each character in its place."""
        return text.translate(self._back)


def texts_in(value: object) -> Iterator[str]:
    """All texts of a value that a template may get, the names of fields among them."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, Sequence) and not isinstance(one, bytes | bytearray):
            waiting += one


def _unused(held: frozenset[str]) -> Iterator[str]:
    return (chr(code) for code in _PRIVATE if chr(code) not in held)


def _take(unused: Iterator[str]) -> str:
    try:
        return next(unused)
    except StopIteration:
        raise TokenizationError("the messages hold every private-use character; leave some out") from None
