"""Whose turn it was: when each tenant last came in."""

from collections.abc import Iterable

__all__ = ["Turns"]

# Tenants that came in before so many others are forgotten: what waits has come later anyway.
KEPT_TENANTS = 10_000


class Turns:
    """When each tenant last came in, by the numbers that count up as requests come. The loop's alone.

    >>> turns = Turns()
    >>> for number, tenant in enumerate(("a", "b", "a"), 1):
    ...     turns.note(tenant, number)
    >>> turns.of(["a", "b", "c"])
    {'a': 3, 'b': 2, 'c': 0}
    """

    def __init__(self) -> None:
        # The one that came in the longest ago first.
        self._last: dict[str, int] = {}

    def note(self, tenant: str, number: int) -> None:
        """One of a tenant's came in, or in again."""
        self._last.pop(tenant, None)
        self._last[tenant] = number
        if len(self._last) > KEPT_TENANTS:
            del self._last[next(iter(self._last))]

    def of(self, tenants: Iterable[str]) -> dict[str, int]:
        """The last entries of some; 0 of who never came in."""
        return {tenant: self._last.get(tenant, 0) for tenant in tenants}
