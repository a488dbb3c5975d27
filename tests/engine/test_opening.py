"""`AsyncEngine.open`: an event loop goes on while a model is loaded, and whoever gives up leaves nothing."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ruvllm import LLM, AsyncEngine, GenerateParams, NotFoundError
from ruvllm.errors import InvalidOperationError
from tests.conftest import FIXTURES

TINY = FIXTURES / "gguf" / "llama-gqa.gguf"
SHORT = GenerateParams(temperature=0.0, max_tokens=4)


async def longest_pause(until: "asyncio.Future[object]") -> float:
    """Of the loop, in seconds, from now until something is done."""
    longest, last = 0.0, time.perf_counter()
    while not until.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


@pytest.mark.alone
@pytest.mark.real_model
async def test_the_loop_goes_on_while_a_model_is_loaded(smollm2_path: Path) -> None:
    """Its longest pause, beside the one of loading here and now: the best of some, as others run beside."""

    async def opened() -> AsyncEngine:
        return await AsyncEngine.open(smollm2_path, max_context=256)

    shares = []
    for _ in range(3):
        began = time.perf_counter()
        AsyncEngine(smollm2_path, max_context=256).llm.close()
        here = time.perf_counter() - began
        task = asyncio.ensure_future(opened())
        pause = await longest_pause(task)
        engine = await task
        assert (await engine.generate("The capital of France is", SHORT)).usage.completion_tokens == 4
        await engine.aclose()
        shares.append(pause / here)
    assert min(shares) < 0.4, shares


async def test_it_may_be_awaited_or_entered() -> None:
    engine = await AsyncEngine.open(TINY, max_context=64)
    assert engine.llm.model_info.max_context == 64
    await engine.aclose()
    with pytest.raises(InvalidOperationError, match="closed"):
        await engine.generate("one", SHORT)
    async with AsyncEngine.open(TINY) as entered:
        assert (await entered.generate("one", SHORT)).usage.completion_tokens == 4
    with pytest.raises(InvalidOperationError, match="closed"):
        await entered.generate("two", SHORT)


async def test_what_open_gives_is_awaited_once() -> None:
    opening = AsyncEngine.open(TINY)
    async with opening:
        with pytest.raises(InvalidOperationError, match="once"):
            await opening


async def test_what_is_wrong_is_raised_where_it_is_awaited() -> None:
    with pytest.raises(NotFoundError):
        await AsyncEngine.open("/no/such/model.gguf")
    with pytest.raises(NotFoundError):
        async with AsyncEngine.open("/no/such/model.gguf"):
            pass


async def test_what_is_opened_says_which_and_how_far() -> None:
    opening = AsyncEngine.open(TINY, max_context=64)
    assert repr(opening) == "OpeningEngine('llama-gqa', not begun)"
    async with opening:
        wait_for(lambda: repr(opening) == "OpeningEngine('llama-gqa', done)")
    fails = AsyncEngine.open("/no/such/model.gguf")
    with pytest.raises(NotFoundError):
        await fails
    wait_for(lambda: repr(fails) == "OpeningEngine('model', failed)")


@pytest.mark.parametrize("late", [False, True], ids=["while it loads", "as it is loaded"])
async def test_whoever_gives_up_leaves_nothing(late: bool) -> None:
    gate, opened = threading.Event(), []

    def load() -> LLM:
        if not late:
            assert gate.wait(20)
        opened.append(LLM(TINY))
        return opened[0]

    opening = AsyncEngine.opened_by(load)
    task = asyncio.ensure_future(until_done(opening))
    if late:
        # Loaded, and the loop has not heard of it.
        await asyncio.sleep(0)
        wait_for(lambda: bool(opened) and not opening.is_loading)
    else:
        await asyncio.sleep(0.01)
        assert opening.is_loading
    task.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    wait_for(lambda: not opening.is_loading)
    wait_for(lambda: is_closed(opened[0]))


async def until_done(opening: object) -> None:
    await opening  # type: ignore[misc]


def is_closed(llm: LLM) -> bool:
    try:
        llm.generate("a", SHORT)
    except InvalidOperationError:
        return True
    return False


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)
