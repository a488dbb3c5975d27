"""One engine for many tenants: who opens and drops, fills slots, blocks or the queue, or calls itself urgent.

The engine is real, the model tiny; what is asked is who is done before whom, so that no clock decides.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ruvllm import LLM, GenerateParams
from ruvllm.config import Limits
from ruvllm.errors import OverloadedError
from ruvllm.outputs import Completion
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.request import GenerationTask
from ruvllm.runtime.scheduler import Scheduler
from ruvllm.runtime.streams import CompletionStream
from tests.conftest import FIXTURES
from tests.support.scripted_engine import ScriptedEngine, expected_tokens

GGUF = FIXTURES / "gguf" / "llama-gqa.gguf"
LONG = GenerateParams(max_tokens=200, temperature=0.0, ignore_eos=True, cache_prefix=False)
SHORT = GenerateParams(max_tokens=8, temperature=0.0, ignore_eos=True, cache_prefix=False)


def prompt(number: int, length: int = 6) -> list[int]:
    return [3 + (number * 31 + index * 7) % 200 for index in range(length)]


@pytest.fixture
def make_llm() -> Iterator[Callable[..., LLM]]:
    opened: list[LLM] = []

    def make(**settings: Any) -> LLM:
        opened.append(LLM(GGUF, **({"max_context": 256} | settings)))
        return opened[-1]

    yield make
    for llm in opened:
        llm.close()


def alone(llm: LLM, tokens: list[int], params: GenerateParams) -> tuple[int, ...]:
    answer = llm.generate(tokens, params)
    assert isinstance(answer, Completion)
    return answer.token_ids


@pytest.mark.parametrize("callers", [1, 4])
def test_whoever_opens_and_drops_holds_up_nobody(callers: int) -> None:
    """Between every two steps somebody leaves and somebody comes; each step makes the stream's token."""
    engine = ScriptedEngine(total_blocks=4000, step_seconds=0.001)
    loop = EngineLoop(engine, scheduler=Scheduler(Limits()))  # type: ignore[arg-type]
    ends = threading.Event()

    def task(number: int, tenant: str, max_tokens: int) -> GenerationTask:
        return GenerationTask(
            token_ids=[number % 900] * 300, params=GenerateParams(), max_tokens=max_tokens, tenant=tenant
        )

    def open_and_drop(caller: int) -> None:
        number = caller
        while not ends.is_set():
            CompletionStream(loop, task(number, "leaver", 500)).close()
            number += callers
            # Half a step: callers that never wait take one another's turn at Python's lock, and all steps'.
            time.sleep(engine.step_seconds / 2)

    threads = [threading.Thread(target=open_and_drop, args=(caller,)) for caller in range(callers)]
    try:
        stream = CompletionStream(loop, task(7, "stream", 200))
        next(stream)
        for thread in threads:
            thread.start()
        steps = engine.steps
        tokens = [token for chunk in stream for token in chunk.token_ids]
        # One token a step; more steps only for prompts that nobody wanted in the end.
        assert engine.steps - steps <= 225
        assert tokens == expected_tokens([7] * 300, 200)[1:]
    finally:
        ends.set()
        for thread in threads:
            thread.join()
        deadline = time.monotonic() + 10
        while engine.free_blocks < engine.total_blocks:
            assert time.monotonic() < deadline, "blocks of those who left are held"
            time.sleep(0.005)
        loop.close()


def test_fault_2_one_tenants_requests_leave_slots_to_others(make_llm: Callable[..., LLM]) -> None:
    llm = make_llm(limits=Limits(max_running=4), max_context=512)
    longest = replace(LONG, max_tokens=480)
    expected = [alone(llm, prompt(number), longest) for number in range(8)]
    bobs = alone(llm, prompt(99), SHORT)
    alice = [llm.stream(prompt(number), longest, tenant="alice") for number in range(8)]
    next(alice[0])
    bob = llm.stream(prompt(99), SHORT, tenant="bob").completion()
    assert bob.token_ids == bobs
    # Four of hers have not even begun: her slots were taken by eight of hers in turn, had he had to wait.
    assert llm.memory_stats().waiting_requests >= 2
    answers = [stream.completion() for stream in alice[1:]]
    assert [answer.token_ids for answer in answers] == expected[1:]
    assert llm.memory_stats().preemptions >= 1


def test_fault_2_one_tenants_requests_leave_blocks_to_others(make_llm: Callable[..., LLM]) -> None:
    llm = make_llm(kv_cache_bytes=2 << 20)
    room = llm.pool_stats().total_blocks * 16
    length = 240
    count = 2 * room // length + 2
    expected = alone(llm, prompt(0, length), SHORT)
    alice = [
        llm.stream(prompt(0, length), SHORT if number == 0 else LONG, tenant="alice")
        for number in range(count)
    ]
    bob = llm.stream(prompt(99, 40), SHORT, tenant="bob").completion()
    assert len(bob.token_ids) == 8
    assert alice[0].completion().token_ids == expected
    for stream in alice:
        stream.close()


def test_fault_3_urgency_counts_among_a_tenants_own(make_llm: Callable[..., LLM]) -> None:
    llm = make_llm(limits=Limits(max_running=4))
    expected = alone(llm, prompt(50), LONG)
    bob = llm.stream(prompt(50), LONG, tenant="bob")
    next(bob)
    loop = llm._open.loop
    urgent = [
        CompletionStream(
            loop,
            GenerationTask(
                token_ids=prompt(number), params=LONG, max_tokens=200, tenant="alice", priority=1000, rank=0
            ),
        )
        for number in range(12)
    ]
    completion = bob.completion()
    assert completion.token_ids == expected[1:]
    # Nobody was set aside, and he was done before those who came later than the first four.
    assert (llm.memory_stats().waiting_requests >= 1, llm.memory_stats().preemptions) == (True, 0)
    for stream in urgent:
        stream.close()


def test_a_rank_that_a_key_allows_counts_between_tenants(make_llm: Callable[..., LLM]) -> None:
    llm = make_llm(limits=Limits(max_running=2), max_context=512)
    longest = replace(LONG, max_tokens=500)
    slow = [llm.stream(prompt(number), longest, tenant=f"tenant-{number}") for number in range(2)]
    next(slow[0])
    urgent = llm.stream(prompt(9), SHORT, tenant="urgent", priority=5)
    assert len(urgent.completion().token_ids) == 8
    # One of the two made room, and goes on from where it was; the first's first token is taken already.
    assert llm.memory_stats().preemptions >= 1
    assert [len(stream.completion().token_ids) for stream in slow] == [499, 500]


def test_fault_4_a_full_queue_has_room_for_those_who_have_little_in_it(make_llm: Callable[..., LLM]) -> None:
    llm = make_llm(limits=Limits(max_running=1, max_waiting=4))
    carol = [llm.stream(prompt(number), LONG, tenant="carol") for number in range(1)]
    next(carol[0])
    carol += [llm.stream(prompt(number), LONG, tenant="carol") for number in range(4)]
    with pytest.raises(OverloadedError, match="4 requests wait already"):
        llm.stream(prompt(9), LONG, tenant="carol")
    bob = [llm.stream(prompt(number), SHORT, tenant="bob") for number in range(2)]
    with pytest.raises(OverloadedError):
        llm.stream(prompt(9), SHORT, tenant="bob")
    dave = llm.stream(prompt(5), SHORT, tenant="dave")
    for stream in (*bob, dave):
        assert len(stream.completion().token_ids) == 8
    for stream in carol:
        stream.close()


def test_fault_4_waiting_tokens_are_shared_likewise(make_llm: Callable[..., LLM]) -> None:
    llm = make_llm(limits=Limits(max_running=1, max_waiting_tokens=100))
    carol = [llm.stream(prompt(0), LONG, tenant="carol")]
    next(carol[0])
    carol.append(llm.stream(prompt(1, 90), LONG, tenant="carol"))
    with pytest.raises(OverloadedError):
        llm.stream(prompt(2, 20), LONG, tenant="carol")
    bob = llm.stream(prompt(3, 40), SHORT, tenant="bob")
    assert len(bob.completion().token_ids) == 8
    for stream in carol:
        stream.close()
