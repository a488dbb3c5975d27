"""Responses that are kept, so that `previous_response_id` and `GET /v1/responses/ID` find them.

In memory alone, each for its tenant, and bounded for all tenants together: when it is full, the tenant that
holds the most gives the one up that it did not use for the longest. So nobody's responses go for those of a
tenant that has more. What failed, and what its client left, is not kept.
"""

import itertools
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruvllm.serve.errors import ApiError

__all__ = ["StoredResponse", "StoredResponses"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """A response with what came before it.

    Attributes:
        body: The response as its client got it.
        input_items: The items of its request, the first one first.
        messages: The conversation up to its answer, without instructions: these hold for one response.
    """

    body: dict[str, Any]
    input_items: list[dict[str, Any]]
    messages: tuple[dict[str, Any], ...]


class StoredResponses:
    """The responses of one server. Of the event loop's thread alone."""

    def __init__(self, max_responses: int, max_bytes: int) -> None:
        self._max_responses = max_responses
        self._max_bytes = max_bytes
        self._num_responses = 0
        self._num_bytes = 0
        self._uses = itertools.count()
        self._shelves: dict[str, _Shelf] = {}

    def __len__(self) -> int:
        return self._num_responses

    def keep(self, tenant: str, response: StoredResponse) -> None:
        """Keep one; those of the tenant that holds the most make room, and where it is too large, it goes."""
        # What two responses of one conversation share is counted twice: a bound, and never too low.
        num_bytes = sum(map(_bytes_of, (response.body, response.input_items, response.messages)))
        response_id = response.body["id"]
        self._drop(tenant, response_id)
        shelf = self._shelves.setdefault(tenant, _Shelf())
        shelf.kept[response_id] = _Kept(response, num_bytes, next(self._uses))
        shelf.num_bytes += num_bytes
        self._num_bytes += num_bytes
        self._num_responses += 1
        while self._num_responses > self._max_responses:
            self._evict(lambda shelf: len(shelf.kept))
        while self._num_bytes > self._max_bytes:
            self._evict(lambda shelf: shelf.num_bytes)

    def find(self, tenant: str, response_id: str, *, param: str = "response_id") -> StoredResponse:
        """The response of this id; 404 where this tenant has none such."""
        shelf = self._shelves.get(tenant)
        if shelf is None or response_id not in shelf.kept:
            message = (
                f"there is no response {response_id[:100]!r}: it was not stored, it was deleted, or it was "
                f"forgotten for newer ones; the server keeps {self._max_responses}"
            )
            raise ApiError(404, message, code="response_not_found", param=param)
        kept = shelf.kept[response_id]
        kept.used = next(self._uses)
        shelf.kept.move_to_end(response_id)
        return kept.response

    def forget(self, tenant: str, response_id: str) -> None:
        """Let one go; 404 as for `find`."""
        self.find(tenant, response_id)
        self._drop(tenant, response_id)

    def _evict(self, held: "Callable[[_Shelf], int]") -> None:
        """Let the oldest go of the tenant that holds the most; where several do, the oldest of all these."""
        tenant = max(
            self._shelves, key=lambda name: (held(self._shelves[name]), -self._shelves[name].oldest.used)
        )
        self._drop(tenant, next(iter(self._shelves[tenant].kept)))

    def _drop(self, tenant: str, response_id: str) -> None:
        shelf = self._shelves.get(tenant)
        gone = shelf.kept.pop(response_id, None) if shelf else None
        if shelf is None or gone is None:
            return
        shelf.num_bytes -= gone.num_bytes
        self._num_bytes -= gone.num_bytes
        self._num_responses -= 1
        if not shelf.kept:
            del self._shelves[tenant]


@dataclass(slots=True)
class _Kept:
    """A response with what it takes, and when it was used last, in uses of them all."""

    response: StoredResponse
    num_bytes: int
    used: int


@dataclass(slots=True)
class _Shelf:
    """What one tenant has, at least one; the one that was not used for the longest stands first."""

    kept: OrderedDict[str, _Kept] = field(default_factory=OrderedDict)
    num_bytes: int = 0

    @property
    def oldest(self) -> _Kept:
        """The one that was not used for the longest."""
        return next(iter(self.kept.values()))


def _bytes_of(value: Any) -> int:
    num_bytes = sys.getsizeof(value)
    if isinstance(value, Mapping):
        return num_bytes + sum(_bytes_of(key) + _bytes_of(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return num_bytes + sum(map(_bytes_of, value))
    return num_bytes
