"""Responses that are kept, so that `previous_response_id` and `GET /v1/responses/ID` find them.

In memory alone, each for its tenant, and bounded: the one that was not used for the longest goes first. What
failed, and what its client left, is not kept.
"""

import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
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
        self._num_bytes = 0
        self._kept: OrderedDict[tuple[str, str], tuple[StoredResponse, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, tenant: str, response: StoredResponse) -> None:
        """Keep one; others go to make room, or it does where it is larger than all of it."""
        # What two responses of one conversation share is counted twice: a bound, and never too low.
        num_bytes = sum(map(_bytes_of, (response.body, response.input_items, response.messages)))
        self._kept[tenant, response.body["id"]] = response, num_bytes
        self._num_bytes += num_bytes
        while len(self._kept) > self._max_responses or self._num_bytes > self._max_bytes:
            _, (_, gone) = self._kept.popitem(last=False)
            self._num_bytes -= gone

    def find(self, tenant: str, response_id: str, *, param: str = "response_id") -> StoredResponse:
        """The response of this id; 404 where this tenant has none such."""
        if (tenant, response_id) not in self._kept:
            message = (
                f"there is no response {response_id[:100]!r}: it was not stored, it was deleted, or it was "
                f"forgotten for newer ones; the server keeps {self._max_responses}"
            )
            raise ApiError(404, message, code="response_not_found", param=param)
        self._kept.move_to_end((tenant, response_id))
        return self._kept[tenant, response_id][0]

    def forget(self, tenant: str, response_id: str) -> None:
        """Let one go; 404 as for `find`."""
        self.find(tenant, response_id)
        self._num_bytes -= self._kept.pop((tenant, response_id))[1]


def _bytes_of(value: Any) -> int:
    num_bytes = sys.getsizeof(value)
    if isinstance(value, Mapping):
        return num_bytes + sum(_bytes_of(key) + _bytes_of(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return num_bytes + sum(map(_bytes_of, value))
    return num_bytes
