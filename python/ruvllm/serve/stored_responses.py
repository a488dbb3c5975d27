"""Responses that are kept, so that `previous_response_id` and `GET /v1/responses/ID` find them.

In memory alone, each for its tenant, and bounded as all that is kept for tenants: see `Shelves`. What failed,
and what its client left, is not kept.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ruvllm.serve.errors import ApiError
from ruvllm.serve.shelves import Shelves

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


class StoredResponses(Shelves[StoredResponse]):
    """The responses of one server. Of the event loop's thread alone."""

    def keep(self, tenant: str, response: StoredResponse) -> None:
        """Keep one; those of the tenant that holds the most make room, and where it is too large, it goes."""
        # What two responses of one conversation share is counted twice: a bound, and never too low.
        num_bytes = sum(map(_bytes_of, (response.body, response.input_items, response.messages)))
        self.put(tenant, response.body["id"], response, num_bytes)

    def find(self, tenant: str, response_id: str, *, param: str = "response_id") -> StoredResponse:
        """The response of this id; 404 where this tenant has none such."""
        found = self.take(tenant, response_id)
        if found is None:
            message = (
                f"there is no response {response_id[:100]!r}: it was not stored, it was deleted, or it was "
                f"forgotten for newer ones; the server keeps {self._max_things}"
            )
            raise ApiError(404, message, code="response_not_found", param=param)
        return found

    def forget(self, tenant: str, response_id: str) -> None:
        """Let one go; 404 as for `find`."""
        self.find(tenant, response_id)
        self.drop(tenant, response_id)


def _bytes_of(value: Any) -> int:
    num_bytes = sys.getsizeof(value)
    if isinstance(value, Mapping):
        return num_bytes + sum(_bytes_of(key) + _bytes_of(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return num_bytes + sum(map(_bytes_of, value))
    return num_bytes
