"""Reading answers that are messages on channels: what each is stands in its header."""

import re

from ruvllm.text.response.output import Output
from ruvllm.text.response.reader import Reader, Steps
from ruvllm.text.response.syntax import ChannelCalls

__all__ = ["read_channels"]

_RECIPIENT = re.compile(r"to=(?:functions\.)?([^\s<]+)")
REASONING_CHANNEL = "analysis"


def read_channels(syntax: ChannelCalls, reader: Reader, output: Output, *, with_calls: bool) -> Steps[None]:
    """Read a whole answer. It begins behind the template's `<|start|>assistant`."""
    in_header = (syntax.message, syntax.channel, syntax.constrain, syntax.start)
    # The recipient may stand at once behind the role, which is the prompt's.
    mark = yield from reader.one_of((" to=",))
    if mark is None:
        mark = yield from reader.through((syntax.start, syntax.channel), output.content)
    while mark is not None:
        header: list[str] = []
        while mark is not None and mark != syntax.message:
            header.append(mark)
            mark = yield from reader.through(in_header, header.append)
        if mark is None:
            return
        recipient = _RECIPIENT.search("".join(header)) if with_calls else None
        if recipient:
            mark = yield from _call(recipient[1], syntax, reader, output)
        else:
            thinks = f"{syntax.channel}{REASONING_CHANNEL}" in "".join(header)
            mark = yield from _text(syntax, reader, output, thinks=thinks)
        if mark is not None and mark != syntax.start:
            mark = yield from reader.through((syntax.start, syntax.channel), _ignore)


def _text(syntax: ChannelCalls, reader: Reader, output: Output, *, thinks: bool) -> Steps[str | None]:
    """Read a message through its end, and give that."""
    ends = (syntax.end, syntax.call, syntax.final, syntax.start)
    if not thinks:
        return (yield from reader.through(ends, output.content))
    output.begin_reasoning()
    end = yield from reader.through(ends, output.reasoning)
    output.end_reasoning()
    return end


def _call(name: str, syntax: ChannelCalls, reader: Reader, output: Output) -> Steps[str | None]:
    """Read a call through its end, and give that."""
    output.begin_call(name)
    yield from reader.white_space()
    whole = (yield from reader.next()) == "{" and (yield from reader.json_value(output.arguments))
    if whole:
        output.end_call()
    ends = (syntax.end, syntax.call, syntax.final, syntax.start)
    return (yield from reader.through(ends, _ignore if whole else output.arguments))


def _ignore(text: str) -> None:
    del text
