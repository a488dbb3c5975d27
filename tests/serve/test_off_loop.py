"""Long work beside the event loop: who has a turn when, and what large bodies one tenant may have here."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from ruvllm.serve.errors import ApiError
from ruvllm.serve.off_loop import (
    AT_ONCE,
    HELD_BYTES,
    SMALL_BYTES,
    THREADS,
    THREADS_OF_A_TENANT,
    Errand,
    OffLoop,
)

LARGE = AT_ONCE + 1


class Order:
    """Work that notes when it is done, and work that holds its thread until it is let go."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._gate = threading.Event()

    def note(self, name: str) -> Callable[[], str]:
        def work() -> str:
            self.done.append(name)
            return name

        return work

    def hold(self) -> None:
        assert self._gate.wait(10)

    def open(self) -> None:
        self._gate.set()


async def test_small_work_is_done_at_once_and_large_work_elsewhere() -> None:
    errand = Errand(OffLoop(), "anna")
    assert await errand.do(AT_ONCE, threading.get_ident) == threading.get_ident()
    assert await errand.do(LARGE, threading.get_ident) != threading.get_ident()


async def test_an_error_comes_back() -> None:
    with pytest.raises(ZeroDivisionError):
        await Errand(OffLoop(), "anna").do(LARGE, lambda: 1 // 0)


async def test_a_tenant_with_much_work_leaves_a_thread_to_others() -> None:
    pool, order = OffLoop(), Order()
    holding = [asyncio.ensure_future(pool.do("anna", LARGE, order.hold)) for _ in range(40)]
    try:
        await asyncio.sleep(0)
        for number in range(20):
            assert await asyncio.wait_for(pool.do("bert", LARGE, order.note(f"bert {number}")), 5)
        assert not any(one.done() for one in holding)
    finally:
        order.open()
        await asyncio.gather(*holding)


async def test_tenants_take_turns_and_small_work_goes_first() -> None:
    """On one thread, as the others are held throughout: so the order of what is done is the pool's own."""
    pool, order, others = OffLoop(), Order(), Order()
    held = [
        asyncio.ensure_future(pool.do(f"other {number % 2}", LARGE, others.hold))
        for number in range(THREADS - 1)
    ]
    last = asyncio.ensure_future(pool.do("last", LARGE, order.hold))
    await asyncio.sleep(0)
    waiting = [
        asyncio.ensure_future(pool.do(tenant, size, order.note(f"{tenant} {size - LARGE}")))
        for tenant in ("anna", "bert")
        for size in (LARGE + 3, LARGE + 2, LARGE + 1)
    ]
    await asyncio.sleep(0)
    order.open()
    await asyncio.gather(last, *waiting)
    assert not any(one.done() for one in held)
    others.open()
    await asyncio.gather(*held)
    assert order.done == ["anna 1", "bert 1", "anna 2", "bert 2", "anna 3", "bert 3"]


async def test_who_leaves_before_his_turn_is_passed_over() -> None:
    pool, order = OffLoop(), Order()
    holding = [asyncio.ensure_future(pool.do("anna", LARGE, order.hold)) for _ in range(THREADS_OF_A_TENANT)]
    await asyncio.sleep(0)
    left = asyncio.ensure_future(pool.do("anna", LARGE, order.note("left")))
    stayed = asyncio.ensure_future(pool.do("anna", LARGE, order.note("stayed")))
    await asyncio.sleep(0)
    left.cancel()
    order.open()
    await asyncio.gather(*holding, stayed)
    assert order.done == ["stayed"]
    with pytest.raises(asyncio.CancelledError):
        await left


async def test_who_leaves_in_his_turn_disturbs_nobody() -> None:
    pool, order = OffLoop(), Order()
    leaving = asyncio.ensure_future(pool.do("anna", LARGE, order.hold))
    await asyncio.sleep(0.05)
    leaving.cancel()
    order.open()
    for _ in range(10):
        assert await pool.do("anna", LARGE, order.note("next")) == "next"


def test_large_bodies_are_counted_by_tenant() -> None:
    pool = OffLoop()
    anna, bert = Errand(pool, "anna"), Errand(pool, "bert")
    with anna.holding(1) as first:
        first.take(HELD_BYTES - 2 * SMALL_BYTES)
        first.take(SMALL_BYTES)
        with bert.holding(1) as other:
            other.take(HELD_BYTES)
        with anna.holding(1) as small:
            small.take(SMALL_BYTES)
            with pytest.raises(ApiError) as refused:
                small.take(1)
        assert refused.value.status_code == 429
        assert refused.value.headers == {"retry-after": "1"}
    with anna.holding(1) as all_of_it:
        all_of_it.take(HELD_BYTES)
        with pytest.raises(ApiError):
            all_of_it.take(1)
    assert not pool.held_bytes


def test_one_body_of_the_largest_is_always_taken() -> None:
    with Errand(OffLoop(), "").holding(2 * HELD_BYTES) as held:
        held.take(2 * HELD_BYTES)
        with pytest.raises(ApiError):
            held.take(1)


async def test_a_pool_forgets_tenants() -> None:
    """Their names come from keys, but a server runs for months."""
    pool = OffLoop()
    for number in range(100):
        with Errand(pool, f"tenant {number}").holding(1) as held:
            held.take(SMALL_BYTES + 1)
            await pool.do(f"tenant {number}", LARGE, time.time)
    assert not pool._waiting
    assert not pool._running
    assert not pool.held_bytes
    assert THREADS > THREADS_OF_A_TENANT
