"""The parser of an answer that comes in pieces."""

import secrets
import string
from collections.abc import Sequence
from typing import Literal, TypeAlias

from ruvllm.outputs import FinishReason
from ruvllm.text.response.call_readers import CallReader, JsonCallReader, NamedCallReader
from ruvllm.text.response.channel_reader import read_channels
from ruvllm.text.response.output import Output
from ruvllm.text.response.parts import Part
from ruvllm.text.response.reader import Reader, Steps
from ruvllm.text.response.syntax import CallSyntax, ChannelCalls, JsonCalls, NamedCalls, Reasons
from ruvllm.text.response.tagged_reader import TaggedCallReader
from ruvllm.tools import ToolDefinition

__all__ = ["IdRule", "ResponseParser", "new_call_id"]

IdRule: TypeAlias = Literal["call", "nine"]
"""What a call's id looks like: as OpenAI's, or nine letters and digits, as Mistral's templates want it."""


class ResponseParser:
    """Tells content, reasoning and calls apart, piece by piece.

    Any cutting of a text into pieces gives the same, but for where parts are cut. What is no call is content;
    where an answer ended by its length, what could have become a call is left out, and a call that had begun
    stays without an end.
    """

    def __init__(
        self,
        calls: CallSyntax,
        reasons: Reasons | None,
        *,
        ids: IdRule = "call",
        thinking_open: bool = False,
        tools: Sequence[ToolDefinition] | None = None,
    ) -> None:
        """Begin an answer.

        Args:
            calls: How the family writes calls.
            reasons: What stands around its thoughts.
            ids: What a call's id looks like.
            thinking_open: Whether the prompt has opened what the model thinks.
            tools: What may be called: `None` where that is not known, nothing where there are no calls.
        """
        self._syntax = calls
        self._reasons = reasons
        self._reader = Reader()
        self._output = Output(lambda: new_call_id(ids))
        self._tools = tools
        self._cut = False
        self._calls = self._call_reader() if tools is None or tools else None
        self._steps = self._run(thinking_open=thinking_open)
        self._advance()

    def feed(self, piece: str) -> list[Part]:
        """Take a piece of the answer, and give what is known now."""
        self._reader.feed(piece)
        self._advance()
        return self._output.take()

    def end(self, finish_reason: FinishReason = "stop") -> list[Part]:
        """Take the answer's end, and give the rest."""
        self._cut = finish_reason != "stop"
        self._reader.end(cut=self._cut)
        self._advance()
        self._output.end()
        return self._output.take()

    def _advance(self) -> None:
        next(self._steps, None)

    def _call_reader(self) -> CallReader | None:
        syntax, tools = self._syntax, self._tools
        if isinstance(syntax, JsonCalls):
            names = None if tools is None else frozenset(tool.name for tool in tools)
            return JsonCallReader(syntax, self._reader, self._output, names)
        if isinstance(syntax, NamedCalls):
            return NamedCallReader(syntax, self._reader, self._output)
        if isinstance(syntax, ChannelCalls):
            return None
        return TaggedCallReader(syntax, self._reader, self._output, tools or ())

    def _run(self, *, thinking_open: bool) -> Steps[None]:
        reader, output, calls, reasons = self._reader, self._output, self._calls, self._reasons
        if isinstance(self._syntax, ChannelCalls):
            with_calls = self._tools is None or bool(self._tools)
            yield from read_channels(self._syntax, reader, output, with_calls=with_calls)
            return
        if thinking_open and reasons:
            yield from self._reasoning(reasons.closing)
        elif reasons and reasons.only_first:
            yield from self._first_reasoning(reasons)
        yield from self._bare_call()
        thinking = (reasons.opening, reasons.closing) if reasons and not reasons.only_first else ()
        openings, closings = (calls.openings, calls.closings) if calls else ((), ())
        begin = tuple(dict.fromkeys((*thinking, *openings)))
        # Before any call an end of one is text like any other.
        either = tuple(dict.fromkeys((*begin, *closings)))
        while True:
            marks = either if output.calls else begin
            if (mark := (yield from reader.through(marks, output.content))) is None:
                return
            if reasons and mark == reasons.opening:
                yield from self._reasoning(reasons.closing)
                yield from self._bare_call()
            elif mark in openings:
                yield from self._call(mark)

    def _first_reasoning(self, reasons: Reasons) -> Steps[None]:
        """Read thoughts that stand before everything else, if some do."""
        self._reader.pin()
        yield from self._reader.white_space()
        is_begun = yield from self._reader.one_of((reasons.opening,))
        read = self._reader.since_pin()
        if is_begun:
            yield from self._reasoning(reasons.closing)
        else:
            self._output.content(read)

    def _reasoning(self, closing: str) -> Steps[None]:
        self._output.begin_reasoning()
        yield from self._reader.through((closing,), self._output.reasoning)
        self._output.end_reasoning()

    def _call(self, mark: str) -> Steps[None]:
        """Read a call behind its opening."""
        self._reader.pin()
        begun = self._calls is not None and (yield from self._calls.read())
        self._leave(mark, begun=begun)

    def _bare_call(self) -> Steps[None]:
        """Read a call that stands where content could begin, and has no opening."""
        if self._calls is None:
            return
        self._reader.pin()
        yield from self._reader.white_space()
        begun = yield from self._calls.read_bare()
        self._leave("", begun=begun)

    def _leave(self, mark: str, *, begun: bool) -> None:
        """What is no call is content, unless the answer was cut off in it."""
        read = self._reader.since_pin()
        could_be_call = begun or mark or _begins_call(read)
        if could_be_call and self._reader.cut_since_pin():
            return
        if not begun:
            self._output.content(mark + read)


def _begins_call(text: str) -> bool:
    """Whether an object that was cut off would have named a tool; an answer may be another object."""
    begin, text = '{"name"', "".join(text.split())
    return text != "" and (text.startswith(begin) or begin.startswith(text))


def new_call_id(rule: IdRule) -> str:
    """A new call's id."""
    letters = string.ascii_letters + string.digits
    if rule == "nine":
        return "".join(secrets.choice(letters) for _ in range(9))
    return "call_" + "".join(secrets.choice(letters) for _ in range(24))
