"""Whose turn it was: which tenants came in, in that order."""

import itertools
from collections.abc import Iterable

__all__ = ["Turns"]

# Tenants that came in before so many others are forgotten: it is their turn before all of those anyway.
KEPT_TENANTS = 10_000


class Turns:
    """When each tenant last came in, counted in entries. The loop's alone.

    >>> turns = Turns()
    >>> for tenant in ("a", "b", "a"):
    ...     turns.note(tenant)
    >>> turns.of(["a", "b", "c"])
    {'a': 3, 'b': 2, 'c': 0}
    """

    def __init__(self) -> None:
        self._entries = itertools.count(1)
        # The one that came in the longest ago first.
        self._last: dict[str, int] = {}

    def note(self, tenant: str) -> None:
        """One of a tenant's came in, or in again."""
        self._last.pop(tenant, None)
        self._last[tenant] = next(self._entries)
        if len(self._last) > KEPT_TENANTS:
            del self._last[next(iter(self._last))]

    def of(self, tenants: Iterable[str]) -> dict[str, int]:
        """The last entries of some; 0 of who never came in."""
        return {tenant: self._last.get(tenant, 0) for tenant in tenants}
