"""What Serve's router is asked, whatever goes wrong: one that raises hangs every request for ever."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from ruvllm.integrations.ray.call import Call, Keys

# Ray's own code is warned of by what it stands on.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def router(placing: object, loads: dict[str, int]) -> Any:
    pytest.importorskip("ray.serve")
    from ruvllm.integrations.ray.router import PrefixRouter

    made = object.__new__(PrefixRouter)
    made._placing = placing  # type: ignore[assignment]
    made._replica_queue_len_cache = {replica(name).replica_id: load for name, load in loads.items()}
    return made


class ReplicaId(str):
    @property
    def unique_id(self) -> str:
        return str(self)


def replica(name: str) -> Any:
    return SimpleNamespace(replica_id=ReplicaId(name))


def pending(*arguments: object) -> Any:
    return SimpleNamespace(args=list(arguments), routing_context=SimpleNamespace(should_backoff=False))


class Failing:
    def order(self, *_: object) -> list[str]:
        raise RuntimeError("no place")

    def took(self, *_: object) -> None:
        raise RuntimeError("no memory")


class Recording:
    def __init__(self) -> None:
        self.seen: list[tuple[object, object]] = []

    def order(self, keys: Keys, loads: dict[str, int]) -> list[str]:
        self.seen.append((keys, loads))
        return sorted(loads, reverse=True)

    def took(self, keys: Keys, worker: str) -> None:
        self.seen.append((keys, worker))


async def test_the_workers_are_tried_in_their_order() -> None:
    placing, keys = Recording(), Keys("pin")
    made, asked = router(placing, {"b": 3}), pending(Call({}, b"", keys))
    ranks = await made.choose_replicas([replica("a"), replica("b")], asked)
    assert [[one.replica_id for one in rank] for rank in ranks] == [["b"], ["a"]]
    made.on_request_routed(asked, ReplicaId("b"), None)
    assert placing.seen == [(keys, {"a": 0, "b": 3}), (keys, "b")]
    # Else it would ask again without a pause while all are full.
    assert asked.routing_context.should_backoff


@pytest.mark.parametrize("asked", [None, pending(), pending("no call of ours")])
async def test_what_has_no_keys_goes_anywhere(asked: Any) -> None:
    ranks = await router(Recording(), {}).choose_replicas([replica("a")], asked)
    assert [[one.replica_id for one in rank] for rank in ranks] == [["a"]]


async def test_it_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    made, asked = router(Failing(), {}), pending(Call({}, b"", Keys()))
    with caplog.at_level(logging.ERROR, "ray.serve"):
        candidates = [replica("a"), replica("b")]
        assert await made.choose_replicas(candidates, asked) == [candidates]
        made.on_request_routed(asked, ReplicaId("a"), None)
