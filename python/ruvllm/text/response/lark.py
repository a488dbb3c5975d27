"""The grammar of an answer with calls, in Lark as llguidance understands it.

A control token stands in it by its number, since a grammar's texts never match one. What a model thinks is
free; so is content, but for what opens a call: behind that a call must follow.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ruvllm.errors import ConfigError, GrammarError
from ruvllm.grammar import Grammar
from ruvllm.text.response.schemas import rebased, shape_of
from ruvllm.text.response.syntax import (
    CallSyntax,
    ChannelCalls,
    JsonCalls,
    NamedCalls,
    Reasons,
    TaggedCalls,
)
from ruvllm.text.response.tagged_rules import tagged_rule
from ruvllm.tools import ToolChoice, ToolDefinition

__all__ = ["JSON_KINDS", "LarkWriter"]

# The grammars of content that can stand in the grammar of an answer with thoughts or calls.
JSON_KINDS = ("json_schema", "json_object")

# Small models do not find out of unbounded white space; three levels of indent need 13.
_WHITE_SPACE = r"[\x20\x0A\x0D\x09]{1,16}"
_ANYTHING = r"ANYTHING: /(.|\n)*/"
_SPACE = r"SPACE: /[ \n]{0,4}/"


class LarkWriter:
    """Writes the grammar of a family's answers, in the vocabulary of a model."""

    def __init__(
        self,
        calls: CallSyntax,
        reasons: Reasons | None,
        special: Mapping[str, int],
        content: Grammar | None = None,
    ) -> None:
        """Begin; `content` is JSON that an answer is where it is no calls."""
        self._syntax = calls
        self._reasons = reasons
        self._special = special
        self._said = None if content is None else _said(content)

    def grammar(
        self, tools: Sequence[ToolDefinition], choice: ToolChoice, *, parallel: bool, thinking_open: bool
    ) -> str:
        """The grammar; `thinking_open` says that the prompt has opened what the model thinks."""
        if choice.kind == "named":
            tools = [tool for tool in tools if tool.name == choice.name]
        if not tools or choice.kind == "none":
            raise ConfigError("a grammar of calls needs tools that may be called")
        rules = self._call_rules(tools)
        if isinstance(self._syntax, ChannelCalls):
            rules += self._channels(self._syntax, required=choice.kind != "auto")
        else:
            rules += self._answer(parallel=parallel, required=choice.kind != "auto")
            rules += self._start(thinking_open=thinking_open)
        return "\n".join(rules) + "\n"

    def content(self) -> str:
        """The grammar of an answer that calls nothing, and may be thought over."""
        return "\n".join([f"answer: {self._said}", *self._start(thinking_open=False)]) + "\n"

    # -- what stands around calls

    def _start(self, *, thinking_open: bool) -> list[str]:
        if self._reasons is None:
            return [_ANYTHING, "start: answer"]
        rules = [_ANYTHING, _SPACE, self._lazily("thought", self._reasons.closing)]
        opening = self._marks(self._reasons.opening)
        before = "thought SPACE" if thinking_open else f"( {opening} thought SPACE )?"
        return [*rules, f"start: {before} answer"]

    def _answer(self, *, parallel: bool, required: bool) -> list[str]:
        syntax = self._syntax
        assert not isinstance(syntax, ChannelCalls)  # noqa: S101 - they have rules of their own
        before, after = syntax.section
        as_list = isinstance(syntax, JsonCalls) and syntax.as_list
        opening = before + ("[" if as_list else "") + syntax.opening
        closing = ("]" if as_list else "") + after
        separator = self._marks(syntax.separator + syntax.opening)
        calls = ["call", f"( {separator} call )*" if parallel else "", self._marks(closing)]
        rules = [f"calls: {' '.join(filter(None, calls))}"]
        if required:
            # A control token may stand before calls of families that need none.
            return [*rules, f"answer: {self._marks(opening)} calls"]
        if self._said is not None:
            mark = self._marks(opening) if opening else self._bare_mark()
            return [*rules, f"said: {self._said}", f"answer: said | {mark} calls"]
        if not opening:
            return [*rules, self._bare_content(), f"answer: CONTENT | {self._bare_mark()} calls"]
        return [*rules, *self._content_before(opening)]

    def _bare_mark(self) -> str:
        assert isinstance(self._syntax, JsonCalls)  # noqa: S101 - others have an opening
        mark = self._syntax.bare_opening or ""
        return f"( {self._marks(mark)} )?" if mark in self._special else ""

    def _bare_content(self) -> str:
        """Content that does not begin as a call does."""
        assert isinstance(self._syntax, JsonCalls)  # noqa: S101
        field = re.escape(self._syntax.name_field)
        return rf'CONTENT: ANYTHING & ~/\s*\{{\s*"{field}"(.|\n)*/'

    def _content_before(self, opening: str) -> list[str]:
        """Any text, and calls from where it opens them."""
        begin = opening.split()[0]
        mark = next((one for one in self._special if begin.startswith(one)), begin)
        place = opening.index(mark) + len(mark)
        rest = self._marks(opening[place:])
        text = "CONTENT" if self._reasons and self._reasons.opening not in self._special else "ANYTHING"
        rules: list[str] = []
        if text == "CONTENT" and self._reasons:
            rules.append(rf"CONTENT: ANYTHING & ~/\s*{_pattern(self._reasons.opening)}(.|\n)*/")
        if mark in self._special:
            return [*rules, f"answer: {text} | {text} {self._marks(mark)} {rest} calls"]
        return [*rules, f"before[lazy]: {text} {_quoted(mark)}", f"answer: {text} | before {rest} calls"]

    def _lazily(self, name: str, text: str) -> str:
        """A rule of anything up to a text, with it."""
        first = next((one for one in self._special if text.startswith(one)), "")
        if first:
            return f"{name}: ANYTHING {self._marks(text)}"
        return f"{name}[lazy]: ANYTHING {_quoted(text)}"

    def _channels(self, syntax: ChannelCalls, *, required: bool) -> list[str]:
        channel, message = self._marks(syntax.channel), self._marks(syntax.message)
        rest = self._lazily("rest", f"{syntax.end}{syntax.start}assistant")
        start = "( thought )? call" if required else "( thought | said )* ( final | call )"
        return [
            _ANYTHING,
            rest,
            f'thought: {channel} "analysis" {message} rest',
            f'said: {channel} "commentary" {message} rest',
            f'final: {channel} "final" {message} {self._said or "ANYTHING"}',
            f"start: {start}",
        ]

    # -- calls

    def _call_rules(self, tools: Sequence[ToolDefinition]) -> list[str]:
        syntax = self._syntax
        if isinstance(syntax, JsonCalls) and syntax.bare_opening is None:
            body = _json_rule([_object(syntax, tool) for tool in tools], syntax.arguments_field)
            return [f"call: object {self._marks(syntax.closing)}", f"object: {body}"]
        rules = [f"call: {' | '.join(f'call_{index}' for index in range(len(tools)))}"]
        for index, tool in enumerate(tools):
            if isinstance(syntax, TaggedCalls):
                rules += tagged_rule(f"call_{index}", syntax, tool, self._marks)
            elif isinstance(syntax, JsonCalls):
                rules += _bare_object(f"call_{index}", syntax, tool)
            else:
                before, after = self._around(syntax, tool.name)
                rules.append(f"call_{index}: {self._marks(before)} arguments_{index} {self._marks(after)}")
                rules.append(f"arguments_{index}: {_json(_schema(tool))}")
        return rules

    def _around(self, syntax: NamedCalls | ChannelCalls, name: str) -> tuple[str, str]:
        if isinstance(syntax, NamedCalls):
            return f"{name}{syntax.name_end}", syntax.closing
        # The mark that ends a call ends the answer, too, so it is no part of the grammar.
        header = f"{syntax.channel}commentary to=functions.{name} {syntax.constrain}json{syntax.message}"
        return header, ""

    def _marks(self, text: str) -> str:
        """A text as the grammar has it: its control tokens by number, the rest in quotes."""
        if not text:
            return ""
        if not self._special:
            return _quoted(text)
        pattern = "|".join(re.escape(one) for one in sorted(self._special, key=len, reverse=True))
        pieces = re.split(f"({pattern})", text)
        return " ".join(
            f"<[{self._special[piece]}]>" if piece in self._special else _quoted(piece)
            for piece in pieces
            if piece
        )


def _bare_object(rule: str, syntax: JsonCalls, tool: ToolDefinition) -> list[str]:
    """A call that content could become: its head is a text, so that both can be told apart."""
    words = ["{", f'"{syntax.name_field}"', ":", f'"{tool.name}"', ",", f'"{syntax.arguments_field}"', ":"]
    head = r"\s{0,4}".join(map(_pattern, words))
    return [f"{rule}: {rule}_head {_json(_schema(tool))} /\\s{{0,4}}\\}}/", f"{rule}_head: /{head} ?/"]


def _object(syntax: JsonCalls, tool: ToolDefinition) -> dict[str, Any]:
    fields = {syntax.name_field: {"const": tool.name}, syntax.arguments_field: _schema(tool)}
    return {
        "type": "object",
        "properties": fields,
        "required": [syntax.name_field, syntax.arguments_field],
        "additionalProperties": False,
    }


def _json_rule(objects: list[dict[str, Any]], arguments_field: str) -> str:
    """One rule for the objects of all tools, whose references are seen from its root."""
    for index, one in enumerate(objects):
        place = f"#/anyOf/{index}/properties/{arguments_field}"
        one["properties"][arguments_field] = rebased(one["properties"][arguments_field], place)
    return _json({"anyOf": objects})


def _schema(tool: ToolDefinition) -> dict[str, Any]:
    return tool.schema if tool.strict else shape_of(tool.schema)


def _said(content: Grammar) -> str:
    """JSON that content must be."""
    if content.kind not in JSON_KINDS:
        raise ConfigError(f"beside tools an answer is held to JSON, and to no {content.kind}")
    try:
        schema = {"type": "object"} if content.kind == "json_object" else json.loads(content.source)
    except (ValueError, RecursionError) as error:
        raise GrammarError(f"the schema is no JSON: {error}", pointer="") from None
    if not isinstance(schema, dict):
        schema = {} if schema is True else {"not": {}}
    return _json(schema)


def _json(schema: Mapping[str, Any]) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": {"whitespace_pattern": _WHITE_SPACE}})


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _pattern(text: str) -> str:
    """A text in a regular expression between slashes."""
    return re.escape(text).replace("/", r"\/")
