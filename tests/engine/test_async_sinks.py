"""Events on their way from the delivery thread into an event loop."""

import asyncio
import threading

import pytest

from ruvllm.runtime.events import TokenMade
from ruvllm.runtime.streams import _AsyncSink

EVENTS = [TokenMade(token_id=1, text="a")]


def in_thread(work) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


async def test_what_comes_together_wakes_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    wake, calls = loop.call_soon_threadsafe, []

    def counted(callback, *arguments):
        calls.append(callback)
        return wake(callback, *arguments)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    sinks = [_AsyncSink() for _ in range(16)]
    for step in range(3):
        in_thread(lambda step=step: [sink.deliver(EVENTS, float(step)) for sink in sinks])
        assert [await sink.take() for sink in sinks] == [(EVENTS, float(step))] * 16
        assert len(calls) == step + 1


async def test_nothing_is_lost_or_mixed_up_between_threads() -> None:
    sinks = [_AsyncSink() for _ in range(4)]

    def deliver(sink: _AsyncSink) -> None:
        for number in range(2000):
            sink.deliver(EVENTS, float(number))

    threads = [threading.Thread(target=deliver, args=(sink,)) for sink in sinks]
    for thread in threads:
        thread.start()

    async def read(sink: _AsyncSink) -> list[float]:
        return [(await sink.take())[1] for _ in range(2000)]

    orders = await asyncio.wait_for(asyncio.gather(*(read(sink) for sink in sinks)), 20)
    for thread in threads:
        thread.join()
    assert orders == [[float(number) for number in range(2000)]] * 4


def test_each_loop_has_its_own() -> None:
    async def one() -> _AsyncSink:
        sink = _AsyncSink()
        in_thread(lambda: sink.deliver(EVENTS, 1.0))
        assert await sink.take() == (EVENTS, 1.0)
        return sink

    first, second = asyncio.run(one()), asyncio.run(one())
    # Whoever delivers learns that nobody can read any more, every time, and then cancels the request.
    for sink in (first, first, second):
        with pytest.raises(RuntimeError, match="closed"):
            sink.deliver(EVENTS, 2.0)
