"""Reading calls whose arguments stand in tags: texts as they are, everything else as JSON."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ruvllm.text.response.call_readers import MAX_NAME_CHARACTERS
from ruvllm.text.response.json_text import value_in
from ruvllm.text.response.output import Output
from ruvllm.text.response.reader import Reader, Steps
from ruvllm.text.response.schemas import kinds_of
from ruvllm.text.response.syntax import TaggedCalls
from ruvllm.tools import ToolDefinition

__all__ = ["TaggedCallReader"]


class _Text:
    """A text as JSON, piece by piece, without the line's end at its beginning and at its end."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._at_begin = True
        self._held = ""

    def add(self, piece: str) -> None:
        if self._at_begin and piece:
            self._at_begin = False
            piece = piece.removeprefix("\n")
        text = self._held + piece
        self._held = "\n" if text.endswith("\n") else ""
        self._emit(json.dumps(text.removesuffix("\n"), ensure_ascii=False)[1:-1])


class TaggedCallReader:
    """Calls with a tag for each argument. The tools' schemas say which arguments are texts."""

    def __init__(
        self, syntax: TaggedCalls, reader: Reader, output: Output, tools: Sequence[ToolDefinition]
    ) -> None:
        self._syntax = syntax
        self._reader = reader
        self._output = output
        self._schemas = {tool.name: tool.schema for tool in tools}
        # A model may leave out what stands around `<function=`.
        self._steps = [*syntax.section[0].split(), *syntax.opening.split()]
        self._ends = [*syntax.closing.split(), *syntax.section[1].split()]
        self.openings = tuple(self._steps)
        self.closings = tuple(self._ends)

    def read(self) -> Steps[bool]:
        """Read the call behind an opening."""
        reader, syntax = self._reader, self._syntax
        while True:
            name: list[str] = []
            yield from reader.white_space()
            if (yield from reader.one_of(self._steps)) is not None:
                continue
            end = yield from reader.through(
                (syntax.name_end.strip(),), name.append, at_most=MAX_NAME_CHARACTERS
            )
            called = "".join(name).strip()
            break
        if end is None or not called or any(one.isspace() or one in "<>{}" for one in called):
            return False
        self._output.begin_call(called)
        yield from self._arguments(self._schemas.get(called, {}))
        return True

    def read_bare(self) -> Steps[bool]:
        """There are none without an opening."""
        yield from ()
        return False

    def _arguments(self, schema: Mapping[str, Any]) -> Steps[None]:
        reader, syntax, output = self._reader, self._syntax, self._output
        key_opening, first_end = syntax.key_opening.strip(), self._ends[0]
        separator = "{"
        while True:
            mark = yield from reader.through((key_opening, first_end), _ignore)
            if mark != key_opening:
                break
            key: list[str] = []
            end = yield from reader.through(
                (syntax.key_end.strip(),), key.append, at_most=MAX_NAME_CHARACTERS
            )
            if end is None:
                return
            name = "".join(key).strip()
            output.arguments(f"{separator}{json.dumps(name, ensure_ascii=False)}: ")
            separator = ", "
            if not (yield from self._value(kinds_of(schema, name))):
                return
        if mark is None:
            return
        output.arguments("{}" if separator == "{" else "}")
        output.end_call()
        for ending in self._ends[1:]:
            yield from reader.white_space()
            yield from reader.one_of((ending,))

    def _value(self, kinds: Collection[str]) -> Steps[bool]:
        """Read a value through its end; whether it has one."""
        end = (self._syntax.value_end.strip(),)
        if not kinds or set(kinds) == {"string"}:
            self._output.arguments('"')
            text = _Text(self._output.arguments)
            if (yield from self._reader.through(end, text.add)) is None:
                return False
            self._output.arguments('"')
            return True
        pieces: list[str] = []
        if (yield from self._reader.through(end, pieces.append)) is None:
            return False
        self._output.arguments(_as_json("".join(pieces).removeprefix("\n").removesuffix("\n"), kinds))
        return True


def _as_json(text: str, kinds: Collection[str]) -> str:
    """A value's JSON: the model's own where it is some of an allowed kind, else the text as a string."""
    try:
        value = value_in(text)
    except ValueError:
        value = text
    if isinstance(value, str) or ("string" in kinds and _kind(value) not in kinds):
        return json.dumps(text, ensure_ascii=False)
    return text.strip()


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {int: "integer", float: "number", list: "array", dict: "object", type(None): "null"}
    return names.get(type(value), "string")


def _ignore(text: str) -> None:
    del text
