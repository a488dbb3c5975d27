"""The requests that wait: in order within each tenant, counted by tenant, so that none can fill it for all.

The queue is bounded by requests and by their prompt tokens. Where it is full, a tenant that has less than
its share of the bound waiting, one part for each tenant that waits, is taken in all the same; so n tenants
have at most 1 + 1/2 + ... + 1/n times the bound waiting, and nobody is refused for what another one sent.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice

from ruvllm.config import Limits
from ruvllm.runtime.request import Request

__all__ = ["WaitingRequests"]

# So many of all tenants' first ones are shown to a plan, and two of each at least.
SHOWN = 256
SHOWN_OF_EACH = 2


class WaitingRequests:
    """Requests that are not in yet. Not for several threads at once: the loop holds its lock."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # By tenant, then by priority, in order of arrival.
        self._tenants: dict[str, dict[int, dict[int, Request]]] = {}
        self._requests: dict[int, Request] = {}
        self._requests_of: Counter[str] = Counter()
        self._tokens_of: Counter[str] = Counter()
        self._tokens = 0
        self._reserved_tokens = 0

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests.values())

    @property
    def mean_reserved_tokens(self) -> int:
        """What those who wait may take at their longest, on average."""
        return self._reserved_tokens // max(1, len(self._requests))

    def has_room(self, tenant: str, prompt_tokens: int) -> bool:
        """Whether one more of a tenant may wait."""
        tenants = len(self._tenants) + (tenant not in self._tenants)
        requests = self._requests_of[tenant] + 1
        tokens = self._tokens_of[tenant] + prompt_tokens
        return (
            len(self._requests) < self._limits.max_waiting or requests <= self._limits.max_waiting // tenants
        ) and (
            self._tokens + prompt_tokens <= self._limits.max_waiting_tokens
            or tokens <= self._limits.max_waiting_tokens // tenants
        )

    def add(self, request: Request) -> None:
        """Take a request in."""
        task = request.task
        by_priority = self._tenants.setdefault(task.tenant, {})
        by_priority.setdefault(task.priority, {})[request.request_id] = request
        self._requests[request.request_id] = request
        self._count(request, 1)

    def remove(self, request_id: int) -> Request | None:
        """Take a request out; `None` where it does not wait."""
        request = self._requests.pop(request_id, None)
        if request is None:
            return None
        task = request.task
        by_priority = self._tenants[task.tenant]
        del by_priority[task.priority][request_id]
        if not by_priority[task.priority]:
            del by_priority[task.priority]
        if not by_priority:
            del self._tenants[task.tenant]
        self._count(request, -1)
        return request

    def take_all(self) -> list[Request]:
        """Empty it."""
        return [request for request_id in list(self._requests) if (request := self.remove(request_id))]

    def first(self) -> list[Request]:
        """The first ones of every tenant, in its order: as many as a plan can make use of."""
        of_each = min(self._limits.max_running, max(SHOWN_OF_EACH, SHOWN // max(1, len(self._tenants))))
        return [
            request
            for by_priority in self._tenants.values()
            for request in islice(
                chain.from_iterable(
                    by_priority[priority].values() for priority in sorted(by_priority, reverse=True)
                ),
                of_each,
            )
        ]

    def _count(self, request: Request, sign: int) -> None:
        task = request.task
        num_tokens = sign * task.held_tokens
        self._requests_of[task.tenant] += sign
        self._tokens_of[task.tenant] += num_tokens
        if not self._requests_of[task.tenant]:
            del self._requests_of[task.tenant], self._tokens_of[task.tenant]
        self._tokens += num_tokens
        self._reserved_tokens += sign * task.reserved_tokens
