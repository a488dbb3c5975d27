"""Server-sent events, out of bytes that arrive in any pieces.

The one decoder of this package: the chat reads an answer with it, and `bench-serve` thousands of them at a
time. It follows the standard's rules (https://html.spec.whatwg.org/multipage/server-sent-events.html): lines
end with CR, LF or both, a blank line ends an event, lines that begin with a colon are comments, and an event
that the end of the stream cuts off does not count. `id` and `retry` serve reconnecting, which nobody does
in the middle of an answer, so they are left out.
"""

import re
from typing import NamedTuple

from ruvllm.errors import BackendError

__all__ = ["MAX_EVENT_BYTES", "Event", "EventDecoder"]

# No answer's piece comes near; without a bound, one endless line would fill the memory.
MAX_EVENT_BYTES = 16 * 2**20
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event: its type, `message` where it has none, and its data lines, joined."""

    name: str
    data: str


class EventDecoder:
    r"""Collects bytes and gives the events that they complete.

    >>> decoder = EventDecoder()
    >>> decoder.feed(b"data: Hel")
    []
    >>> decoder.feed(b"lo\n\n: a comment\n\n")
    [Event(name='message', data='Hello')]
    """

    def __init__(self) -> None:
        # A line that is not complete, as it came: joined once its end is there, however many pieces it has.
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._after_carriage_return = False
        self._name = ""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._begun = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes; `BackendError` where an event grows beyond `MAX_EVENT_BYTES`."""
        # A whole event in a piece of its own is what servers nearly always send.
        if self._is_between_events() and _is_one_event(chunk):
            return [Event("message", chunk[6:-2].decode("utf-8", "replace"))]
        events = []
        for line in self._lines(chunk):
            if line:
                self._field(line)
            elif event := self._end_of_event():
                events.append(event)
        if self._line_bytes + self._data_bytes > MAX_EVENT_BYTES:
            raise BackendError(f"the server sends an event of more than {MAX_EVENT_BYTES} bytes")
        return events

    def _is_between_events(self) -> bool:
        held = self._line or self._data or self._name or self._after_carriage_return
        return self._begun and not held

    def _lines(self, chunk: bytes) -> list[bytes]:
        """The lines that are complete by now, without their ends."""
        if chunk and self._after_carriage_return:
            # The line ended with the CR before; an LF now is the other half of that end.
            chunk = chunk.removeprefix(b"\n")
            self._after_carriage_return = False
        if b"\n" not in chunk and b"\r" not in chunk:
            self._hold(chunk)
            return []
        self._after_carriage_return = chunk.endswith(b"\r")
        text = b"".join([*self._line, chunk])
        if not self._begun:
            text = text.removeprefix(_BYTE_ORDER_MARK)
            self._begun = True
        *lines, rest = _LINE_END.split(text) if b"\r" in text else text.split(b"\n")
        self._line, self._line_bytes = [], 0
        self._hold(rest)
        return lines

    def _hold(self, part: bytes) -> None:
        if part:
            self._line.append(part)
            self._line_bytes += len(part)

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")

    def _end_of_event(self) -> Event | None:
        data, name = self._data, self._name
        self._data, self._name, self._data_bytes = [], "", 0
        return Event(name or "message", b"\n".join(data).decode("utf-8", "replace")) if data else None


def _is_one_event(chunk: bytes) -> bool:
    return (
        chunk.startswith(b"data: ")
        and chunk.endswith(b"\n\n")
        and chunk.find(b"\n") == len(chunk) - 2
        and b"\r" not in chunk
        and len(chunk) <= MAX_EVENT_BYTES
    )
