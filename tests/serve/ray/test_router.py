"""What Serve's router is asked, whatever goes wrong: one that raises hangs every request for ever."""

import asyncio
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
    made.initialize_state()
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
    return SimpleNamespace(
        args=list(arguments),
        metadata=SimpleNamespace(internal_request_id="asked"),
        routing_context=SimpleNamespace(should_backoff=False),
    )


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


async def test_a_worker_of_which_nothing_was_heard_is_as_busy_as_what_was_sent_there() -> None:
    placing = Recording()
    made, asked = router(placing, {"b": 1}), pending(Call({}, b"", Keys()))
    made.on_request_routed(asked, ReplicaId("a"), None)
    both = [replica("a"), replica("b")]
    await made.choose_replicas(both, asked)
    made.on_request_completed(ReplicaId("a"), "asked")
    await made.choose_replicas(both, asked)
    assert [loads for _, loads in placing.seen[1:]] == [{"a": 1, "b": 1}, {"a": 0, "b": 1}]
    await made.choose_replicas(both[1:], asked)
    # One that is gone is not remembered.
    assert "a" not in made._under_way


async def test_sessions_whose_home_is_full_hold_up_nobody() -> None:
    """Serve's own loop, with as many of them as it finds places for at once."""
    pytest.importorskip("ray.serve")
    from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID, RequestMetadata
    from ray.serve._private.request_router.common import PendingRequest

    from ruvllm.integrations.ray.router import PrefixRouter

    deployment = DeploymentID("Worker", "main")

    class Known(SimpleNamespace):
        max_ongoing_requests = 8
        node_id, availability_zone, actor_id = "node", None, None
        multiplexed_model_ids: frozenset[str] = frozenset()

        async def get_queue_len(self, **_: object) -> int:
            return int(self.load)

        def push_proxy_handle(self, _: object) -> None:
            pass

    made = PrefixRouter(
        deployment_id=deployment,
        handle_source=DeploymentHandleSource.REPLICA,
        self_actor_id="ingress",
        use_replica_queue_len_cache=True,
    )
    made.initialize_state()
    made.update_replicas([Known(replica_id=ReplicaID(name, deployment), load=load) for name, load in LOADS])
    pins = [Keys(f"session {number}") for number in range(100)]
    pins = [pin for pin in pins if made._placing.order(pin, dict(LOADS))[0] == "full"][:8]

    def ask(keys: Keys) -> Any:
        identity = keys.pin
        metadata = RequestMetadata(request_id=identity, internal_request_id=identity)
        return made._choose_replica_for_request(
            PendingRequest(args=[Call({}, b"", keys)], kwargs={}, metadata=metadata)
        )

    found = await asyncio.wait_for(asyncio.gather(*map(ask, [*pins, Keys()])), 30)
    assert {one.replica_id.unique_id for one in found} == {"free"}


LOADS = (("full", 8), ("free", 0))
