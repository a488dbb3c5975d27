"""Many prompts or conversations in one call: lists, columns of tables, generators, none at all."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ruvllm import LLM, AsyncEngine, ConfigError, GenerateParams, Limits, OverloadedError
from ruvllm.runtime.gathering import awaited_in_order
from ruvllm.runtime.generations import Generations
from tests.chat.conftest import with_template
from tests.conftest import FIXTURES

PROMPTS = ["The terms of this license", "you", "a copy of the"]
GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=4, ignore_eos=True)
CONVERSATIONS = [[{"role": "user", "content": text}] for text in PROMPTS]


class Column:
    """As pandas' Series: no `Sequence`, found by label, and compared element by element."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, label: object) -> Any:
        raise KeyError(label)

    def __bool__(self) -> bool:
        raise ValueError("the truth value of a Series is ambiguous")

    def __eq__(self, other: object) -> Any:
        return Column([value == other for value in self._values])

    __hash__ = None  # type: ignore[assignment]


class Table(Column):
    """As pandas' DataFrame, whose iterator gives the names of its columns."""

    def __init__(self) -> None:
        super().__init__(["question", "answer"])
        self.columns = ["question", "answer"]


class Square(Column):
    """What has rows and columns without names."""

    ndim = 2


@pytest.fixture(scope="module")
def llm() -> Any:
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf", max_context=256) as llm:
        yield with_template(llm)


@pytest.fixture(scope="module")
def alone(llm: LLM) -> list[tuple[int, ...]]:
    """What each prompt gives by itself."""
    return [llm.generate(prompt, GREEDY).token_ids for prompt in PROMPTS]


def test_no_prompts_have_no_answers(llm: LLM) -> None:
    assert llm.generate([]) == []
    assert llm.generate((), []) == []
    assert llm.generate(Column([])) == []  # type: ignore[call-overload]
    assert llm.generate(iter([]), max_tokens=3) == []
    assert llm.chat([]) == []
    assert llm.chat([], tools=[]) == []
    assert llm.embed([]).shape == (0, 64)


async def test_nor_awaited(llm: LLM) -> None:
    assert await llm.agenerate([]) == await llm.achat([]) == []
    assert (await llm.aembed([])).shape == (0, 64)


@pytest.mark.parametrize(
    "make",
    [
        tuple,
        Column,
        iter,
        np.array,
        lambda prompts: np.array(prompts, dtype=object),
        lambda prompts: (prompt for prompt in prompts),
        lambda prompts: dict(enumerate(prompts)).values(),
        lambda prompts: dict.fromkeys(prompts).keys(),
    ],
    ids=["tuple", "column", "iterator", "array of texts", "array of objects", "generator", "values", "keys"],
)
def test_any_iterable_is_a_list_of_prompts(llm: LLM, alone: list[tuple[int, ...]], make: Any) -> None:
    assert [one.token_ids for one in llm.generate(make(PROMPTS), GREEDY)] == alone
    assert llm.embed(make(PROMPTS)).shape == (3, 64)
    chats = [llm.chat(prompt, GREEDY).token_ids for prompt in PROMPTS]
    assert [one.token_ids for one in llm.chat(make(PROMPTS), GREEDY)] == chats


def test_a_column_of_numbers_is_one_prompt(llm: LLM) -> None:
    column: Any = Column([5, 6, 7])
    assert llm.generate(column, GREEDY).token_ids == llm.generate([5, 6, 7], GREEDY).token_ids


def test_a_list_of_conversations(llm: LLM) -> None:
    alone = [llm.chat(conversation, GREEDY) for conversation in CONVERSATIONS]
    together = llm.chat(CONVERSATIONS, GREEDY)
    assert [one.token_ids for one in together] == [one.token_ids for one in alone]
    mixed = llm.chat([PROMPTS[0], CONVERSATIONS[1]], GREEDY)
    assert [one.token_ids for one in mixed] == [one.token_ids for one in alone[:2]]
    assert [one.token_ids for one in llm.generate(CONVERSATIONS, GREEDY)] == [one.token_ids for one in alone]
    assert llm.generate(CONVERSATIONS[0], GREEDY).token_ids == alone[0].token_ids


@pytest.mark.parametrize("call", ["generate", "chat"])
def test_params_of_each(llm: LLM, call: str) -> None:
    ask: Any = getattr(llm, call)
    params = [GenerateParams(max_tokens=count, ignore_eos=True) for count in (1, 2, 3)]
    lengths = [len(one.token_ids) for one in ask(PROMPTS, params)]
    assert lengths == [1, 2, 3]
    for many in (Column, tuple, iter):
        assert [len(one.token_ids) for one in ask(PROMPTS, many(params))] == lengths
    # Keywords change each of them.
    made = ask(PROMPTS, params, temperature=0.0, repetition_penalty=1.0)
    alone = [ask(prompt, GREEDY).token_ids for prompt in PROMPTS]
    assert [one.token_ids for one in made] == [tokens[: index + 1] for index, tokens in enumerate(alone)]
    with pytest.raises(ConfigError, match="there are 2 params for 3 prompts"):
        ask(PROMPTS, params[:2])
    with pytest.raises(ConfigError, match="params is a list of 3, which is for a list of prompts"):
        ask(PROMPTS[0], params)
    with pytest.raises(ConfigError, match="params is a int; it must be GenerateParams"):
        ask(PROMPTS, [GREEDY, 3, GREEDY])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["a", float("nan")], "at index 1 is a float; it must be text or a list"),
        (Column(["a", None]), "at index 1 is a NoneType"),
        ({"role": "user", "content": "a"}, "is a dict; a message stands in a list"),
        (Table(), "is a Table, a table; give one column of it"),
        (Square([["a"], ["b"]]), "is a Square, a table; give one column of it"),
        ({"a", "b"}, "is a set, whose answers would have no order"),
        (b"abc", "is a bytes; it must be"),
        (5, "is a int; it must be"),
    ],
)
def test_what_is_no_list_of_prompts(llm: LLM, given: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=f"the prompt {words}"):
        llm.generate(given)
    with pytest.raises(ConfigError, match=f"the conversation {words}"):
        llm.chat(given)


# -- awaited


async def test_the_engine_for_asyncio_takes_as_many(llm: LLM, alone: list[tuple[int, ...]]) -> None:
    engine = AsyncEngine(llm)
    assert [one.token_ids for one in await engine.generate(Column(PROMPTS), GREEDY)] == alone  # type: ignore[call-overload]
    assert (await engine.generate(PROMPTS[0], GREEDY)).token_ids == alone[0]
    params = [GREEDY, GenerateParams(max_tokens=1), GREEDY]
    assert len((await engine.generate(PROMPTS, params))[1].token_ids) == 1
    chats = await engine.chat(CONVERSATIONS, GREEDY)
    assert [one.token_ids for one in chats] == [one.token_ids for one in llm.chat(CONVERSATIONS, GREEDY)]
    with pytest.raises(ConfigError, match="there are 1 params for 3 prompts"):
        await engine.generate(PROMPTS, [GREEDY])


async def test_cancelling_the_task_ends_them_all(llm: LLM) -> None:
    long = GenerateParams(temperature=0.0, max_tokens=200, ignore_eos=True)
    asked = asyncio.ensure_future(AsyncEngine(llm).generate(PROMPTS, long))
    while not llm.memory_stats().running_requests and not asked.done():
        await asyncio.sleep(0.001)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    end = time.monotonic() + 5
    while llm.memory_stats().running_requests:
        assert time.monotonic() < end, "they go on"
        await asyncio.sleep(0.005)


class Failing:
    """An answer that fails at once, beside others that never end."""

    def __init__(self, task: Any) -> None:
        self.task = task

    async def completion(self) -> Any:
        if self.task == "fails":
            raise ConfigError("it failed")
        try:
            await asyncio.sleep(60)
        finally:
            LEFT.append(self.task)


LEFT: list[str] = []


async def test_an_error_ends_the_others() -> None:
    LEFT.clear()
    tasks: Any = ["one", "fails", "two"]
    with pytest.raises(ConfigError, match="it failed"):
        await awaited_in_order(lambda task: Failing(task).completion(), tasks, max_in_flight=3)
    assert sorted(LEFT) == ["one", "two"]


async def test_so_many_wait_and_no_more() -> None:
    asked: list[int] = []

    class Slow:
        def __init__(self, task: Any) -> None:
            asked.append(task)

        async def completion(self) -> Any:
            await asyncio.sleep(0.001)
            return asked[-1]

    others = len(asyncio.all_tasks())
    most = 0

    async def count() -> None:
        nonlocal most
        while True:
            most = max(most, len(asyncio.all_tasks()))
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    tasks: Any = range(100)
    made = await awaited_in_order(lambda task: Slow(task).completion(), tasks, max_in_flight=4)
    counting.cancel()
    assert asked == [*tasks]
    assert len(made) == 100
    assert most <= others + 1 + 4


async def test_one_waits_for_room_and_the_others_for_that_one() -> None:
    tries = 0

    def full(task: Any) -> Any:
        nonlocal tries
        tries += 1
        raise OverloadedError("the queue is full")

    tasks: Any = range(50)
    waiting = asyncio.ensure_future(awaited_in_order(full, tasks, max_in_flight=50))
    await asyncio.sleep(0.2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert 2 <= tries <= 5


@pytest.mark.parametrize("call", ["agenerate", "achat"])
async def test_preparing_many_leaves_the_loop_its_turns(
    llm: LLM, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = most = 0
    real = Generations.prompt_task

    def prompt_task(*arguments: Any) -> Any:
        nonlocal prepared
        prepared += 1
        return real(*arguments)

    async def look() -> None:
        nonlocal most
        before = 0
        while True:
            most, before = max(most, prepared - before), prepared
            await asyncio.sleep(0)

    monkeypatch.setattr(Generations, "prompt_task", prompt_task)
    looking = asyncio.ensure_future(look())
    await getattr(llm, call)(["a"] * 20, max_tokens=1)
    looking.cancel()
    assert prepared == 20
    assert most <= 2


async def test_more_than_the_queue_holds() -> None:
    """As for threads, what finds no room waits for it, where one alone is refused."""
    with LLM(
        FIXTURES / "gguf" / "llama-gqa.gguf", max_context=64, limits=Limits(max_waiting=2, max_running=1)
    ) as small:
        answers = await small.agenerate([[5, index] for index in range(20)], max_tokens=2, ignore_eos=True)
        assert [len(one.token_ids) for one in answers] == [2] * 20
        with pytest.raises(OverloadedError):
            _ = [small.stream([5, index], max_tokens=50, ignore_eos=True) for index in range(20)]


async def test_tools_are_told_of_as_by_the_model() -> None:
    tool: Any = {"name": "f", "parameters": {"type": "object"}}
    params: Any = {"temperature": 0.0, "max_tokens": 60}
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf") as plain:
        llm = with_template(plain)
        plainly = llm.chat("a", **params)
        called = llm.chat("a", tools=[tool], tool_choice="required", **params)
        awaited = await AsyncEngine(llm).chat("a", tools=[tool], tool_choice="required", **params)
    assert awaited.usage.prompt_tokens == called.usage.prompt_tokens > plainly.usage.prompt_tokens
    assert (awaited.token_ids, awaited.text) == (called.token_ids, called.text)
    assert [one.name for one in awaited.tool_calls] == [one.name for one in called.tool_calls]
