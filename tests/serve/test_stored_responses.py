"""Which responses stay where several tenants share what may be kept: against a plain model of the rule."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm.serve.errors import ApiError
from ruvllm.serve.stored_responses import StoredResponse, StoredResponses

TENANTS = ("alice", "bob", "carol", "")
Operation = tuple[str, str, int]
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["keep", "keep", "keep", "find", "forget"]),
        st.sampled_from(TENANTS),
        st.integers(0, 6000),
    ),
    max_size=60,
)


def response(name: str, size: int) -> StoredResponse:
    return StoredResponse(body={"id": name}, input_items=[], messages=({"content": "x" * size},))


def bytes_of(kept: StoredResponse) -> int:
    """What a response counts for."""
    alone = StoredResponses(1, 10**9)
    alone.keep("", kept)
    return alone._num_bytes


@dataclass
class Entry:
    tenant: str
    name: str
    num_bytes: int


class Model:
    """All that is kept in one list, the one that was not used for the longest first."""

    def __init__(self, max_responses: int, max_bytes: int) -> None:
        self.limits = max_responses, max_bytes
        self.entries: list[Entry] = []

    def keep(self, tenant: str, name: str, num_bytes: int) -> list[Entry]:
        """Keep one; gives those that had to go for it."""
        self.entries.append(Entry(tenant, name, num_bytes))
        gone = []
        for limit, weight in zip(self.limits, (lambda _: 1, lambda entry: entry.num_bytes), strict=True):
            while sum(map(weight, self.entries)) > limit:
                held: Counter[str] = Counter()
                for entry in self.entries:
                    held[entry.tenant] += weight(entry)
                most = max(held.values())
                victim = next(entry for entry in self.entries if held[entry.tenant] == most)
                # The rule itself: nobody holds more than who has to give one up.
                assert all(count <= held[victim.tenant] for count in held.values())
                self.entries.remove(victim)
                gone.append(victim)
        return gone

    def of(self, tenant: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.tenant == tenant]

    def use(self, entry: Entry) -> None:
        self.entries.remove(entry)
        self.entries.append(entry)


@given(OPERATIONS, st.integers(0, 12), st.integers(0, 40_000))
def test_the_tenant_that_holds_the_most_gives_way(
    operations: list[Operation], max_responses: int, max_bytes: int
) -> None:
    store, model = StoredResponses(max_responses, max_bytes), Model(max_responses, max_bytes)
    gone = []
    for number, (kind, tenant, value) in enumerate(operations):
        theirs = model.of(tenant)
        if kind == "keep":
            kept = response(f"resp_{number}", value)
            store.keep(tenant, kept)
            gone += model.keep(tenant, kept.body["id"], bytes_of(kept))
        elif theirs and kind == "find":
            entry = theirs[value % len(theirs)]
            assert store.find(tenant, entry.name).body["id"] == entry.name
            model.use(entry)
        elif theirs:
            entry = theirs[value % len(theirs)]
            store.forget(tenant, entry.name)
            model.entries.remove(entry)
            gone.append(entry)
        assert len(store) == len(model.entries) <= max_responses
        assert store._num_bytes == sum(entry.num_bytes for entry in model.entries) <= max_bytes
        assert set(store._shelves) == {entry.tenant for entry in model.entries}
    for entry in gone:
        with pytest.raises(ApiError):
            store.find(entry.tenant, entry.name)
    for entry in list(model.entries):
        assert store.find(entry.tenant, entry.name).messages
        for other in TENANTS:
            if other != entry.tenant:
                with pytest.raises(ApiError):
                    store.find(other, entry.name)


def test_large_ones_of_one_tenant_cost_no_other_its_small_ones() -> None:
    store = StoredResponses(1000, 100_000)
    for number in range(20):
        store.keep("bob", response(f"bob_{number}", 500))
    for number in range(200):
        store.keep("carol", response(f"carol_{number}", 30_000))
        store.keep("carol", response(f"carol_large_{number}", 300_000))
    for number in range(20):
        assert store.find("bob", f"bob_{number}")


def test_one_kept_again_counts_once() -> None:
    store = StoredResponses(10, 100_000)
    for _ in range(100):
        store.keep("bob", response("resp_1", 5000))
    assert len(store) == 1
    assert store._num_bytes == bytes_of(response("resp_1", 5000))


def test_among_equal_tenants_the_one_goes_that_was_not_asked_for() -> None:
    store = StoredResponses(2, 10**9)
    for tenant in ("alice", "bob"):
        store.keep(tenant, response("resp_1", 10))
    assert store.find("alice", "resp_1")
    store.keep("carol", response("resp_1", 10))
    assert store.find("alice", "resp_1")
    with pytest.raises(ApiError):
        store.find("bob", "resp_1")


def test_many_tenants_are_none_too_many() -> None:
    """As many tenants as places: the next one takes that of the oldest, since all hold as much."""
    store = StoredResponses(100, 10**9)
    for number in range(101):
        store.keep(f"tenant-{number}", response("resp_1", 10))
    with pytest.raises(ApiError):
        store.find("tenant-0", "resp_1")
    assert all(store.find(f"tenant-{number}", "resp_1") for number in range(1, 101))
    assert len(store._shelves) == 100
