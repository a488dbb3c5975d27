"""How requests are let in: a tenant alone at once, beside others at a pace, in its order, unless it left."""

import asyncio
import logging

import pytest

from ruvllm.serve import entrance
from ruvllm.serve.entrance import Entrance, Waiting


class Time:
    """The clock as a test sets it, and the time of the loop's thread, of which each request takes so much."""

    def __init__(self) -> None:
        self.now = self.used = 100.0
        self.cost = 0.002
        self.num_left = 0

    def entrance(self) -> Entrance:
        return Entrance(left=self._count, clock=lambda: self.now, used_seconds=self._use)

    def _use(self) -> float:
        # It is asked once for each sample.
        self.used += self.cost * entrance.SAMPLE
        return self.used

    def _count(self) -> None:
        self.num_left += 1


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    monkeypatch.setattr(entrance, "LOOK_SECONDS", 0.001)
    return Time()


def ask(one: Entrance, tenant: str) -> tuple[asyncio.Event, Waiting | None]:
    """A request, and what is set once it is let in."""
    is_in = asyncio.Event()
    return is_in, one.let_in(tenant, is_in.set)


def let_in_at_once(one: Entrance, tenant: str, most: int) -> int:
    """How many requests of this tenant are let in before one has to wait; that one leaves."""
    for count in range(most):
        is_in, waiting = ask(one, tenant)
        assert is_in.is_set() is (waiting is None)
        if waiting is not None:
            waiting.leave()
            return count
    return most


async def test_a_tenant_that_is_alone_never_waits(time: Time) -> None:
    one = time.entrance()
    with one.under_way("a"):
        assert let_in_at_once(one, "a", 500) == 500


@pytest.mark.parametrize("cost", [entrance.LEAST_SECONDS, 0.001, 0.002, entrance.MOST_SECONDS])
async def test_beside_others_it_has_a_burst_and_then_its_share(time: Time, cost: float) -> None:
    one = time.entrance()
    time.cost = cost
    let_in_at_once(one, "a", 2 * entrance.SAMPLE)  # alone: what its requests cost is known then
    time.now += 60
    with one.under_way("b"):
        burst = let_in_at_once(one, "a", 1000)
        assert burst == pytest.approx(entrance.BURST_SECONDS * entrance.SHARE / cost, abs=2)
        counted = 0
        for _ in range(40):
            time.now += 0.5
            counted += let_in_at_once(one, "a", 1000)
        assert counted * cost / 20 == pytest.approx(entrance.SHARE, rel=0.1)


async def test_a_cost_is_believed_within_bounds(time: Time) -> None:
    for cost, believed in ((0.0, entrance.LEAST_SECONDS), (1.0, entrance.MOST_SECONDS)):
        one = time.entrance()
        time.cost = cost
        let_in_at_once(one, "a", 2 * entrance.SAMPLE)
        time.now += 60
        with one.under_way("b"):
            burst = let_in_at_once(one, "a", 1000)
            assert burst == pytest.approx(entrance.BURST_SECONDS * entrance.SHARE / believed, abs=2)


async def test_others_are_let_in_while_one_waits(time: Time) -> None:
    one = time.entrance()
    with one.under_way("b"):
        let_in_at_once(one, "a", 1000)
        is_in, _ = ask(one, "a")
        assert ask(one, "b")[1] is None
        assert ask(one, "c")[1] is None
        await asyncio.sleep(0.01)
        assert not is_in.is_set()


async def test_who_waits_is_let_in_when_the_others_are_gone(time: Time) -> None:
    one = time.entrance()
    with one.under_way("b"):
        let_in_at_once(one, "a", 1000)
        is_in, _ = ask(one, "a")
        await asyncio.sleep(0.01)
        assert not is_in.is_set()
    await asyncio.wait_for(is_in.wait(), 5)


async def test_those_who_wait_are_let_in_in_their_order_each_at_its_time(time: Time) -> None:
    one = time.entrance()
    order: list[int] = []
    with one.under_way("b"):
        let_in_at_once(one, "a", 1000)
        for number in range(5):
            one.let_in("a", lambda number=number: order.append(number))  # type: ignore[misc]
        for number in range(5):
            await asyncio.sleep(0.01)
            assert order == list(range(number))
            time.now += entrance.MOST_SECONDS / entrance.SHARE
    await asyncio.sleep(0.01)
    assert order == list(range(5))


async def test_a_newcomer_does_not_pass_those_who_wait(time: Time) -> None:
    one = time.entrance()
    with one.under_way("b"):
        let_in_at_once(one, "a", 1000)
        ask(one, "a")
    # Nobody else is there any more, but the first has not been looked after yet.
    is_in, waiting = ask(one, "a")
    assert waiting is not None
    await asyncio.wait_for(is_in.wait(), 5)


async def test_one_that_leaves_while_it_waits_is_not_let_in_and_holds_nobody_up(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    one = time.entrance()
    with one.under_way("b"):
        let_in_at_once(one, "a", 1000)
        time.num_left = 0
        gone = [ask(one, "a") for _ in range(50)]
        stays, _ = ask(one, "a")
        caplog.set_level(logging.INFO, "ruvllm")
        for _, waiting in gone:
            assert waiting is not None
            waiting.leave()
            waiting.leave()
        assert time.num_left == 50
        assert len(caplog.records) <= 1
        time.now += 1
        await asyncio.wait_for(stays.wait(), 5)
    assert not any(is_in.is_set() for is_in, _ in gone)


async def test_to_leave_when_the_turn_has_come_is_nothing(time: Time) -> None:
    one = time.entrance()
    with one.under_way("b"):
        let_in_at_once(one, "a", 1000)
        time.num_left = 0
        is_in, waiting = ask(one, "a")
        assert waiting is not None
    await asyncio.wait_for(is_in.wait(), 5)
    waiting.leave()
    assert time.num_left == 0
