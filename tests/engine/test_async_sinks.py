"""Events on their way from the delivery thread into an event loop."""

import asyncio
import threading
import time

import pytest

from ruvllm.runtime.events import Failed, Finished, TokenMade
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
        assert [await sink.take() for sink in sinks] == [[(EVENTS, float(step))]] * 16
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
        order: list[float] = []
        while len(order) < 2000:
            order += [now for _, now in await sink.take()]
        return order

    orders = await asyncio.wait_for(asyncio.gather(*(read(sink) for sink in sinks)), 20)
    for thread in threads:
        thread.join()
    assert orders == [[float(number) for number in range(2000)]] * 4


def test_each_loop_has_its_own() -> None:
    async def one() -> _AsyncSink:
        sink = _AsyncSink()
        in_thread(lambda: sink.deliver(EVENTS, 1.0))
        assert await sink.take() == [(EVENTS, 1.0)]
        return sink

    first, second = asyncio.run(one()), asyncio.run(one())
    # Whoever delivers learns that nobody can read any more, every time, and then cancels the request.
    for sink in (first, first, second):
        with pytest.raises(RuntimeError, match="closed"):
            sink.deliver(EVENTS, 2.0)


async def test_after_a_hand_out_pieces_wait_for_each_other() -> None:
    sink = _AsyncSink(interval=1.0)
    begin = time.perf_counter()
    in_thread(lambda: sink.deliver(EVENTS, 0.0))
    assert await sink.take() == [(EVENTS, 0.0)]
    assert time.perf_counter() - begin < 1.0, "the first is handed out at once"
    in_thread(lambda: [sink.deliver(EVENTS, float(number)) for number in (1, 2, 3)])
    assert [now for _, now in await sink.take()] == [1.0, 2.0, 3.0]
    # Timers of event loops may be early by their resolution.
    assert time.perf_counter() - begin > 0.98


@pytest.mark.parametrize("last", [Finished(reason="stop"), Failed(error=ValueError("broken"))])
async def test_an_end_is_handed_out_at_once_with_what_waited(last: Finished | Failed) -> None:
    sink = _AsyncSink(interval=10.0)
    in_thread(lambda: sink.deliver(EVENTS, 0.0))
    await sink.take()
    in_thread(lambda: [sink.deliver(EVENTS, 1.0), sink.deliver([last], 2.0)])
    batches = await asyncio.wait_for(sink.take(), 5)
    if isinstance(last, Failed):
        # Alone: who reads it raises, and what was made before must not be lost.
        assert batches == [(EVENTS, 1.0)]
        batches += await sink.take()
    assert batches == [(EVENTS, 1.0), ([last], 2.0)]


async def test_a_rest_that_ends_without_mail_delays_nothing() -> None:
    sink = _AsyncSink(interval=0.05)
    for number in range(3):
        in_thread(lambda number=number: sink.deliver(EVENTS, float(number)))
        assert await asyncio.wait_for(sink.take(), 5) == [(EVENTS, float(number))]
        await asyncio.sleep(0.12)
