"""The requests that wait, beside a plain list of them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm.adapters.generation import HeldAdapters
from ruvllm.config import Limits
from ruvllm.params import GenerateParams
from ruvllm.runtime.request import GenerationTask, Request
from ruvllm.runtime.waiting import SHOWN, WaitingRequests


class NoSink:
    def deliver(self, events: object, now: float) -> None:
        raise AssertionError("nobody delivers here")


def request(number: int, tenant: str, priority: int, length: int) -> Request:
    task = GenerationTask(
        token_ids=[1] * length, params=GenerateParams(), max_tokens=5, tenant=tenant, priority=priority
    )
    return Request(number, task, NoSink(), 0.0, HeldAdapters(()))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abc"), st.integers(-1, 1), st.integers(1, 9)),
        st.integers(0, 40),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, max_waiting=st.integers(1, 12), max_tokens=st.integers(1, 60))
def test_beside_a_plain_list(
    steps: list[tuple[str, int, int] | int], max_waiting: int, max_tokens: int
) -> None:
    limits = Limits(max_waiting=max_waiting, max_waiting_tokens=max_tokens, max_running=3)
    waiting, plain = WaitingRequests(limits), list[Request]()
    for number, step in enumerate(steps):
        if isinstance(step, int):
            removed = waiting.remove(step)
            assert removed in plain if removed else all(one.request_id != step for one in plain)
            plain = [one for one in plain if one.request_id != step]
        else:
            tenant, priority, length = step
            own = [one for one in plain if one.task.tenant == tenant]
            tenants = len({one.task.tenant for one in plain} | {tenant})
            tokens = sum(len(one.task.token_ids) for one in plain) + length
            own_tokens = sum(len(one.task.token_ids) for one in own) + length
            fits = (len(plain) < max_waiting or (len(own) + 1) * tenants <= max_waiting) and (
                tokens <= max_tokens or own_tokens * tenants <= max_tokens
            )
            assert waiting.has_room(tenant, length) == fits
            if fits:
                plain.append(request(number, tenant, priority, length))
                waiting.add(plain[-1])
        assert list(waiting) == plain
        assert waiting.mean_reserved_tokens == (
            sum(one.task.reserved_tokens for one in plain) // max(1, len(plain))
        )
        for tenant in "abc":
            own = [one for one in plain if one.task.tenant == tenant]
            own.sort(key=lambda one: (-one.task.priority, one.request_id))
            assert [one for one in waiting.first() if one.task.tenant == tenant] == own[:3]
    assert waiting.take_all() == plain
    assert not len(waiting)
    assert waiting.first() == []


def test_a_plan_sees_few_of_very_many() -> None:
    waiting = WaitingRequests(Limits())
    for number in range(3000):
        waiting.add(request(number, f"tenant-{number % 30}", 0, 1))
    assert len(waiting.first()) <= SHOWN
    assert len({one.task.tenant for one in waiting.first()}) == 30


def test_a_tenant_that_fills_the_queue_leaves_each_other_its_share() -> None:
    waiting = WaitingRequests(Limits(max_waiting=100))
    number = 0
    for tenant in "abcd":
        while waiting.has_room(tenant, 1):
            waiting.add(request(number := number + 1, tenant, 0, 1))
    # 100, then a half, a third and a quarter of it more.
    assert len(waiting) == 100 + 50 + 33 + 25


def test_the_share_of_the_tokens_is_taken_to_the_last_one() -> None:
    waiting = WaitingRequests(Limits(max_waiting_tokens=100))
    waiting.add(request(1, "a", 0, 100))
    # Another half of the bound, and no token more.
    assert waiting.has_room("b", 50)
    assert not waiting.has_room("b", 51)
    waiting.add(request(2, "b", 0, 20))
    assert waiting.has_room("b", 30)
    assert not waiting.has_room("b", 31)
