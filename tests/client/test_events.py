"""The decoder of server-sent events: the standard's own examples, at every border between pieces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm.client.events import MAX_EVENT_BYTES, Event, EventDecoder
from ruvllm.errors import BackendError

# Streams and their events, as https://html.spec.whatwg.org/multipage/server-sent-events.html explains them.
STREAMS = {
    "data: YHOO\ndata: +2\ndata: 10\n\n": [("message", "YHOO\n+2\n10")],
    ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n": [
        ("message", "first event"),
        ("message", "second event"),
        ("message", " third event"),
    ],
    "data\n\ndata\ndata\n\ndata:\n": [("message", ""), ("message", "\n")],
    "data:test\n\ndata: test\n\n": [("message", "test"), ("message", "test")],
    "event: error\ndata: {}\n\ndata: next\n\n": [("error", "{}"), ("message", "next")],
    "event: lost\n\ndata: x\n\n": [("message", "x")],
    "unknown: y\nretry: 10\ndata: x\n\n": [("message", "x")],
    "data: Grüße 🙂\n\n": [("message", "Grüße 🙂")],
    "\ufeffdata: after a mark\n\n": [("message", "after a mark")],
    "data: cut off": [],
    "data: cut off\n": [],
    ": ping\n\n: ping\n\n": [],
    "": [],
}


def decoded(pieces: list[bytes]) -> list[Event]:
    decoder = EventDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("text", STREAMS)
def test_every_border_between_two_pieces(text: str, line_end: str) -> None:
    stream = text.replace("\n", line_end).encode()
    expected = [Event(name, data) for name, data in STREAMS[text]]
    assert decoded([stream]) == expected
    assert decoded([stream[place : place + 1] for place in range(len(stream))]) == expected
    for place in range(len(stream)):
        assert decoded([stream[:place], stream[place:]]) == expected, place


def test_an_event_is_there_as_soon_as_its_blank_line_is() -> None:
    for end in (b"\n\n", b"\r\r", b"\r\n\r\n"):
        assert decoded([b"data: x" + end]) == [Event("message", "x")]
    # The LF that completes a CR is no blank line of its own.
    decoder = EventDecoder()
    assert decoder.feed(b"data: a\r") == []
    assert decoder.feed(b"\ndata: b\r") == []
    assert decoder.feed(b"\n\r") == [Event("message", "a\nb")]
    assert decoder.feed(b"\ndata: c\n\n") == [Event("message", "c")]


def test_mixed_line_ends() -> None:
    for first, second in itertools.product([b"\n", b"\r", b"\r\n"], repeat=2):
        if first + second != b"\r\n":
            assert decoded([b"data: a" + first + b"data: b" + second + b"\n\r"])[:1] == [
                Event("message", "a\nb")
            ]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert decoded([b"data: \xff\n\n"]) == [Event("message", "\N{REPLACEMENT CHARACTER}")]


def reference(text: str) -> list[Event]:
    """The standard's steps, line by line, over the whole text: slow and plain."""
    events, name, data = [], "", []
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    for line in lines:
        if not line:
            if data:
                events.append(Event(name or "message", "\n".join(data)))
            name, data = "", []
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if field == "data":
                data.append(value)
            elif field == "event":
                name = value
    return events


@given(
    st.lists(
        st.sampled_from(["data", "event", ":", " ", "x", "é", "\n", "\r", "\r\n", "\n\n", "data: a\n\n"])
    ),
    st.lists(st.integers(1, 7), min_size=1),
)
def test_any_stream_in_any_pieces(parts: list[str], sizes: list[int]) -> None:
    stream, pieces, place = "".join(parts).encode(), [], 0
    for size in itertools.cycle(sizes):
        if place >= len(stream):
            break
        pieces.append(stream[place : place + size])
        place += size
    assert decoded(pieces) == reference("".join(parts))


def feed_many(decoder: EventDecoder, piece: bytes) -> None:
    for _ in range(MAX_EVENT_BYTES // len(piece) + 1):
        decoder.feed(piece)


def test_an_endless_event_is_refused() -> None:
    piece = b"x" * 2**20
    with pytest.raises(BackendError, match="more than"):
        feed_many(EventDecoder(), piece)
    with pytest.raises(BackendError, match="more than"):
        feed_many(EventDecoder(), b"data:" + piece + b"\n")
