"""Batches: order, errors of single inputs, a bound on what is under way, the instruction computed once."""

import gc
import itertools
import time
from dataclasses import replace
from typing import Any

import pytest

from ruvllm import (
    LLM,
    BatchError,
    BatchInference,
    Completion,
    ConfigError,
    ContextLengthError,
    GenerateParams,
    GenerationError,
    InvalidOperationError,
    OutOfMemoryError,
)
from ruvllm.adapters.generation import HeldAdapters
from ruvllm.config import Limits
from ruvllm.errors import OverloadedError
from ruvllm.runtime.answering import Answering
from ruvllm.runtime.events import Failed, Finished, TokenMade
from ruvllm.runtime.gathering import CompletionsInTurn
from ruvllm.runtime.request import GenerationTask, Request, Sink
from tests.chat.conftest import with_template
from tests.conftest import FIXTURES

GGUF = FIXTURES / "gguf" / "llama-gqa.gguf"
GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=6, ignore_eos=True)
INSTRUCTION = (
    "the terms and conditions of this license for copying, distribution and modification of the software "
    "and of works that are based on it, in source code or in any other form, are: "
)
INPUTS = ["you may", "copy", "naïve 日本語", "", "software"]
TOO_LONG = "license " * 300


def wait_until_idle(llm: LLM) -> None:
    """A cancelled request leaves with the next plan."""
    deadline = time.monotonic() + 5
    while (stats := llm.memory_stats()).running_requests or stats.waiting_requests:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_answers_come_in_the_order_of_the_inputs(tiny: LLM) -> None:
    answers = BatchInference(tiny, INSTRUCTION, params=GREEDY).run(INPUTS)
    assert [one.text for one in answers] == [tiny.generate(INSTRUCTION + one, GREEDY).text for one in INPUTS]
    assert BatchInference(tiny, INSTRUCTION).run([]) == []


@pytest.mark.parametrize("which", ["tiny", "real"])
@pytest.mark.real_model
def test_cached_is_uncached(which: str, request: pytest.FixtureRequest) -> None:
    llm: LLM = request.getfixturevalue(which)
    uncached = BatchInference(llm, INSTRUCTION, params=replace(GREEDY, cache_prefix=False))
    cached = BatchInference(llm, INSTRUCTION, params=GREEDY)
    expected = [one.token_ids for one in uncached.run(INPUTS)]
    assert uncached.usage.cached_tokens == 0
    assert [one.token_ids for one in cached.run(INPUTS)] == expected
    assert cached.usage.cached_tokens > 0


def test_the_instruction_is_computed_once(tiny: LLM) -> None:
    shared = len(tiny.tokenize(INSTRUCTION))
    answers = BatchInference(tiny, INSTRUCTION, params=GREEDY).run(INPUTS)
    cached = [one.usage.cached_tokens for one in answers]
    assert sum(count < shared - 2 for count in cached) == 1, cached


def test_usage_and_progress(tiny: LLM) -> None:
    batch = BatchInference(tiny, INSTRUCTION, params=GREEDY)
    calls: list[tuple[int, int]] = []
    first = batch.run(INPUTS, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 5) for done in range(1, 6)]
    second = batch.run(INPUTS)
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens"):
        assert getattr(batch.usage, name) == sum(getattr(one.usage, name) for one in first + second)


def test_a_chat_for_each_input(tiny: LLM) -> None:
    answers = BatchInference(tiny, INSTRUCTION, chat=True, params=GREEDY).run(INPUTS)
    for text, answer in zip(INPUTS, answers, strict=True):
        messages = [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": text}]
        assert answer.text == tiny.chat(messages, GREEDY).text


# -- errors


def test_one_error_loses_no_answer(tiny: LLM) -> None:
    batch = BatchInference(tiny, INSTRUCTION, params=GREEDY)
    calls: list[int] = []
    with pytest.raises(BatchError, match="1 of 3 inputs failed, the first of them input 1") as caught:
        batch.run(["you may", TOO_LONG, "copy"], progress=lambda done, total: calls.append(done))
    assert calls == [1, 2, 3]
    first, none, last = caught.value.completions
    assert none is None
    assert isinstance(caught.value.errors[1], ContextLengthError)
    expected = [tiny.generate(INSTRUCTION + text, GREEDY).text for text in ("you may", "copy")]
    assert [first.text, last.text] == expected


def test_an_error_of_the_engine_is_one_inputs(tiny: LLM) -> None:
    tiny.set_quota("small", tiny.pool_stats().block_bytes * 8)
    batch = BatchInference(tiny, "", params=GREEDY, tenant="small")
    outcomes = dict(batch.stream(["copy", "license " * 60, "you"]))
    assert isinstance(outcomes[1], OutOfMemoryError)
    assert isinstance(outcomes[0], Completion)
    assert isinstance(outcomes[2], Completion)


def test_a_closed_model_ends_the_batch() -> None:
    with LLM(GGUF) as llm:
        batch = BatchInference(llm, INSTRUCTION)
    with pytest.raises(InvalidOperationError, match="closed"):
        batch.run(INPUTS)


def test_arguments(tiny: LLM) -> None:
    with pytest.raises(ConfigError, match="max_in_flight is 0"):
        BatchInference(tiny, "", max_in_flight=0)
    with pytest.raises(ConfigError, match="max_in_flight is 0"):
        tiny.as_completed(["a"], max_in_flight=0)


# -- what is under way


def test_inputs_are_taken_as_there_is_room(tiny: LLM) -> None:
    """An endless iterable is answered for as long as somebody reads."""
    taken = 0

    def endless() -> Any:
        nonlocal taken
        for number in itertools.count():
            taken = number + 1
            yield f"item {number}"

    stream = BatchInference(tiny, INSTRUCTION, params=GREEDY, max_in_flight=3).stream(endless())
    seen = [next(stream)[0] for _ in range(20)]
    assert len(set(seen)) == 20
    assert taken <= 20 + 3
    stream.close()
    wait_until_idle(tiny)


def test_no_more_than_the_bound_are_with_the_engine(tiny: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted, ended, most = 0, 0, 0
    submit = tiny._loop.submit

    def counting(task: Any, sink: Any) -> Any:
        nonlocal submitted, most
        submitted += 1
        most = max(most, submitted - ended)
        return submit(task, sink)

    monkeypatch.setattr(tiny._loop, "submit", counting)
    for _ in BatchInference(tiny, INSTRUCTION, params=GREEDY, max_in_flight=2).stream(INPUTS * 4):
        ended += 1
    assert (submitted, ended, most) == (20, 20, 2)


def test_a_full_queue_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with LLM(GGUF, max_context=256, limits=Limits(max_running=1, max_waiting=1)) as llm:
        batch = BatchInference(llm, INSTRUCTION, params=GREEDY)
        assert len(batch.run(INPUTS * 4)) == 20
        # Full of others' requests, with none of its own to wait for.
        submit, refusals = llm._loop.submit, iter(range(3))

        def full(task: Any, sink: Any) -> Any:
            if next(refusals, None) is not None:
                raise OverloadedError.full(waiting=1, retry_after_seconds=1.0)
            return submit(task, sink)

        monkeypatch.setattr(llm._loop, "submit", full)
        assert len(batch.run(INPUTS)) == 5
        assert next(refusals, None) is None


def test_they_come_as_they_end() -> None:
    """One that ends early does not wait for an older one, nor does an error end the others."""
    sinks: list[Sink] = []

    class Loop:
        def submit(self, task: GenerationTask, sink: Sink) -> Request:
            sinks.append(sink)
            return Request(len(sinks), task, sink, 0.0, HeldAdapters(()))

        def cancel(self, request: Request) -> None:
            raise AssertionError("nothing is cancelled here")

    def make(prompt: int) -> Answering:
        return Answering(choices=(GenerationTask(token_ids=[prompt], params=GREEDY, max_tokens=2),))

    outcomes = CompletionsInTurn(Loop(), range(4), make, max_in_flight=3)  # type: ignore[arg-type]
    assert outcomes._fill()
    assert len(sinks) == 3
    sinks[2].deliver([TokenMade(token_id=7, text="last"), Finished(reason="stop")], 1.0)
    sinks[0].deliver([TokenMade(token_id=8, text="first")], 1.0)
    assert next(outcomes)[0] == 2
    failure = GenerationError("broken")
    sinks[1].deliver([Failed(error=failure)], 2.0)
    assert next(outcomes) == (1, failure)
    assert len(sinks) == 4
    sinks[0].deliver([Finished(reason="stop", text=" end")], 3.0)
    index, outcome = next(outcomes)
    assert (index, outcome.text, outcome.token_ids) == (0, "first end", (8,))  # type: ignore[union-attr]
    sinks[3].deliver([Finished(reason="length")], 4.0)
    assert next(outcomes)[0] == 3
    assert list(outcomes) == []


def test_leaving_the_loop_cancels(tiny: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[int] = []
    cancel = tiny._loop.cancel

    def listening(request: Request) -> None:
        cancelled.append(request.request_id)
        cancel(request)

    monkeypatch.setattr(tiny._loop, "cancel", listening)
    with tiny.as_completed(["you"] * 80, GREEDY) as outcomes:
        next(outcomes)
    assert len(set(cancelled)) == 79
    assert list(outcomes) == []
    # Whoever forgets them leaves the loop, too.
    next(tiny.as_completed(["you"] * 80, GREEDY))
    gc.collect()
    assert len(set(cancelled)) == 2 * 79
    wait_until_idle(tiny)


def test_an_outcome_is_the_completion(tiny: LLM) -> None:
    params = replace(GREEDY, logprobs=2)
    ((index, outcome),) = tiny.as_completed(["the terms"], params)
    alone = tiny.generate("the terms", params)
    assert index == 0
    assert isinstance(outcome, Completion)
    assert (outcome.text, outcome.token_ids, outcome.logprobs) == (
        alone.text,
        alone.token_ids,
        alone.logprobs,
    )
    assert outcome.timings.total_seconds >= outcome.timings.first_token_seconds > 0


def test_conversations_and_tokens_too(tiny: LLM) -> None:
    with_template(tiny)
    message = [{"role": "user", "content": "Hi"}]
    outcomes = dict(tiny.as_completed([message, [5, 6, 7], "you"], GREEDY))
    assert outcomes[0].token_ids == tiny.chat(message, GREEDY).token_ids
    assert outcomes[1].token_ids == tiny.generate([5, 6, 7], GREEDY).token_ids


def test_an_error_of_the_iterable_is_the_callers(tiny: LLM) -> None:
    def breaks() -> Any:
        yield "you"
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        BatchInference(tiny, INSTRUCTION, params=GREEDY).run(breaks())
    with pytest.raises(LookupError, match="no more"):
        list(tiny.as_completed(breaks(), GREEDY))
