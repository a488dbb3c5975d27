"""GBNF, the grammars of llama.cpp, in Lark.

    root ::= "yes" | "no" [0-9]+        start: "yes" | "no" /[0-9]/+

Rules become rules of the same meaning; `root` is the start. Comments, classes of characters, groups,
alternatives and the repetitions `* + ? {m} {m,} {m,n}` are understood. References to tokens (`<think>`,
`<[7]>`) are Lark's own.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ruvllm.errors import GrammarError

__all__ = ["lark_of_gbnf"]

MAX_NESTING = 64
_TOKEN = re.compile(
    r"""(?P<space>[ \t]+|\#[^\n]*)
    |(?P<line>\r?\n)
    |(?P<defines>::=)
    |(?P<text>"(?:[^"\\\n]|\\.)*")
    |(?P<set>\[(?:[^\]\\\n]|\\.)*\])
    |(?P<mark>!?<(?:\[[0-9]+\]|[^<>\s]+)>)
    |(?P<name>[A-Za-z0-9_-]+)
    |(?P<repeat>[*+?]|\{[0-9]+(?:,[0-9]*)?\})
    |(?P<other>[|().])""",
    re.VERBOSE,
)
_CODE = r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)"
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_PIECE = re.compile(rf"{_CODE}|.", re.DOTALL)
_CONTROL = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def lark_of_gbnf(grammar: str) -> str:
    r"""The same grammar in Lark; `GrammarError` by its line where it is none.

    >>> print(lark_of_gbnf('root ::= "a" [b-d]+ | end\nend ::= "e"'))
    start: "a" /[b-d]/+ | end
    end: "e"
    """
    parser = _Parser(list(_tokens(grammar)))
    rules = parser.rules()
    if "start" not in rules:
        raise GrammarError("the grammar has no rule named root")
    if missing := sorted(parser.used - rules.keys()):
        raise GrammarError(f"the grammar uses {missing[0]!r}, and has no such rule")
    return "\n".join(f"{name}: {body}" for name, body in rules.items())


def _tokens(grammar: str) -> Iterator[_Token]:
    place, line = 0, 1
    while place < len(grammar):
        found = _TOKEN.match(grammar, place)
        if found is None:
            raise GrammarError(f"line {line} has {grammar[place : place + 20]!r}, which is no part of GBNF")
        kind = found.lastgroup or ""
        if kind != "space":
            yield _Token(kind, found.group(), line)
        line += kind == "line"
        place = found.end()


class _Parser:
    """Reads rules one by one; a rule goes to the line's end, or on where it cannot end yet."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self.used: set[str] = set()

    def rules(self) -> dict[str, str]:
        """Every rule by its name in Lark."""
        rules: dict[str, str] = {}
        self._skip_lines()
        while (token := self._next()) is not None:
            self._take()
            if token.kind != "name" or not self._is("defines"):
                raise _wrong(token, "a rule is a name, ::= and what it is")
            self._take()
            self._skip_lines()
            name = _name(token.text)
            if name in rules:
                raise _wrong(token, "a rule of this name stands before")
            rules[name] = self._alternatives(0)
            if (after := self._next()) is not None and after.kind != "line":
                raise _wrong(after, "it does not belong there")
            self._skip_lines()
        return rules

    def _alternatives(self, depth: int) -> str:
        if depth > MAX_NESTING:
            raise GrammarError(f"groups stand deeper than {MAX_NESTING} in each other")
        options = [self._sequence(depth)]
        while self._is("other", "|") or (self._is("line") and (depth or self._goes_on())):
            if self._take().kind == "line":
                continue
            self._skip_lines()
            options.append(self._sequence(depth))
        return " | ".join(options)

    def _goes_on(self) -> bool:
        """Whether the next line is another alternative of the rule."""
        rest = (token for token in self._tokens[self._place :] if token.kind != "line")
        following = next(rest, None)
        return following is not None and following.text == "|"

    def _sequence(self, depth: int) -> str:
        parts = []
        while (token := self._next()) is not None:
            if token.kind == "line" and depth:
                self._take()
                continue
            if token.kind == "line" or token.text in ("|", ")"):
                break
            parts.append(self._item(depth) + self._repeat())
        return " ".join(parts) or '""'

    def _item(self, depth: int) -> str:
        token = self._take()
        if token.kind == "text":
            return json.dumps(_unescaped(token.text[1:-1]), ensure_ascii=False)
        if token.kind == "set":
            return f"/{_set(token)}/"
        if token.kind == "mark" and not token.text.startswith("!"):
            return token.text
        if token.text == ".":
            return "/(?s:.)/"
        if token.text == "(":
            inner = self._alternatives(depth + 1)
            if not self._is("other", ")"):
                raise _wrong(token, "the group is not closed")
            self._take()
            return f"({inner})"
        if token.kind == "name":
            self.used.add(name := _name(token.text))
            return name
        raise _wrong(token, "it does not belong there")

    def _repeat(self) -> str:
        if not self._is("repeat"):
            return ""
        return self._take().text

    def _next(self) -> _Token | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _take(self) -> _Token:
        self._place += 1
        return self._tokens[self._place - 1]

    def _is(self, kind: str, text: str | None = None) -> bool:
        token = self._next()
        return token is not None and token.kind == kind and text in (None, token.text)

    def _skip_lines(self) -> None:
        while self._is("line"):
            self._take()


def _wrong(token: _Token, why: str) -> GrammarError:
    return GrammarError(f"line {token.line} has {token.text.strip()[:40]!r}: {why}")


def _name(name: str) -> str:
    """A rule's name in Lark, where names of rules are small letters, digits and underscores."""
    if name == "root":
        return "start"
    if re.fullmatch("[a-z][a-z0-9_]*", name) and name != "start" and not name.startswith("r_"):
        return name
    # A name that no other one becomes.
    return "r_" + "".join(one if one.islower() or one.isdigit() else f"_{ord(one):x}_" for one in name)


def _unescaped(text: str) -> str:
    def character(found: re.Match[str]) -> str:
        code = found[1] or found[2] or found[3]
        return chr(int(code, 16)) if code else _CONTROL.get(found[4], found[4])

    return _ESCAPE.sub(character, text)


def _set(token: _Token) -> str:
    """A class of characters as a regular expression has it."""
    inner = token.text[1:-1]
    negated = inner.startswith("^")
    parts = []
    # Each character by its number, so that nothing means more here than there; a dash between two is a range.
    for piece in _PIECE.findall(inner[negated:]):
        text = _unescaped(piece)
        parts.append("-" if piece == "-" else f"\\x{{{ord(text):x}}}" if not text.isalnum() else text)
    if not parts:
        raise _wrong(token, "the class is empty")
    for end in (0, -1):
        if parts[end] == "-":
            parts[end] = "\\x{2d}"
    return f"[{'^' if negated else ''}{''.join(parts)}]"
