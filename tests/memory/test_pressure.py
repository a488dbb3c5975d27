"""Too much to do for the memory or the queue: who waits, who goes first, who is told to come back."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ruvllm.config import Limits
from ruvllm.errors import ConfigError, InvalidOperationError, OutOfMemoryError, OverloadedError
from ruvllm.llm import LLM
from ruvllm.params import GenerateParams
from ruvllm.runtime.loop import IDLE_SECONDS, EngineLoop
from ruvllm.runtime.request import GenerationTask
from ruvllm.runtime.scheduler import Scheduler
from ruvllm.runtime.streams import CompletionStream
from tests.conftest import FIXTURES
from tests.support.scripted_engine import ScriptedEngine, expected_tokens

MakeLoop = Callable[..., tuple[EngineLoop, ScriptedEngine]]


@pytest.fixture
def make_loop() -> Iterator[MakeLoop]:
    loops: list[EngineLoop] = []

    def make(
        limits: Limits | None = None,
        swap_bytes: int = 0,
        clock: Callable[[], float] = time.perf_counter,
        **settings: Any,
    ) -> tuple[EngineLoop, ScriptedEngine]:
        engine = ScriptedEngine(**settings)
        scheduler = Scheduler(limits or Limits())
        loop = EngineLoop(engine, scheduler=scheduler, swap_bytes=swap_bytes, clock=clock)  # type: ignore[arg-type]
        loops.append(loop)
        return loop, engine

    yield make
    for loop in loops:
        loop.close()


def task(prompt: list[int], max_tokens: int, tenant: str = "", priority: int = 0) -> GenerationTask:
    return GenerationTask(
        token_ids=prompt, params=GenerateParams(), max_tokens=max_tokens, tenant=tenant, priority=priority
    )


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def test_requests_that_outgrow_the_memory_take_turns_and_lose_nothing(make_loop: MakeLoop) -> None:
    loop, engine = make_loop(Limits(growth_tokens=4), total_blocks=12)
    streams = [CompletionStream(loop, task([number, 7], 30)) for number in range(6)]
    for number, stream in enumerate(streams):
        assert stream.completion().token_ids == tuple(expected_tokens([number, 7], 30))
    assert engine.preempted
    assert not any(swap for _, swap in engine.preempted)
    assert loop.load().preemptions == len(engine.preempted)


def test_their_blocks_are_swapped_where_there_is_room(make_loop: MakeLoop) -> None:
    # 100 bytes a block are copied in no time, so that swapping always costs less.
    loop, engine = make_loop(Limits(growth_tokens=4), swap_bytes=10_000, total_blocks=12)
    streams = [CompletionStream(loop, task([number, 7], 30)) for number in range(6)]
    for number, stream in enumerate(streams):
        assert stream.completion().token_ids == tuple(expected_tokens([number, 7], 30))
    assert engine.preempted
    assert all(swap for _, swap in engine.preempted)


def test_what_is_swapped_stays_within_its_room(make_loop: MakeLoop) -> None:
    loop, engine = make_loop(Limits(growth_tokens=4), swap_bytes=500, total_blocks=12)
    swapped: list[int] = []
    engine.before_step = lambda engine: swapped.append(engine.status().swapped_bytes)
    streams = [CompletionStream(loop, task([number, 7], 30)) for number in range(6)]
    for number, stream in enumerate(streams):
        assert stream.completion().token_ids == tuple(expected_tokens([number, 7], 30))
    assert 0 < max(swapped) <= 500
    # Some found no room any more, and were computed anew.
    assert {swap for _, swap in engine.preempted} == {False, True}


def test_an_urgent_request_overtakes_those_who_wait_and_those_who_run(make_loop: MakeLoop) -> None:
    loop, engine = make_loop(Limits(max_running=2), step_seconds=0.002)
    slow = [CompletionStream(loop, task([number], 200)) for number in range(4)]
    next(slow[0])
    urgent = CompletionStream(loop, task([9], 5, priority=1))
    assert urgent.completion().token_ids == tuple(expected_tokens([9], 5))
    assert engine.preempted == [(2, False)]
    for stream in slow:
        stream.close()


def test_a_tenant_with_many_requests_does_not_hold_up_another(make_loop: MakeLoop) -> None:
    loop, _ = make_loop(Limits(max_running=2), step_seconds=0.002)
    many = [CompletionStream(loop, task([number], 20, tenant="many")) for number in range(30)]
    few = CompletionStream(loop, task([9], 20, tenant="few"))
    few.completion()
    # Of the thirty, those who were in before and few more are done.
    assert loop.load().waiting_requests > 20
    for stream in many:
        stream.close()


def test_a_full_queue_refuses_and_says_when_to_come_back(make_loop: MakeLoop) -> None:
    now = [0.0]

    def half_a_second(engine: ScriptedEngine) -> None:
        now[0] += 0.5

    limits = Limits(max_running=1, max_waiting=2)
    loop, engine = make_loop(limits, clock=lambda: now[0], before_step=half_a_second, step_seconds=0.005)
    streams = [CompletionStream(loop, task([1], 100))]
    next(streams[0])
    plans = len(engine.plans)
    streams += [CompletionStream(loop, task([2], answer)) for answer in (5, 15)]
    wait_until(lambda: len(engine.plans) > plans)
    # Two tokens a second were measured, and those who wait take eleven on average.
    with pytest.raises(OverloadedError, match="2 requests wait already; try again in 6 s") as refused:
        CompletionStream(loop, task([3], 5))
    assert refused.value.retry_after_seconds == pytest.approx(5.5)
    # Whoever leaves makes room.
    streams[1].close()
    wait_until(lambda: loop.load().waiting_requests <= 1)
    streams.append(CompletionStream(loop, task([3], 5)))
    for stream in streams:
        stream.close()


def test_too_many_waiting_tokens_are_refused(make_loop: MakeLoop) -> None:
    loop, _ = make_loop(Limits(max_running=1, max_waiting_tokens=10), step_seconds=0.005)
    first = CompletionStream(loop, task([1], 100))
    next(first)
    second = CompletionStream(loop, task([2] * 8, 5))
    with pytest.raises(OverloadedError):
        CompletionStream(loop, task([3] * 3, 5))
    first.close()
    second.close()


def test_what_never_fits_is_refused_and_the_others_go_on(make_loop: MakeLoop) -> None:
    loop, _ = make_loop(total_blocks=5)
    large, small = CompletionStream(loop, task([1], 20)), CompletionStream(loop, task([2], 5))
    with pytest.raises(OutOfMemoryError, match="room for 21 tokens, and there is room for 20"):
        large.completion()
    assert small.completion().token_ids == tuple(expected_tokens([2], 5))
    loop.set_quotas({"a": 300})
    limited = CompletionStream(loop, task([1], 12, tenant="a/b"))
    with pytest.raises(OutOfMemoryError, match="room for 13 tokens, and there is room for 12"):
        limited.completion()


def test_calls_run_between_plans_in_the_engine_s_thread(make_loop: MakeLoop) -> None:
    loop, engine = make_loop(step_seconds=0.002)
    stream = CompletionStream(loop, task([1], 200))
    next(stream)
    # `status` fails in any other thread.
    assert loop.call(engine.status).total_blocks == 64
    assert loop.call(lambda: threading.current_thread().name) == "ruvllm-engine"

    def fail() -> None:
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        loop.call(fail)
    stream.close()
    loop.close()
    with pytest.raises(InvalidOperationError, match="closed"):
        loop.call(engine.status)


def test_an_idle_engine_gives_memory_back_once(make_loop: MakeLoop) -> None:
    loop, engine = make_loop()
    CompletionStream(loop, task([1], 5)).completion()
    assert engine.trims == 0
    time.sleep(IDLE_SECONDS + 0.2)
    assert engine.trims == 1
    time.sleep(IDLE_SECONDS + 0.2)
    assert engine.trims == 1


def test_a_list_may_be_longer_than_the_queue() -> None:
    limits = Limits(max_running=2, max_waiting=3)
    prompts = [[1 + index % 7, 5, 9] for index in range(40)]
    params = GenerateParams(max_tokens=3, temperature=0)
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf", max_context=256, limits=limits) as llm:
        together = llm.generate(prompts, params)
        alone = [llm.generate(prompt, params) for prompt in prompts[:7]]
    assert [one.text for one in together[:7]] == [one.text for one in alone]
    assert len(together) == 40
