r"""Lark as a regular expression, where no rule leads back to itself.

    start: "+" LINE LF          (?:\+(?:(?:[^\n]+))(?:\n))
    LINE: /[^\n]+/
    %import common.LF

In a string of JSON there is a place for a pattern, and none for a grammar. What has no pattern is refused:
rules that lead back to themselves, `%ignore`, schemas, tokens, and what a terminal must not match (`~`, `&`).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ruvllm.errors import GrammarError

__all__ = ["regex_of_lark"]

MAX_CHARACTERS = 1 << 16
MAX_NESTING = 64
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+|//[^\n]*|\#[^\n]*)
    |(?P<line>\n)
    |(?P<text>"(?:[^"\\\n]|\\.)*"i?)
    |(?P<pattern>/(?:[^/\\\n]|\\.)+/[a-z]*)
    |(?P<directive>%[a-z]+)
    |(?P<alias>->[ \t]*[A-Za-z_]\w*)
    |(?P<range>\.\.)
    |(?P<name>[?!]*[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)
    |(?P<repeat>[*+?]|~[ \t]*[0-9]+(?:\.\.[0-9]+)?|\{[0-9]+(?:,[0-9]*)?\})
    |(?P<other>[|()\[\]:,])""",
    re.VERBOSE,
)
# The terminals of Lark's own library that grammars import.
_COMMON = {
    "DIGIT": "[0-9]", "HEXDIGIT": "[a-fA-F0-9]", "INT": "[0-9]+", "SIGNED_INT": "[+-]?[0-9]+",
    "DECIMAL": r"[0-9]+\.[0-9]*|\.[0-9]+",
    "FLOAT": r"(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+",
    "NUMBER": r"[0-9]+|(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+",
    "SIGNED_NUMBER":
        r"[+-]?(?:[0-9]+|(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)",
    "ESCAPED_STRING": r'"(?:[^"\\]|\\.)*"', "LCASE_LETTER": "[a-z]", "UCASE_LETTER": "[A-Z]",
    "LETTER": "[A-Za-z]", "WORD": "[A-Za-z]+", "CNAME": "[_A-Za-z][_A-Za-z0-9]*", "WS_INLINE": r"[ \t]+",
    "WS": r"[ \t\f\r\n]+", "CR": r"\r", "LF": r"\n", "NEWLINE": r"(?:\r?\n)+",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def regex_of_lark(grammar: str) -> str:
    r"""A pattern of the same texts; `GrammarError` where there is none, with what stands against it.

    >>> print(regex_of_lark('start: "+" LINE LF?\nLINE: /[a-z]+/\n%import common.LF'))
    (?:\+(?:(?:[a-z]+))(?:(?:\n))?)
    """
    rules = _rules(grammar)
    if "start" not in rules:
        raise GrammarError("the grammar has no rule named start")
    return _Writer(rules).rule("start")


def _tokens(grammar: str) -> Iterator[_Token]:
    place, line = 0, 1
    while place < len(grammar):
        found = _TOKEN.match(grammar, place)
        if found is None:
            raise GrammarError(
                f"line {line} has {grammar[place : place + 20]!r}, for which there is no pattern"
            )
        kind = found.lastgroup or ""
        if kind != "space":
            yield _Token(kind, found.group(), line)
        line += kind == "line"
        place = found.end()


def _rules(grammar: str) -> dict[str, list[_Token]]:
    """What stands behind each name, as far as the next one."""
    rules: dict[str, list[_Token]] = {}
    tokens = list(_tokens(grammar))
    starts = [
        index
        for index, token in enumerate(tokens)
        if (index == 0 or tokens[index - 1].kind == "line")
        and (
            token.kind == "directive"
            or (token.kind == "name" and [one.text for one in tokens[index + 1 : index + 2]] == [":"])
        )
    ]
    if before := [one for one in tokens[: starts[0] if starts else None] if one.kind != "line"]:
        raise _wrong(before[0], "it belongs to no rule")
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        if tokens[start].kind == "directive":
            name, body = _imported([one for one in tokens[start:end] if one.kind != "line"])
        else:
            name = tokens[start].text.lstrip("?!")
            body = [one for one in tokens[start + 2 : end] if one.kind != "line"]
        if name in rules:
            raise _wrong(tokens[start], "a rule of this name stands before")
        rules[name] = body
    return rules


def _imported(tokens: list[_Token]) -> tuple[str, list[_Token]]:
    """A terminal of the library, under its own name or another one."""
    head = tokens[0]
    source = tokens[1].text.removeprefix("common.") if len(tokens) > 1 else ""
    if head.text != "%import" or source not in _COMMON or len(tokens) not in (2, 3):
        raise _wrong(head, "there is no pattern for it")
    name = tokens[2].text.removeprefix("->").strip() if len(tokens) == 3 else source
    return name, [_Token("library", _COMMON[source], head.line)]


class _Writer:
    """Writes rules in the places where they are named."""

    def __init__(self, rules: dict[str, list[_Token]]) -> None:
        self._rules = rules
        self._written: dict[str, str] = {}
        self._within: list[str] = []
        self._depth = 0

    def rule(self, name: str) -> str:
        if name in self._written:
            return self._written[name]
        if name not in self._rules:
            raise GrammarError(f"the grammar uses {name!r}, and has no such rule")
        if name in self._within:
            raise GrammarError(f"the rule {name!r} leads back to itself, for which there is no pattern")
        if len(self._within) >= MAX_NESTING:
            raise GrammarError(f"rules lead deeper than {MAX_NESTING} into each other")
        self._within.append(name)
        body = self._rules[name]
        written, place = self._alternatives(body, 0)
        if place < len(body):
            raise _wrong(body[place], "it does not belong there")
        self._within.pop()
        self._written[name] = f"(?:{written})"
        return self._written[name]

    def _alternatives(self, body: list[_Token], place: int) -> tuple[str, int]:
        options, sequence = [], ""
        while place < len(body) and body[place].text not in (")", "]"):
            token = body[place]
            if token.text == "|":
                options.append(sequence)
                sequence, place = "", place + 1
            elif token.kind == "alias":
                place += 1
            else:
                item, place = self._item(body, place)
                sequence += item
            if sum(map(len, options)) + len(sequence) > MAX_CHARACTERS:
                raise GrammarError(f"the grammar's pattern has more than {MAX_CHARACTERS} characters")
        # A bar before the first alternative is only for the eye.
        if options and body and body[0].text == "|" and not options[0]:
            options = options[1:]
        return "|".join([*options, sequence]), place

    def _item(self, body: list[_Token], place: int) -> tuple[str, int]:
        token = body[place]
        place += 1
        if token.text in ("(", "["):
            self._depth += 1
            if self._depth > MAX_NESTING:
                raise GrammarError(f"groups stand deeper than {MAX_NESTING} in each other")
            inner, place = self._alternatives(body, place)
            self._depth -= 1
            if place >= len(body) or body[place].text != (")" if token.text == "(" else "]"):
                raise _wrong(token, "the group is not closed")
            place += 1
            written = f"(?:{inner})" + ("?" if token.text == "[" else "")
        elif token.kind == "text" and place + 1 < len(body) and body[place].kind == "range":
            written, place = _range(token, body[place + 1]), place + 2
        elif token.kind == "name":
            written = self.rule(token.text)
        else:
            written = _terminal(token)
        if place < len(body) and body[place].kind == "repeat":
            written, place = f"(?:{written}){_repeat(body[place].text)}", place + 1
        return written, place


def _terminal(token: _Token) -> str:
    if token.kind == "library":
        return token.text
    if token.kind == "text":
        text = "".join(map(_escaped, _text(token.text.removesuffix("i"))))
        return f"(?i:{text})" if token.text.endswith("i") else text
    if token.kind == "pattern":
        pattern, flags = token.text[1:].rsplit("/", 1)
        if set(flags) - set("is"):
            raise _wrong(token, "of the flags there are i and s")
        pattern = pattern.replace("\\/", "/")
        return f"(?{flags}:{pattern})"
    raise _wrong(token, "it does not belong there")


def _text(quoted: str) -> str:
    try:
        return str(json.loads(re.sub(r"\\x([0-9A-Fa-f]{2})", r"\\u00\1", quoted)))
    except ValueError:
        raise GrammarError(f"{quoted[:40]} is no text") from None


def _range(low: _Token, high: _Token) -> str:
    ends = [_text(one.text) for one in (low, high) if one.kind == "text"]
    if len(ends) != 2 or any(len(one) != 1 for one in ends):
        raise _wrong(low, "a range is from one character to another")
    return f"[{_escaped(ends[0])}-{_escaped(ends[1])}]"


def _escaped(character: str) -> str:
    if character < " ":
        return {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(character, f"\\x{ord(character):02x}")
    return f"\\{character}" if character in r"\.+*?()|[]{}^$#&-~/" else character


def _repeat(text: str) -> str:
    if not text.startswith("~"):
        return text
    low, _, high = text[1:].strip().partition("..")
    return f"{{{low},{high or low}}}"


def _wrong(token: _Token, why: str) -> GrammarError:
    return GrammarError(f"line {token.line} has {token.text[:40]!r}: {why}")
