"""Reading calls: each reader begins behind a mark that opens a call, and ends behind the calls.

What is no call is content again, the mark included. A call is said to have begun when its name is known; from
there on its arguments are given on as the model writes them, whatever becomes of them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from ruvllm.text.response.json_text import object_in, text_in
from ruvllm.text.response.output import Output
from ruvllm.text.response.reader import Reader, Steps
from ruvllm.text.response.syntax import JsonCalls, NamedCalls

__all__ = ["CallReader", "JsonCallReader", "NamedCallReader"]

# A longer name is none.
MAX_NAME_CHARACTERS = 256
# What may stand before the name.
_BEFORE_NAME = ("name", "function", "type", "id")


class CallReader(Protocol):
    """Reads the calls of a syntax."""

    @property
    def openings(self) -> tuple[str, ...]:
        """The marks that begin a call."""

    @property
    def closings(self) -> tuple[str, ...]:
        """Marks that end one, and mean nothing after a broken one."""

    def read(self) -> Steps[bool]:
        """Read what follows an opening; whether a call has begun."""

    def read_bare(self) -> Steps[bool]:
        """Read a call that stands at the beginning of an answer without an opening."""


@dataclass(slots=True)
class _Call:
    """What is known of a call so far; `waiting` are arguments that came before the name."""

    name: str = ""
    id: str = ""
    waiting: str = ""
    begun: bool = False
    whole: bool = False


class JsonCallReader:
    """Calls as JSON objects, alone or in a list."""

    def __init__(
        self, syntax: JsonCalls, reader: Reader, output: Output, names: Collection[str] | None
    ) -> None:
        self._syntax = syntax
        self._reader = reader
        self._output = output
        self._names = names
        self._must_name_tool = syntax.bare_opening is not None
        self._section = syntax.section[0].strip()
        self._opening = syntax.opening.strip()
        self._bare_opening = (syntax.bare_opening or "").strip()
        self.openings = tuple(filter(None, (self._section, self._opening, self._bare_opening)))
        self.closings = tuple(filter(None, (syntax.closing.strip(), syntax.section[1].strip())))

    def read(self) -> Steps[bool]:
        """Read the calls behind an opening."""
        begun = False
        if self._section and self._opening:
            yield from self._reader.white_space()
            yield from self._reader.one_of((self._opening,))
        if self._syntax.as_list:
            yield from self._reader.white_space()
            yield from self._reader.one_of(("[",))
        while True:
            yield from self._reader.white_space()
            call = _Call()
            yield from self._object(call, inner=False)
            yield from self._finish(call)
            begun = begun or call.begun
            if not call.whole or not (yield from self._another()):
                return begun

    def read_bare(self) -> Steps[bool]:
        """The same where an object stands for itself, or in a block of code."""
        reader, fenced = self._reader, self._syntax.fenced
        if self._syntax.bare_opening is None and fenced is None:
            return False
        is_fenced = fenced is not None and (yield from reader.one_of((fenced[0],))) is not None
        yield from reader.white_space()
        if (yield from reader.next()) != "{":
            return False
        self._must_name_tool = True
        begun = yield from self.read()
        self._must_name_tool = self._syntax.bare_opening is not None
        if fenced is not None and is_fenced and begun:
            yield from reader.white_space()
            yield from reader.one_of((fenced[1],))
        return begun

    def _finish(self, call: _Call) -> Steps[None]:
        if not call.begun:
            return
        if call.whole:
            self._output.end_call()
            return
        yield from self._reader.through(self.closings or self.openings, self._output.arguments)

    def _another(self) -> Steps[bool]:
        """Read up to the next call's object; whether there is one."""
        reader, syntax = self._reader, self._syntax
        yield from reader.white_space()
        if syntax.as_list:
            if (yield from reader.one_of((",",))) is not None:
                return True
            yield from reader.one_of(("]",))
        else:
            # Small models close more than they have opened.
            while (yield from reader.one_of(("}",))) is not None:
                yield from reader.white_space()
        for closing in self.closings:
            yield from reader.white_space()
            yield from reader.one_of((closing,))
        if not syntax.as_list and syntax.separator.strip():
            yield from reader.white_space()
            return (yield from reader.one_of((syntax.separator.strip(),))) is not None
        return False

    # -- the object

    def _object(self, call: _Call, *, inner: bool) -> Steps[bool]:
        """Read a call's object, or the one that it has as its `function`."""
        reader = self._reader
        if (yield from reader.one_of(("{",))) is None:
            return False
        while True:
            yield from reader.white_space()
            if (yield from reader.next()) == "}":
                break
            if not (yield from self._field(call, inner=inner)):
                return False
            yield from reader.white_space()
            if (yield from reader.one_of((",",))) is None:
                break
        if (yield from reader.one_of(("}",))) is None:
            return False
        if call.name and not call.begun:
            self._begin(call, "{}")
        return True

    def _field(self, call: _Call, *, inner: bool) -> Steps[bool]:
        reader = self._reader
        key = yield from self._string()
        yield from reader.white_space()
        if key is None or (yield from reader.one_of((":",))) is None:
            return False
        # An answer that is another object is not held back for what may come in it.
        if self._must_name_tool and not call.name and key not in (self._syntax.name_field, *_BEFORE_NAME):
            return False
        yield from reader.white_space()
        first = yield from reader.next()
        if key == "function" and first == "{" and not inner:
            return (yield from self._object(call, inner=True))
        if key in (self._syntax.name_field, "name", "function") and first == '"' and not call.name:
            return (yield from self._name(call))
        if key in (self._syntax.arguments_field, "arguments", "parameters") and not call.whole:
            return (yield from self._arguments(call, first))
        if key == "id" and first == '"':
            call.id = (yield from self._string()) or ""
            return True
        return (yield from self._other(first))

    def _name(self, call: _Call) -> Steps[bool]:
        name = yield from self._string()
        if not name or len(name) > MAX_NAME_CHARACTERS:
            return False
        # Without an opening an object is the answer itself, unless it names a tool.
        if self._must_name_tool and self._names is not None and name not in self._names:
            return False
        call.name = name
        if call.waiting:
            self._begin(call, call.waiting)
        return True

    def _begin(self, call: _Call, arguments: str) -> None:
        self._output.begin_call(call.name, call.id)
        self._output.arguments(arguments)
        call.begun = call.whole = True

    def _arguments(self, call: _Call, first: str) -> Steps[bool]:
        if first == '"':
            text = (yield from self._string()) or ""
            arguments = text if object_in(text) is not None else None
        elif first == "{" and call.name:
            self._output.begin_call(call.name, call.id)
            call.begun = True
            call.whole = yield from self._reader.json_value(self._output.arguments)
            return call.whole
        elif first == "{":
            pieces: list[str] = []
            whole = yield from self._reader.json_value(pieces.append)
            arguments = "".join(pieces) if whole else None
        else:
            found = yield from self._reader.one_of(("null",))
            arguments = "{}" if found else None
        if arguments is None:
            return False
        call.waiting = arguments
        if call.name:
            self._begin(call, arguments)
        return True

    def _other(self, first: str) -> Steps[bool]:
        if first in ("{", "[", '"'):
            return (yield from self._reader.json_value(_ignore))
        while first and (first.isalnum() or first in "+-."):
            yield from self._reader.one_of((first,))
            first = yield from self._reader.next()
        return bool(first)

    def _string(self) -> Steps[str | None]:
        if (yield from self._reader.next()) != '"':
            return None
        pieces: list[str] = []
        whole = yield from self._reader.json_value(pieces.append)
        return text_in("".join(pieces)) if whole else None


class NamedCallReader:
    """Calls as a name and JSON arguments."""

    def __init__(self, syntax: NamedCalls, reader: Reader, output: Output) -> None:
        self._syntax = syntax
        self._reader = reader
        self._output = output
        self._section = syntax.section[0].strip()
        self._opening = syntax.opening.strip()
        self.openings = tuple(filter(None, (self._section, self._opening)))
        self.closings = tuple(filter(None, (syntax.closing.strip(), syntax.section[1].strip())))

    def read(self) -> Steps[bool]:
        """Read the call behind an opening."""
        reader, syntax = self._reader, self._syntax
        if self._section:
            yield from reader.white_space()
            yield from reader.one_of((self._opening,))
        name_end, id_opening = syntax.name_end.strip(), syntax.id_opening.strip()
        ends = (name_end, id_opening) if id_opening else (name_end,)
        name: list[str] = []
        call_id: list[str] = []
        end = yield from reader.through(ends, name.append, at_most=MAX_NAME_CHARACTERS)
        if end == id_opening and end:
            end = yield from reader.through((name_end,), call_id.append, at_most=MAX_NAME_CHARACTERS)
        if end is None or not (called := "".join(name).strip()) or len(called.split()) > 1:
            return False
        yield from reader.white_space()
        if (yield from reader.next()) != "{":
            return False
        self._output.begin_call(called, "".join(call_id).strip())
        if not (yield from reader.json_value(self._output.arguments)):
            yield from reader.through(self.closings or self.openings, self._output.arguments)
            return True
        self._output.end_call()
        for closing in self.closings:
            yield from reader.white_space()
            yield from reader.one_of((closing,))
        return True

    def read_bare(self) -> Steps[bool]:
        """There are none without an opening."""
        yield from ()
        return False


def _ignore(text: str) -> None:
    del text
