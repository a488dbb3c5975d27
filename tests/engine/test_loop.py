"""The loop over a scripted engine: delivery, cancellation, errors, closing, forks."""

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ruvllm.config import Limits
from ruvllm.errors import BackendError, GenerationError, InvalidOperationError, ModelError, OutOfMemoryError
from ruvllm.params import GenerateParams
from ruvllm.runtime.evaluations import EvaluationResult
from ruvllm.runtime.events import Event, Failed, Finished
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.request import EvaluationTask, GenerationTask
from ruvllm.runtime.scheduler import Scheduler
from ruvllm.runtime.streams import AsyncCompletionStream, CompletionStream
from tests.support.scripted_engine import ScriptedEngine, expected_tokens

MakeLoop = Callable[..., tuple[EngineLoop, ScriptedEngine]]


@pytest.fixture
def make_loop() -> Iterator[MakeLoop]:
    loops: list[EngineLoop] = []
    others = set(threading.enumerate())  # of models that other tests share

    def make(limits: Limits | None = None, **settings: Any) -> tuple[EngineLoop, ScriptedEngine]:
        engine = ScriptedEngine(**settings)
        loop = EngineLoop(engine, scheduler=Scheduler(limits or Limits()))  # type: ignore[arg-type]
        loops.append(loop)
        return loop, engine

    yield make
    for loop in loops:
        loop.close()
    left = set(threading.enumerate()) - others
    assert not [thread.name for thread in left if thread.name.startswith("ruvllm-")]


def task(prompt: list[int], max_tokens: int = 5) -> GenerationTask:
    return GenerationTask(token_ids=prompt, params=GenerateParams(), max_tokens=max_tokens)


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def wait_for_free_blocks(engine: ScriptedEngine) -> None:
    wait_until(lambda: engine.free_blocks == engine.total_blocks)


def hold(engine: ScriptedEngine) -> None:
    """Slow steps, so that a request lasts."""
    engine.step_seconds = 0.005


def test_a_request(make_loop: MakeLoop) -> None:
    loop, _ = make_loop()
    completion = CompletionStream(loop, task([1, 2, 3])).completion()
    tokens = expected_tokens([1, 2, 3], 5)
    assert completion.token_ids == tuple(tokens)
    assert completion.text == "".join(f"{token} " for token in tokens)
    assert completion.finish_reason == "length"
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (3, 5)
    assert 0 < completion.timings.first_token_seconds <= completion.timings.total_seconds
    assert completion.logprobs is None


def test_chunks(make_loop: MakeLoop) -> None:
    loop, _ = make_loop()
    chunks = list(CompletionStream(loop, task([1, 2, 3])))
    assert [chunk.token_ids for chunk in chunks[:-1]] == [(token,) for token in expected_tokens([1, 2, 3], 5)]
    assert [chunk.finish_reason for chunk in chunks] == [None] * 5 + ["length"]
    assert chunks[-1].usage is not None
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_an_evaluation(make_loop: MakeLoop) -> None:
    loop, _ = make_loop()
    result = EvaluationResult[list[int]](loop, EvaluationTask(token_ids=[4, 5], kind="logits"))
    assert list(result.wait()) == [4, 5]


def test_an_evaluation_that_was_cancelled_gives_nothing(make_loop: MakeLoop) -> None:
    is_cancelled = threading.Event()
    loop, _ = make_loop(before_step=lambda engine: is_cancelled.wait(5))
    result = EvaluationResult[list[int]](loop, EvaluationTask(token_ids=[4, 5], kind="logits"))
    result.cancel()
    is_cancelled.set()
    with pytest.raises(GenerationError, match="ended without a result"):
        result.wait()


def test_a_request_to_an_idle_engine_is_run_in_one_go(make_loop: MakeLoop) -> None:
    """Only steps that run already are interrupted for it; a plan made with it is not."""
    loop, engine = make_loop()
    for _ in range(20):
        CompletionStream(loop, task([1, 2, 3], 2)).completion()
        end = time.monotonic() + 5
        while loop._in_turn:
            assert time.monotonic() < end
            time.sleep(0.001)
    assert "interrupted" not in engine.pauses


def test_many_requests_from_many_threads(make_loop: MakeLoop) -> None:
    loop, engine = make_loop(Limits(prefill_tokens=8), total_blocks=40)
    results: dict[int, tuple[int, ...]] = {}

    def ask(index: int) -> None:
        for turn in range(10):
            prompt = [index, turn] * (1 + index % 5)
            got = CompletionStream(loop, task(prompt, 1 + turn)).completion().token_ids
            assert got == tuple(expected_tokens(prompt, 1 + turn))
        results[index] = got

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 12
    assert engine.largest_prefill <= 8
    assert "blocks" not in engine.pauses
    wait_for_free_blocks(engine)


def test_blocks_that_were_counted_and_are_not_there(make_loop: MakeLoop) -> None:
    """Two that wait for the same block would wait for good; one of them is set aside instead."""
    loop, engine = make_loop(Limits(growth_tokens=0), total_blocks=16)
    engine.lost_blocks = 6
    streams = [CompletionStream(loop, task([one] * 12, 16)) for one in (1, 2, 3)]
    for one, stream in zip((1, 2, 3), streams, strict=True):
        assert stream.completion().token_ids == tuple(expected_tokens([one] * 12, 16))
    assert engine.preempted
    wait_for_free_blocks(engine)


def test_whoever_goes_on_has_had_a_turn_too(make_loop: MakeLoop) -> None:
    """With one place three tenants have it one after the other, none of them behind the two others' ends."""
    loop, _ = make_loop(Limits(max_running=1, growth_tokens=4, horizon_steps=4), step_seconds=0.002)
    told: list[str] = []

    def read(stream: CompletionStream, tenant: str) -> None:
        for chunk in stream:
            told.extend(tenant for _ in chunk.token_ids)

    def one(tenant: str) -> threading.Thread:
        asked = GenerationTask(token_ids=[1], params=GenerateParams(), max_tokens=60, tenant=tenant)
        return threading.Thread(target=read, args=(CompletionStream(loop, asked), tenant))

    threads = [one(tenant) for tenant in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for tenant in "abc":
        ended = len(told) - told[::-1].index(tenant)
        assert all(told[:ended].count(other) > 30 for other in "abc"), "".join(told)


def test_a_new_request_joins_at_once(make_loop: MakeLoop) -> None:
    loop, engine = make_loop(Limits(horizon_steps=10_000), total_blocks=2000)
    hold(engine)
    first = CompletionStream(loop, task([1], 4000))
    next(first)
    second = CompletionStream(loop, task([2], 2)).completion()
    assert second.token_ids == tuple(expected_tokens([2], 2))
    assert second.timings.total_seconds < 1.0
    first.close()


def test_a_request_waits_for_room(make_loop: MakeLoop) -> None:
    loop, engine = make_loop(total_blocks=4)
    hold(engine)
    first = CompletionStream(loop, task([1], 15))
    second = CompletionStream(loop, task([2], 15))
    next(first)
    assert (loop.load().running_requests, loop.load().waiting_requests) == (1, 1)
    assert second.completion().token_ids == tuple(expected_tokens([2], 15))
    assert len(first.completion().token_ids) == 14  # the first was read before


def test_a_request_that_never_fits(make_loop: MakeLoop) -> None:
    loop, _ = make_loop(total_blocks=4)
    with pytest.raises(OutOfMemoryError, match="needs room for 105 tokens"):
        CompletionStream(loop, task([1] * 100)).completion()
    assert CompletionStream(loop, task([1])).completion().token_ids


def test_a_request_that_the_engine_refuses(make_loop: MakeLoop) -> None:
    loop, _ = make_loop()
    with pytest.raises(ValueError, match="outside the vocabulary"):
        CompletionStream(loop, task([5000])).completion()
    assert CompletionStream(loop, task([1])).completion().token_ids


def test_a_request_that_fails_alone(make_loop: MakeLoop) -> None:
    def fail_first(engine: ScriptedEngine) -> None:
        if engine.steps == 2:
            engine.fail(1, GenerationError("all logits are NaN"))

    loop, engine = make_loop(before_step=fail_first)
    hold(engine)
    first, second = CompletionStream(loop, task([1], 30)), CompletionStream(loop, task([2], 30))
    with pytest.raises(GenerationError, match="NaN"):
        first.completion()
    assert second.completion().token_ids == tuple(expected_tokens([2], 30))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_that_breaks_fails_everybody(make_loop: MakeLoop) -> None:
    def explode(engine: ScriptedEngine) -> None:
        if engine.steps == 3:
            raise ModelError("a kernel gave up")

    loop, engine = make_loop(before_step=explode, total_blocks=4)
    hold(engine)
    streams = [CompletionStream(loop, task([index], 15)) for index in range(3)]  # one in, two waiting
    for stream in streams:
        with pytest.raises(ModelError, match="a kernel gave up"):
            stream.completion()
    with pytest.raises(BackendError, match="stopped after an error: Model error: a kernel gave up"):
        CompletionStream(loop, task([1]))


def test_events_that_cannot_be_fetched_fail_everybody(make_loop: MakeLoop) -> None:
    loop, engine = make_loop()
    hold(engine)
    stream = CompletionStream(loop, task([1], 500 // 4))
    next(stream)

    def broken(timeout: float) -> list[Any]:
        raise RuntimeError("no events")

    engine.events = broken  # type: ignore[method-assign]
    with pytest.raises(BackendError, match="no events"):
        stream.completion()
    with pytest.raises(BackendError):
        CompletionStream(loop, task([1]))


def test_a_sink_that_raises_is_cancelled(make_loop: MakeLoop) -> None:
    class BadSink:
        def deliver(self, events: list[Event], now: float) -> None:
            raise RuntimeError("the event loop is closed")

    loop, engine = make_loop()
    hold(engine)
    loop.submit(task([1], 100), BadSink())  # type: ignore[arg-type]
    wait_until(lambda: engine.steps > 0)
    wait_for_free_blocks(engine)
    assert engine.steps < 100
    assert CompletionStream(loop, task([2])).completion().token_ids


# -- cancelling


def test_close_cancels(make_loop: MakeLoop) -> None:
    loop, engine = make_loop()
    hold(engine)
    stream = CompletionStream(loop, task([1], 200))
    next(stream)
    stream.close()
    wait_for_free_blocks(engine)
    assert list(stream) == []
    assert engine.steps < 200


def test_a_broken_off_for_loop_cancels(make_loop: MakeLoop) -> None:
    loop, engine = make_loop()
    hold(engine)
    for _ in CompletionStream(loop, task([1], 200)):
        break
    gc.collect()
    wait_for_free_blocks(engine)
    assert engine.steps < 200


def test_a_with_block_cancels(make_loop: MakeLoop) -> None:
    loop, engine = make_loop()
    hold(engine)
    stream = CompletionStream(loop, task([1], 200))

    def leave_early() -> None:
        with stream:
            next(stream)
            raise KeyError

    with pytest.raises(KeyError):
        leave_early()
    wait_for_free_blocks(engine)
    assert list(stream) == []
    assert engine.steps < 200


def test_a_stream_that_is_never_read_cancels_when_it_is_forgotten(make_loop: MakeLoop) -> None:
    loop, engine = make_loop()
    hold(engine)
    stream = CompletionStream(loop, task([1], 200))
    wait_until(lambda: engine.steps > 0)
    del stream
    wait_for_free_blocks(engine)
    assert engine.steps < 200


def test_cancelling_within_a_prompt(make_loop: MakeLoop) -> None:
    began, go_on = threading.Event(), threading.Event()

    def wait(engine: ScriptedEngine) -> None:
        began.set()
        assert go_on.wait(5)

    loop, engine = make_loop(before_step=wait)
    stream = CompletionStream(loop, task([1] * 100, 20))
    assert began.wait(5)
    stream.close()
    go_on.set()
    wait_until(lambda: loop.load().running_requests == 0)
    wait_for_free_blocks(engine)
    assert engine.steps == 0, "the prompt was computed though nobody wanted it"


def test_cancelling_while_waiting_in_the_queue(make_loop: MakeLoop) -> None:
    loop, engine = make_loop(total_blocks=4)
    hold(engine)
    first = CompletionStream(loop, task([1], 15))
    next(first)
    events: list[Event] = []

    class Sink:
        def deliver(self, batch: list[Event], now: float) -> None:
            events.extend(batch)

    request = loop.submit(task([2], 15), Sink())  # type: ignore[arg-type]
    loop.cancel(request)
    loop.cancel(request)
    wait_until(lambda: bool(events))
    assert events == [Finished(reason="cancelled", prompt_tokens=1)]
    assert len(first.completion().token_ids) == 14


@pytest.mark.skipif(sys.platform == "win32", reason="there os.kill ends the process, whatever the signal")
def test_keyboard_interrupt_while_waiting(make_loop: MakeLoop) -> None:
    loop, engine = make_loop()
    hold(engine)
    stream = CompletionStream(loop, task([1], 250))
    timer = threading.Timer(0.1, os.kill, args=(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        stream.completion()
    timer.join()
    wait_for_free_blocks(engine)
    assert engine.steps < 250


# -- closing


def test_closing_fails_what_is_open(make_loop: MakeLoop) -> None:
    loop, engine = make_loop(total_blocks=4)
    hold(engine)
    streams = [CompletionStream(loop, task([index], 15)) for index in range(2)]
    next(streams[0])
    loop.close()
    loop.close()
    for stream in streams:
        with pytest.raises(InvalidOperationError, match="closed before the request was done"):
            stream.completion()
    with pytest.raises(InvalidOperationError, match="the model is closed"):
        CompletionStream(loop, task([1]))


def test_closing_has_nothing_to_complain_of(make_loop: MakeLoop, caplog: pytest.LogCaptureFixture) -> None:
    loop, _ = make_loop()
    CompletionStream(loop, task([1])).completion()
    loop.close()
    assert not caplog.records


@pytest.mark.alone
def test_closing_an_idle_loop_is_quick(make_loop: MakeLoop) -> None:
    loop, _ = make_loop()
    CompletionStream(loop, task([1])).completion()
    began = time.monotonic()
    loop.close()
    assert time.monotonic() - began < 0.4


def test_an_idle_loop_does_nothing(make_loop: MakeLoop) -> None:
    loop, engine = make_loop()
    CompletionStream(loop, task([1])).completion()
    wait_until(lambda: loop.load().used_block_bytes == 0)
    plans = len(engine.plans)
    before = time.process_time()
    time.sleep(0.3)
    assert len(engine.plans) == plans
    assert time.process_time() - before < 0.1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_use_after_a_fork_is_an_error(make_loop: MakeLoop) -> None:
    loop, _ = make_loop()
    stream = CompletionStream(loop, task([1]))
    stream.completion()
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def child() -> None:
        for use in (lambda: CompletionStream(loop, task([1])), lambda: loop.call(int)):
            try:
                use()
            except InvalidOperationError as error:
                answers.put(str(error))
            else:
                answers.put("no error")
        loop.close()

    process = context.Process(target=child)
    process.start()
    process.join(10)
    process.kill()  # whoever waits for threads that are not there would wait for ever
    process.join()
    assert process.exitcode == 0
    assert "forked process" in answers.get()
    assert "forked process" in answers.get()


# -- asyncio


async def test_an_async_request(make_loop: MakeLoop) -> None:
    loop, _ = make_loop()
    chunks = [chunk async for chunk in AsyncCompletionStream(loop, task([1, 2, 3]))]
    assert [token for chunk in chunks for token in chunk.token_ids] == expected_tokens([1, 2, 3], 5)
    assert chunks[-1].finish_reason == "length"


async def test_many_async_requests(make_loop: MakeLoop) -> None:
    loop, _ = make_loop()

    async def ask(index: int) -> list[int]:
        stream = AsyncCompletionStream(loop, task([index], 7))
        return [token async for chunk in stream for token in chunk.token_ids]

    answers = await asyncio.gather(*(ask(index) for index in range(30)))
    assert answers == [expected_tokens([index], 7) for index in range(30)]


async def test_aclose_cancels(make_loop: MakeLoop) -> None:
    loop, engine = make_loop()
    hold(engine)
    stream = AsyncCompletionStream(loop, task([1], 200))
    await anext(stream)
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    wait_for_free_blocks(engine)
    assert engine.steps < 200


async def test_breaking_off_cancels(make_loop: MakeLoop) -> None:
    loop, engine = make_loop()
    hold(engine)
    async for _ in AsyncCompletionStream(loop, task([1], 200)):
        break
    gc.collect()
    wait_for_free_blocks(engine)
    assert engine.steps < 200


async def test_an_async_with_block_cancels(make_loop: MakeLoop) -> None:
    loop, engine = make_loop()
    hold(engine)
    async with AsyncCompletionStream(loop, task([1], 200)) as stream:
        await anext(stream)
    wait_for_free_blocks(engine)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert engine.steps < 200


async def test_cancelling_the_reader_within_a_prompt_cancels(make_loop: MakeLoop) -> None:
    began, go_on = threading.Event(), threading.Event()

    def wait(engine: ScriptedEngine) -> None:
        began.set()
        assert go_on.wait(5)

    loop, engine = make_loop(before_step=wait)

    async def read() -> None:
        async for _ in AsyncCompletionStream(loop, task([1] * 100, 20)):
            pass

    reader = asyncio.create_task(read())
    await asyncio.to_thread(began.wait, 5)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    go_on.set()
    await asyncio.to_thread(wait_for_free_blocks, engine)
    assert engine.steps == 0


async def test_async_errors(make_loop: MakeLoop) -> None:
    loop, _ = make_loop()
    with pytest.raises(ValueError, match="outside the vocabulary"):
        await anext(AsyncCompletionStream(loop, task([5000])))


def test_a_reader_whose_event_loop_is_gone(make_loop: MakeLoop) -> None:
    loop, engine = make_loop()
    hold(engine)

    async def begin() -> AsyncCompletionStream:
        stream = AsyncCompletionStream(loop, task([1], 250))
        await anext(stream)
        return stream

    stream = asyncio.run(begin())
    wait_for_free_blocks(engine)
    assert engine.steps < 250
    del stream


def test_every_request_hears_its_end_once(make_loop: MakeLoop) -> None:
    heard: dict[int, list[Event]] = {}

    class Sink:
        def __init__(self, index: int) -> None:
            self.events = heard.setdefault(index, [])

        def deliver(self, batch: list[Event], now: float) -> None:
            self.events.extend(batch)

    loop, engine = make_loop(total_blocks=12)
    hold(engine)
    requests = [loop.submit(task([index], 3 + index % 7), Sink(index)) for index in range(30)]  # type: ignore[arg-type]
    for request in requests[::3]:
        loop.cancel(request)
    time.sleep(0.05)
    loop.close()
    assert len(heard) == 30
    for events in heard.values():
        ends = [event for event in events if isinstance(event, Finished | Failed)]
        assert len(ends) == 1
        assert events[-1] is ends[0]


def test_how_much_of_a_prompt_is_computed(make_loop: MakeLoop) -> None:
    """As of each plan, and plans are made a few times a second while a prompt goes on."""
    loop, engine = make_loop(Limits(prefill_tokens=4))
    engine.step_seconds = 0.1
    seen: list[float | None] = []

    def look(engine: ScriptedEngine) -> None:
        seen.append(stream.prompt_share if engine.steps else None)

    with loop._changed:  # nothing begins before the stream is there
        stream = CompletionStream(loop, task(list(range(1, 41)), max_tokens=3))
        assert stream.prompt_share is None
        engine.before_step = look
    stream.completion()
    known = [share for share in seen if share is not None]
    assert known == sorted(known)
    assert set(known) <= {computed / 40 for computed in range(0, 44, 4)} | {1.0}
    assert len(set(known)) > 3
    assert stream.prompt_share == 1.0
