"""Several answers to one prompt in one call: `n`, against requests that are asked one by one."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ruvllm import (
    LLM,
    AsyncEngine,
    BatchInference,
    ChatSession,
    Completion,
    ConfigError,
    GenerateParams,
    Limits,
    RagPipeline,
    ToolConversation,
)
from ruvllm.adapters.generation import HeldAdapters
from ruvllm.backends import NativeBackend
from ruvllm.errors import GenerationError, OverloadedError
from ruvllm.outputs import Usage
from ruvllm.runtime.answering import Answering
from ruvllm.runtime.events import Failed, Finished, TokenMade
from ruvllm.runtime.gathering import CompletionsInTurn
from ruvllm.runtime.request import GenerationTask, Request, Sink
from tests.attacks.marked_model import CONTROL, write_marked_model
from tests.chat.conftest import with_template
from tests.conftest import FIXTURES

TINY = FIXTURES / "gguf" / "llama-gqa.gguf"
PROMPT = "The terms of this license, of which there are many, and of which this is one of the longer ones"
WARM = GenerateParams(temperature=1.5, max_tokens=8, seed=5, ignore_eos=True)


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(TINY, max_context=256) as llm:
        yield with_template(llm)


def tokens(completion: Completion) -> list[tuple[int, ...]]:
    return [one.token_ids for one in completion.choices]


def one_by_one(llm: LLM, count: int, prompt: str = PROMPT) -> list[tuple[int, ...]]:
    """The answers to the seeds that the choices have."""
    return [llm.generate(prompt, WARM, seed=5 + index).token_ids for index in range(count)]


def test_each_choice_is_the_answer_to_a_seed_of_its_own(llm: LLM) -> None:
    made = llm.generate(PROMPT, WARM, n=4)
    assert tokens(made) == one_by_one(llm, 4)
    assert len({*tokens(made)}) == 4
    assert made.choices[0] is made
    assert made.text == made.choices[0].text == llm.generate(PROMPT, WARM).text
    assert [one.prompt for one in made.choices] == [PROMPT] * 4
    assert all(len(one.choices) == 1 for one in made.other_choices)
    # The same again, as every request with a seed.
    assert tokens(llm.generate(PROMPT, WARM, n=4)) == tokens(made)


def test_one_answer_is_its_only_choice(llm: LLM) -> None:
    made = llm.generate(PROMPT, WARM)
    assert made.choices == (made,)
    assert made.usage_of_choices == made.usage


def test_the_largest_seed_goes_round(llm: LLM) -> None:
    last = 2**64 - 1
    made = llm.generate(PROMPT, WARM, seed=last, n=2)
    assert tokens(made) == [llm.generate(PROMPT, WARM, seed=seed).token_ids for seed in (last, 0)]


def test_without_a_seed_each_draws_anew(llm: LLM) -> None:
    assert len({*tokens(llm.generate(PROMPT, WARM, seed=None, n=4))}) == 4


def test_the_prompt_is_computed_once() -> None:
    """By the rows that went through the model, as its engine counts them, and as each answer was told."""
    with LLM(TINY, max_context=256, speculation="off") as llm:
        length = len(llm.tokenize(PROMPT))
        made = llm.generate(PROMPT, WARM, n=5, max_tokens=4)
        rows = llm._open.loop._engine.status().rows
    # A last token is sampled and never computed; of a prompt that is there the last one is computed again.
    assert length + 5 * 3 <= rows <= length + 5 * 3 + 4 * 16
    cached = [one.usage.cached_tokens for one in made.choices]
    assert cached[0] == 0
    assert min(cached[1:]) >= length - 16
    told = made.usage_of_choices
    assert (told.prompt_tokens, told.completion_tokens, told.cached_tokens) == (length, 20, 0)
    assert told.total_tokens == length + 20


def test_usage_of_choices_adds_answers_and_guesses() -> None:
    usages = [
        Usage(
            prompt_tokens=9,
            completion_tokens=count,
            cached_tokens=cached,
            drafted_tokens=2,
            accepted_tokens=1,
        )
        for count, cached in ((3, 1), (4, 8))
    ]
    assert Usage.of_choices(usages) == Usage(
        prompt_tokens=9, completion_tokens=7, cached_tokens=1, drafted_tokens=4, accepted_tokens=2
    )


def test_of_many_prompts_each_has_its_own(llm: LLM) -> None:
    prompts = [PROMPT, "you", "a copy of the"]
    counts = [2, 1, 3]
    made = llm.generate(prompts, [GenerateParams(n=n, seed=5) for n in counts], **plain(WARM))
    expected = [one_by_one(llm, n, prompt) for prompt, n in zip(prompts, counts, strict=True)]
    assert [tokens(one) for one in made] == expected


def plain(params: GenerateParams) -> Any:
    return {name: getattr(params, name) for name in ("temperature", "max_tokens", "ignore_eos")}


def test_more_than_fit_at_a_time() -> None:
    """Those for which there is no room wait, here and not in the engine's queue."""
    with LLM(TINY, max_context=256, limits=Limits(max_running=2, max_waiting=3)) as llm:
        assert tokens(llm.generate(PROMPT, WARM, n=12)) == one_by_one(llm, 12)
        outcomes = dict(llm.as_completed([PROMPT, "you"], WARM, n=3, max_in_flight=2))
        assert [tokens(outcomes[index]) for index in range(2)] == [  # type: ignore[arg-type]
            one_by_one(llm, 3),
            one_by_one(llm, 3, "you"),
        ]


async def test_awaited(llm: LLM) -> None:
    expected = one_by_one(llm, 3)
    engine = AsyncEngine(llm)
    assert tokens(await llm.agenerate(PROMPT, WARM, n=3)) == expected
    assert tokens(await engine.generate(PROMPT, WARM, n=3)) == expected
    both = await engine.generate([PROMPT, "you"], WARM, n=3)
    assert [tokens(one) for one in both] == [expected, one_by_one(llm, 3, "you")]
    chats = tokens(llm.chat(PROMPT, WARM, n=2))
    assert tokens(await engine.chat(PROMPT, WARM, n=2)) == chats
    assert [tokens(one) for one in await engine.chat([PROMPT], WARM, n=2)] == [chats]


async def test_cancelling_ends_all_of_them(llm: LLM) -> None:
    waiting = asyncio.ensure_future(llm.agenerate(PROMPT, WARM, n=6, max_tokens=200))
    deadline = time.monotonic() + 60
    while llm.memory_stats().running_requests < 2:
        assert time.monotonic() < deadline, "no two of them ever ran together"
        assert not waiting.done(), "they were done before"
        await asyncio.sleep(0.001)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    for _ in range(2000):
        if not (llm.memory_stats().running_requests or llm.memory_stats().waiting_requests):
            break
        await asyncio.sleep(0.005)
    assert (llm.memory_stats().running_requests, llm.memory_stats().waiting_requests) == (0, 0)


# -- conversations


def test_of_a_conversation_each_answer_is_read_by_itself() -> None:
    schema = {"properties": {"x": {"enum": [1, 2, 3, 4]}}, "required": ["x"], "additionalProperties": False}
    asked: Any = {
        "tools": [{"name": "add", "parameters": {"type": "object", **schema}}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }
    params = GenerateParams(temperature=3.0, seed=1, max_tokens=150)
    with LLM(TINY) as narrow:
        llm = with_template(narrow)
        answer = llm.chat("a", params, n=3, **asked)
        alone = [llm.chat("a", params, seed=1 + index, **asked) for index in range(3)]
    called = [[(call.name, call.arguments) for call in one.tool_calls] for one in answer.choices]
    assert called == [[(call.name, call.arguments) for call in one.tool_calls] for one in alone]
    assert all(len(calls) == 1 and calls[0][0] == "add" for calls in called), called
    assert len({call.id for one in answer.choices for call in one.tool_calls}) == 3
    assert [one.text for one in answer.choices] == [""] * 3


def test_a_chat_and_its_choices(llm: LLM) -> None:
    made = llm.chat(PROMPT, WARM, n=3)
    assert tokens(made) == [llm.chat(PROMPT, WARM, seed=5 + index).token_ids for index in range(3)]
    first, _ = llm.chat([PROMPT, "you"], WARM, n=3)
    assert tokens(first) == tokens(made)


def test_feedback_may_come_for_each_choice(llm: LLM) -> None:
    sona = llm.learn(tenant="choices")
    made = sona.generate(PROMPT, WARM, n=3)
    names = [one.completion_id for one in made.choices]
    assert len({*names}) == 3
    for name in names:
        assert name is not None
        assert sona.feedback(name, 1.0).samples_used == 1
    # By its text as well, whichever of them it is.
    again = sona.generate(PROMPT, WARM, n=3)
    assert sona.instant_adapt(PROMPT, again.choices[2].text, 1.0).samples_used == 1


def test_a_batch_counts_the_prompt_of_all_choices_once(llm: LLM) -> None:
    batch = BatchInference(llm, "Say: ", params=WARM, n=3)
    [made] = batch.run(["it"])
    assert len(made.choices) == 3
    assert batch.usage.prompt_tokens == made.usage.prompt_tokens
    assert batch.usage.completion_tokens == 24


def test_what_stands_between_two_texts(tmp_path: Path) -> None:
    marks = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    write_marked_model(TINY, tmp_path / "coder.gguf", "", dict.fromkeys(marks, CONTROL))
    with LLM(tmp_path / "coder.gguf") as coder:
        made = coder.infill("a", "b", WARM, n=2, prompt_logprobs=0)
        alone = [coder.infill("a", "b", WARM, seed=seed).token_ids for seed in (5, 6)]
        ids = coder.infill_tokens("a", "b")
        assert made.prompt_logprobs == (None, *coder.token_logprobs(ids))
    assert tokens(made) == alone


# -- what gives one answer alone


@pytest.mark.parametrize("more", [{"n": 2}, {"prompt_logprobs": 0}])
def test_what_is_one_answer_refuses_more(llm: LLM, more: Any) -> None:
    [name] = more
    tool: Any = {"name": "add", "parameters": {"type": "object"}}
    calls: list[Any] = [
        lambda: llm.stream(PROMPT, **more),
        lambda: llm.generate_json(PROMPT, {"enum": [1]}, **more),
        lambda: ChatSession(llm, **more),
        lambda: ChatSession(llm).send(PROMPT, **more),
        lambda: ToolConversation(llm, [tool], **more),
        lambda: RagPipeline(llm, ["a text"]).query(PROMPT, **more),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match=rf"^Configuration error: {name} is \d, and .* is one answer"):
            call()
    backend = NativeBackend()
    backend.load_model(str(TINY))
    with pytest.raises(ConfigError, match="and a text is one answer alone"):
        backend.generate(PROMPT, GenerateParams(**more))
    backend.close()


def test_a_conversation_refuses_more_also_later(llm: LLM) -> None:
    tool: Any = {"name": "add", "parameters": {"type": "object"}}
    conversation = ToolConversation(llm, [tool])
    conversation.params = GenerateParams(n=3, max_tokens=4)
    with pytest.raises(ConfigError, match="n is 3, and a turn of a conversation is one answer alone"):
        conversation.send_message("hello")
    assert conversation.messages == []


def test_a_choice_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    several = GenerateParams(n=3, seed=2**64 - 2, prompt_logprobs=1, bad_words=("a",))
    plain = GenerateParams(seed=None)
    expected = [GenerateParams(seed=seed, bad_words=("a",)) for seed in (2**64 - 2, 2**64 - 1, 0)]

    def again(self: GenerateParams) -> None:
        raise AssertionError("checked again")

    monkeypatch.setattr(GenerateParams, "__post_init__", again)
    assert [several.of_choice(index) for index in range(3)] == expected
    assert (several.n, several.seed, several.prompt_logprobs) == (3, 2**64 - 2, 1)
    assert all(plain.of_choice(index) is plain for index in range(2))


async def test_nor_is_a_stream_in_asyncio_more(llm: LLM) -> None:
    for stream in (llm.astream, AsyncEngine(llm).stream):
        with pytest.raises(ConfigError, match="n is 2, and what this call makes is one answer alone"):
            stream(PROMPT, n=2)


@pytest.mark.parametrize("wrong", [0, -1, 1025, 1.0, True, "2"])
def test_a_count_that_is_none(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"n is .*; it must be an integer from 1 to 1024"):
        GenerateParams(n=wrong)


# -- one of several that fails, on a loop that is played by hand


class Loop:
    """Takes tasks in, up to a number at a time, and remembers whom it was told to end."""

    def __init__(self, room: int = 100) -> None:
        self.sinks: list[Sink] = []
        self.cancelled: list[int] = []
        self.room = room

    def submit(self, task: GenerationTask, sink: Sink) -> Request:
        if len(self.sinks) >= self.room:
            raise OverloadedError("the queue is full")
        self.sinks.append(sink)
        return Request(len(self.sinks) - 1, task, sink, 0.0, HeldAdapters(()))

    def cancel(self, request: Request) -> None:
        self.cancelled.append(request.request_id)


def answering(count: int) -> Answering:
    task = GenerationTask(token_ids=[1], params=GenerateParams(), max_tokens=2)
    return Answering(choices=(task,) * count)


def ends(text: str) -> list[Any]:
    return [TokenMade(token_id=7, text=text), Finished(reason="stop")]


def in_turn(loop: Loop, counts: list[int], max_in_flight: int = 10) -> CompletionsInTurn:
    return CompletionsInTurn(loop, counts, answering, max_in_flight=max_in_flight)  # type: ignore[arg-type]


def test_one_that_fails_ends_its_prompt_and_no_other() -> None:
    loop = Loop()
    outcomes = in_turn(loop, [3, 1], max_in_flight=4)
    assert outcomes._fill()
    failure = GenerationError("broken")
    loop.sinks[0].deliver(ends("a"), 1.0)
    loop.sinks[1].deliver([Failed(error=failure)], 1.0)
    # It was under way as its prompt failed: what still comes of it is nobody's.
    loop.sinks[2].deliver(ends("late"), 1.0)
    loop.sinks[3].deliver(ends("other"), 1.0)
    assert next(outcomes) == (0, failure)
    assert loop.cancelled == [2]
    index, outcome = next(outcomes)
    assert (index, str(outcome)) == (1, "other")
    assert list(outcomes) == []


def test_what_had_not_begun_of_it_never_does() -> None:
    loop = Loop()
    outcomes = in_turn(loop, [5, 1], max_in_flight=2)
    assert outcomes._fill()
    failure = GenerationError("broken")
    loop.sinks[0].deliver([Failed(error=failure)], 1.0)
    assert next(outcomes) == (0, failure)
    assert loop.cancelled == [1]
    threading.Timer(0.05, lambda: loop.sinks[2].deliver(ends("other"), 2.0)).start()
    index, outcome = next(outcomes)
    assert (index, str(outcome)) == (1, "other")
    assert len(loop.sinks) == 3


def test_choices_stand_in_their_order_whichever_ends_first() -> None:
    loop = Loop()
    outcomes = in_turn(loop, [3])
    assert outcomes._fill()
    for index in (2, 0, 1):
        loop.sinks[index].deliver(ends("abc"[index]), 1.0)
    _, outcome = next(outcomes)
    assert isinstance(outcome, Completion)
    assert [one.text for one in outcome.choices] == ["a", "b", "c"]


def test_closing_ends_all_choices() -> None:
    loop = Loop(room=2)
    outcomes = in_turn(loop, [4, 4])
    assert outcomes._fill()
    outcomes.close()
    assert loop.cancelled == [0, 1]
    assert list(outcomes) == []
