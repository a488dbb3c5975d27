"""An engine that gives answers token by token, behind the loop: ends, stops, cancels, errors."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ruvllm import GenerateParams
from ruvllm.backends.streaming_engine import Ended, Made, StreamingEngine, TokenStream
from ruvllm.config import Limits
from ruvllm.errors import BackendError, InvalidOperationError
from ruvllm.runtime.events import Event, Finished
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.request import EvaluationTask, GenerationTask
from ruvllm.runtime.scheduler import Scheduler
from ruvllm.runtime.streams import CompletionStream

LETTERS = [bytes([code]) for code in range(ord("a"), ord("z") + 1)]


def letters(task: GenerationTask) -> TokenStream:
    """The alphabet, from the prompt's last token on."""
    for made in range(task.max_tokens):
        token = (task.token_ids[-1] + made) % 26
        yield Made(token_id=token, piece=LETTERS[token])
    yield Ended(reason="length", completion_tokens=task.max_tokens)


@contextmanager
def loop_over(begin: Callable[[GenerationTask], TokenStream], places: int = 4) -> Iterator[EngineLoop]:
    loop = EngineLoop(
        StreamingEngine(begin, max_running=places, max_context=1000),
        scheduler=Scheduler(Limits(max_running=places), preempts=False),
    )
    try:
        yield loop
    finally:
        loop.close()


def task(
    first: int = 0, *, max_tokens: int = 5, tenant: str = "", priority: int = 0, stop: str = ""
) -> GenerationTask:
    params = GenerateParams(max_tokens=max_tokens, stop_sequences=(stop,) if stop else ())
    return GenerationTask(
        token_ids=[first], params=params, max_tokens=max_tokens, tenant=tenant, priority=priority
    )


def test_an_answer() -> None:
    with loop_over(letters) as loop:
        completion = CompletionStream(loop, task(2)).completion()
    assert (completion.text, completion.token_ids) == ("cdefg", (2, 3, 4, 5, 6))
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (1, 5)


def test_a_stop_sequence_over_tokens_ends_it_and_closes_the_stream() -> None:
    closed = threading.Event()

    def begin(one: GenerationTask) -> TokenStream:
        try:
            yield from letters(one)
        finally:
            closed.set()

    with loop_over(begin) as loop:
        completion = CompletionStream(loop, task(max_tokens=20, stop="ef")).completion()
        assert closed.wait(5)
    assert (completion.text, completion.finish_reason) == ("abcd", "stop")
    assert completion.usage.completion_tokens == 6


def test_many_at_a_time_each_has_its_own() -> None:
    with loop_over(letters, places=3) as loop:
        streams = [CompletionStream(loop, task(first)) for first in range(20)]
        texts = [stream.completion().text for stream in streams]
    assert texts == [b"".join(LETTERS[(first + at) % 26] for at in range(5)).decode() for first in range(20)]


def waiting_for(gate: threading.Event, begun: list[int]) -> Callable[[GenerationTask], TokenStream]:
    def begin(one: GenerationTask) -> TokenStream:
        begun.append(one.token_ids[0])
        yield Made(token_id=one.token_ids[0], piece=b"x")
        gate.wait(20)
        yield Ended(reason="stop", completion_tokens=1)

    return begin


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_tenants_have_their_turns_and_nobody_is_set_aside() -> None:
    gate, begun = threading.Event(), list[int]()
    with loop_over(waiting_for(gate, begun), places=1) as loop:
        streams = [CompletionStream(loop, task(0, tenant="many"))]
        until(lambda: begun == [0])
        streams += [CompletionStream(loop, task(number, tenant="many")) for number in (1, 2)]
        streams += [
            CompletionStream(loop, task(3, tenant="one")),
            CompletionStream(loop, task(4, priority=1)),
        ]
        time.sleep(0.1)
        assert begun == [0]
        gate.set()
        assert {stream.completion().finish_reason for stream in streams} == {"stop"}
        # First the higher rank; then the tenants have turns, however many the first one's were before.
        assert begun == [0, 4, 1, 3, 2]
        assert loop.load().preemptions == 0


def test_one_that_nobody_wants_ends_between_two_tokens() -> None:
    made = []

    def begin(one: GenerationTask) -> TokenStream:
        for token in range(10_000):
            made.append(token)
            time.sleep(0.002)
            yield Made(token_id=token, piece=b"x")
        yield Ended(reason="length", completion_tokens=10_000)

    with loop_over(begin) as loop:
        stream = CompletionStream(loop, task(max_tokens=900))
        next(stream)
        stream.close()
        until(lambda: not loop.load().running_requests)
        count = len(made)
        time.sleep(0.05)
        assert len(made) == count


class _Panic(BaseException):
    """As PyO3's, which is no `Exception`."""


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (InvalidOperationError("not so"), InvalidOperationError, "not so"),
        (KeyError("what"), BackendError, "ended by an error of the engine: KeyError"),
        (_Panic("there"), BackendError, "_Panic"),
    ],
)
def test_an_error_is_its_requests_alone(
    error: BaseException, expected: type[Exception], message: str
) -> None:
    def begin(one: GenerationTask) -> TokenStream:
        if one.token_ids[0] == 1:
            raise error
        yield from letters(one)

    with loop_over(begin) as loop:
        broken, whole = CompletionStream(loop, task(1)), CompletionStream(loop, task(0))
        with pytest.raises(expected, match=message):
            broken.completion()
        assert whole.completion().text == "abcde"
        assert loop.failure is None


def test_a_stream_without_an_end_is_an_error() -> None:
    def begin(one: GenerationTask) -> TokenStream:
        yield Made(token_id=1, piece=b"x")

    with loop_over(begin) as loop, pytest.raises(BackendError, match="broke off"):
        CompletionStream(loop, task()).completion()


def test_evaluations_are_refused() -> None:
    engine = StreamingEngine(letters, max_running=1, max_context=10)
    with pytest.raises(InvalidOperationError, match="makes tokens"):
        engine.add(EvaluationTask(token_ids=[1], kind="logits"))
    engine.close()


def test_closing_ends_what_runs() -> None:
    gate, begun = threading.Event(), list[int]()
    with loop_over(waiting_for(gate, begun)) as loop:
        stream = CompletionStream(loop, task())
        until(lambda: bool(begun))
        threading.Timer(0.1, gate.set).start()
        loop.close()
        with pytest.raises(InvalidOperationError, match="closed before"):
            stream.completion()


def test_what_comes_after_the_end_does_not_begin() -> None:
    """The loop may be between `add` and `advance` as somebody closes."""
    begun: list[int] = []
    engine = StreamingEngine(waiting_for(threading.Event(), begun), max_running=4, max_context=10)
    before = engine.add(task(1))
    engine.close()
    after = engine.add(task(2))
    engine.advance([], 1)
    ended = dict[int, Event]()
    until(lambda: bool(ended.update(engine.events(0.1))) or len(ended) == 2)
    assert {one.reason for one in (ended[before], ended[after]) if isinstance(one, Finished)} == {"cancelled"}
    assert not begun


def test_an_answers_own_thread_closes_it() -> None:
    """Whoever forgets a model last closes it, wherever that is."""
    engines: list[StreamingEngine] = []
    closed = threading.Event()

    def begin(one: GenerationTask) -> TokenStream:
        yield Made(token_id=1, piece=b"x")
        engines[0].close()
        closed.set()
        yield Ended(reason="stop", completion_tokens=1)

    engines.append(StreamingEngine(begin, max_running=1, max_context=10))
    engines[0].add(task())
    engines[0].advance([], 1)
    assert closed.wait(5)


def test_it_is_closed_by_whoever_is_inside_it() -> None:
    engine = StreamingEngine(letters, max_running=1, max_context=10)

    def close_inside() -> None:
        with engine._changed:
            engine.close()

    thread = threading.Thread(target=close_inside, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_a_thread_that_does_not_start_is_its_requests_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse_once(thread: threading.Thread) -> None:
        if thread.name.startswith("ruvllm-answer"):
            monkeypatch.undo()
            raise RuntimeError("can't start new thread")
        start(thread)

    with loop_over(letters) as loop:
        monkeypatch.setattr(threading.Thread, "start", refuse_once)
        with pytest.raises(BackendError, match="got no thread: can't start new thread"):
            CompletionStream(loop, task()).completion()
        assert CompletionStream(loop, task()).completion().text == "abcde"
        assert loop.failure is None


def test_an_engine_that_shows_no_steps_does_not_say_how_far_it_is() -> None:
    may_begin = threading.Event()

    def begin(one: GenerationTask) -> TokenStream:
        may_begin.wait(10)
        yield from letters(one)

    with loop_over(begin) as loop:
        stream = CompletionStream(loop, task())
        try:
            while not loop.load().running_requests:
                time.sleep(0.01)
            time.sleep(0.1)
            assert stream.prompt_share is None
        finally:
            may_begin.set()
        stream.completion()
    assert stream.prompt_share == 1.0  # that much is known by its tokens
