"""How many requests of tenants that teach are under way.

Each may go to one worker alone, and Serve has few who find places: requests that wait for a worker which is
full would hold up everybody's. So there are never as many of them as a worker takes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ruvllm.serve.errors import ApiError
from ruvllm.serve.under_way import UnderWay

__all__ = ["Shares"]


class Shares:
    """Of one ingress."""

    def __init__(self, taken_by_a_worker: int, num_ingresses: int) -> None:
        # What all are asked (figures, flushing) needs room, too.
        self.of_all = max(1, taken_by_a_worker * 3 // 4 // num_ingresses)
        self.of_one = max(1, self.of_all // 4)
        self._under_way = UnderWay()

    @contextmanager
    def request(self, tenant: str) -> Iterator[None]:
        """Count a request while the block lasts; 429 where there are too many."""
        if self._under_way[tenant] >= self.of_one:
            raise _too_many(f"{self.of_one} requests of this tenant are under way")
        if self._under_way.total() >= self.of_all:
            raise _too_many(f"{self.of_all} requests of tenants that teach are under way")
        with self._under_way.request(tenant):
            yield


def _too_many(why: str) -> ApiError:
    return ApiError(429, f"{why}: ask again later", code="overloaded", headers={"retry-after": "1"})
