"""How requests are let in: a tenant alone at once, beside others at a pace, in its order, unless it left."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ruvllm.serve import entrance
from ruvllm.serve.entrance import Arriving, Entrance


class Time:
    """The clock as a test sets it, and the time of the loop's thread, of which each request takes so much."""

    def __init__(self) -> None:
        self.now = self.used = 100.0
        self.cost = 0.002

    def entrance(self) -> Entrance:
        return Entrance(lambda: self.now, self._use)

    def _use(self) -> float:
        # It is asked once for each sample.
        self.used += self.cost * entrance.SAMPLE
        return self.used


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    monkeypatch.setattr(entrance, "LOOK_SECONDS", 0.001)
    return Time()


def sends(*messages: dict[str, Any]) -> Callable[[], Awaitable[dict[str, Any]]]:
    """A client that sends these and then nothing more."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    return receive


BODY = {"type": "http.request", "body": b"{}", "more_body": False}
GONE = {"type": "http.disconnect"}


async def opened(one: Entrance, tenant: str, *messages: dict[str, Any]) -> bool:
    return await asyncio.wait_for(one.let_in(tenant, Arriving(sends(*messages or (BODY,)))), 5)


async def let_in_at_once(one: Entrance, tenant: str, most: int) -> int:
    """How many requests of this tenant are let in before one has to wait."""
    for count in range(most):
        waits = asyncio.ensure_future(opened(one, tenant))
        done, _ = await asyncio.wait({waits}, timeout=0.02)
        if not done:
            waits.cancel()
            return count
    return most


async def test_a_tenant_that_is_alone_never_waits(time: Time) -> None:
    one = time.entrance()
    with one.under_way("a"):
        assert await let_in_at_once(one, "a", 500) == 500


@pytest.mark.parametrize("cost", [entrance.LEAST_SECONDS, 0.001, 0.002, entrance.MOST_SECONDS])
async def test_beside_others_it_has_a_burst_and_then_its_share(time: Time, cost: float) -> None:
    one = time.entrance()
    time.cost = cost
    await let_in_at_once(one, "a", 2 * entrance.SAMPLE)  # alone: what its requests cost is known then
    time.now += 60
    with one.under_way("b"):
        burst = await let_in_at_once(one, "a", 1000)
        assert burst == pytest.approx(entrance.BURST_SECONDS * entrance.SHARE / cost, abs=2)
        counted = 0
        for _ in range(20):
            time.now += 0.5
            counted += await let_in_at_once(one, "a", 1000)
        assert counted * cost / 10 == pytest.approx(entrance.SHARE, rel=0.1)


async def test_a_cost_is_believed_within_bounds(time: Time) -> None:
    for cost, believed in ((0.0, entrance.LEAST_SECONDS), (1.0, entrance.MOST_SECONDS)):
        one = time.entrance()
        time.cost = cost
        await let_in_at_once(one, "a", 2 * entrance.SAMPLE)
        time.now += 60
        with one.under_way("b"):
            burst = await let_in_at_once(one, "a", 1000)
            assert burst == pytest.approx(entrance.BURST_SECONDS * entrance.SHARE / believed, abs=2)


async def test_others_are_let_in_while_one_waits(time: Time) -> None:
    one = time.entrance()
    with one.under_way("b"):
        await let_in_at_once(one, "a", 1000)
        waits = asyncio.ensure_future(opened(one, "a"))
        assert await opened(one, "b")
        assert await opened(one, "c")
        assert not waits.done()
        waits.cancel()


async def test_who_waits_is_let_in_when_the_others_are_gone(time: Time) -> None:
    one = time.entrance()
    with one.under_way("b"):
        await let_in_at_once(one, "a", 1000)
        waits = asyncio.ensure_future(opened(one, "a"))
        await asyncio.sleep(0.01)
        assert not waits.done()
    assert await waits


async def test_those_who_wait_are_let_in_in_their_order(time: Time) -> None:
    one = time.entrance()
    order: list[int] = []

    async def ask(number: int) -> None:
        assert await opened(one, "a")
        order.append(number)

    with one.under_way("b"):
        await let_in_at_once(one, "a", 1000)
        asking = []
        for number in range(5):
            asking.append(asyncio.ensure_future(ask(number)))
            await asyncio.sleep(0)
    await asyncio.gather(*asking)
    assert order == list(range(5))


async def test_one_that_leaves_while_it_waits_is_not_let_in_and_holds_nobody_up(time: Time) -> None:
    one = time.entrance()
    with one.under_way("b"):
        await let_in_at_once(one, "a", 1000)
        first = asyncio.ensure_future(opened(one, "a", BODY, GONE))
        second = asyncio.ensure_future(opened(one, "a"))
        assert await first is False
        time.now += 1
        assert await second is True


async def test_what_was_sent_while_it_waited_is_read_afterwards(time: Time) -> None:
    one = time.entrance()
    parts = [{"type": "http.request", "body": bytes([part]), "more_body": part < 2} for part in range(3)]
    arriving = Arriving(sends(*parts))
    with one.under_way("b"):
        await let_in_at_once(one, "a", 1000)
        waits = asyncio.ensure_future(one.let_in("a", arriving))
        await asyncio.sleep(0.01)
    assert await waits
    assert [(await arriving())["body"] for _ in range(3)] == [b"\0", b"\1", b"\2"]


async def test_who_sends_a_lot_ahead_is_read_no_further(time: Time) -> None:
    one = time.entrance()
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        await asyncio.sleep(0)
        return {"type": "http.request", "body": bytes(1024), "more_body": True}

    with one.under_way("b"):
        await let_in_at_once(one, "a", 1000)
        waits = asyncio.ensure_future(one.let_in("a", Arriving(receive)))
        await asyncio.sleep(0.05)
        assert read == entrance.KEPT_BYTES // 1024
        waits.cancel()
