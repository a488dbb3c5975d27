"""`PrefixRouter`: Serve's public request router, which asks `Placing` for each request of the ingress.

It never raises: Serve would ask again for ever, and no request would get an answer.
"""

import logging
from collections import defaultdict
from typing import Any

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from ruvllm.integrations.ray.call import Call, Keys
from ruvllm.integrations.ray.placing import Placing

__all__ = ["PrefixRouter"]

logger = logging.getLogger("ray.serve")


class PrefixRouter(RequestRouter):
    """Sends a request to where its prefix is, or to where its session or its tenant is at home."""

    def initialize_state(self, balance: int = 2) -> None:  # type: ignore[override]
        """Begin without knowing anything; what Serve calls."""
        self._placing = Placing(balance=balance)
        # What was sent from here and has not ended.
        self._under_way: defaultdict[ReplicaID, set[str]] = defaultdict(set)

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """The workers in the order in which they are to be tried."""
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True
        try:
            for gone in self._under_way.keys() - {replica.replica_id for replica in candidate_replicas}:
                del self._under_way[gone]
            workers = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
            loads = {name: self._load(replica) for name, replica in workers.items()}
            return [[workers[name]] for name in self._placing.order(_keys(pending_request), loads)]
        except Exception:
            logger.exception("a request is sent to any worker: its place could not be found")
            return [list(candidate_replicas)]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        """Remember where a request has gone."""
        del result
        try:
            self._under_way[replica_id].add(pending_request.metadata.internal_request_id)
            self._placing.took(_keys(pending_request), replica_id.unique_id)
        except Exception:
            logger.exception("it is not remembered where a request has gone")

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """Count it no more; also called of what a worker has not taken."""
        self._under_way[replica_id].discard(internal_request_id)

    def _load(self, replica: RunningReplica) -> int:
        """What a worker has said of itself, which Serve forgets after ten seconds; then what we know."""
        said = self.replica_queue_len_cache.get(replica.replica_id)
        return len(self._under_way[replica.replica_id]) if said is None else said


def _keys(pending: PendingRequest | None) -> Keys:
    """The keys of a request; of what comes without any, none."""
    for argument in pending.args if pending is not None else ():
        if isinstance(argument, Call):
            return argument.keys
    return Keys()
