"""What a step may take: no tenant that is cut down takes more than its part, whatever steps cost here."""

from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st

from ruvllm.config import Limits
from ruvllm.runtime.plans import Running
from ruvllm.runtime.step_shares import share_step
from ruvllm.runtime.step_times import StepTimes

SIZES = (1, 2, 4, 8, 16, 32, 64)


def answers(loads: list[int]) -> list[Running]:
    """As many requests of each tenant, each with one token to compute."""
    tenants = [tenant for tenant, load in enumerate(loads) for _ in range(load)]
    return [
        Running(
            request_id=number,
            total_tokens=9,
            computed_tokens=8,
            reserved_tokens=20,
            tenant=f"tenant-{tenant}",
        )
        for number, tenant in enumerate(tenants)
    ]


# As measured: steps of a few rows cost nearly as much as those of many more.
@example(loads=[1, 64], more=[0.5, 3.0, 1.0, 9.0, 10.0, 18.0])
@given(
    loads=st.lists(st.integers(1, 64), min_size=1, max_size=6),
    more=st.lists(st.floats(0, 10), min_size=len(SIZES) - 1, max_size=len(SIZES) - 1),
)
def test_no_step_is_longer_than_as_many_of_the_shortest_as_there_are_tenants(
    loads: list[int], more: list[float]
) -> None:
    times, seconds = StepTimes(), 3.0
    times.note(SIZES[0], seconds)
    for size, one in zip(SIZES[1:], more, strict=True):
        seconds += one
        times.note(size, seconds)
    running = answers(loads)
    shares = share_step(running, Limits(), times)
    tenants = {one.request_id: one.tenant for one in running}
    rows = Counter(tenants[row.request_id] for row in shares.rows)
    by_itself = [times.seconds(load) for load in loads]
    shortest = min(by_itself)
    assert len(rows) == len(loads), "everybody has a row"
    for tenant, (load, alone) in enumerate(zip(loads, by_itself, strict=True)):
        if alone == shortest:
            assert rows[f"tenant-{tenant}"] == load
    cut = [rows[f"tenant-{tenant}"] for tenant, alone in enumerate(by_itself) if alone > shortest]
    longest = len(loads) * shortest * (1 + 1e-9)
    assert all(one == 1 for one in cut) or times.seconds(sum(rows.values())) <= longest
