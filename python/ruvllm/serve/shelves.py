"""What is kept for tenants in memory, bounded for all of them together.

When it is full, the tenant that holds the most gives up what it did not use for the longest. So nobody's goes
for what a tenant has that has more.
"""

import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["Shelves"]

Thing = TypeVar("Thing")


class Shelves(Generic[Thing]):
    """Things by tenant and name. Of the event loop's thread alone."""

    def __init__(self, max_things: int, max_bytes: int) -> None:
        self._max_things = max_things
        self._max_bytes = max_bytes
        self._num_things = 0
        self._num_bytes = 0
        self._uses = itertools.count()
        self._shelves: dict[str, _Shelf[Thing]] = {}

    def __len__(self) -> int:
        return self._num_things

    def put(self, tenant: str, name: str, thing: Thing, num_bytes: int) -> None:
        """Keep one; those of the tenant that holds the most make room, and where it is too large, it goes."""
        self.drop(tenant, name)
        shelf = self._shelves.setdefault(tenant, _Shelf())
        shelf.kept[name] = _Kept(thing, num_bytes, next(self._uses))
        shelf.num_bytes += num_bytes
        self._num_bytes += num_bytes
        self._num_things += 1
        while self._num_things > self._max_things:
            self._evict(lambda shelf: len(shelf.kept))
        while self._num_bytes > self._max_bytes:
            self._evict(lambda shelf: shelf.num_bytes)

    def take(self, tenant: str, name: str) -> Thing | None:
        """What this tenant has of this name; it was used by that."""
        shelf = self._shelves.get(tenant)
        if shelf is None or name not in shelf.kept:
            return None
        kept = shelf.kept[name]
        kept.used = next(self._uses)
        shelf.kept.move_to_end(name)
        return kept.thing

    def drop(self, tenant: str, name: str) -> None:
        """Let one go, where it is there."""
        shelf = self._shelves.get(tenant)
        gone = shelf.kept.pop(name, None) if shelf else None
        if shelf is None or gone is None:
            return
        shelf.num_bytes -= gone.num_bytes
        self._num_bytes -= gone.num_bytes
        self._num_things -= 1
        if not shelf.kept:
            del self._shelves[tenant]

    def _evict(self, held: "Callable[[_Shelf[Thing]], int]") -> None:
        """Let the oldest go of the tenant that holds the most; where several do, the oldest of all these."""
        tenant = max(
            self._shelves, key=lambda name: (held(self._shelves[name]), -self._shelves[name].oldest.used)
        )
        self.drop(tenant, next(iter(self._shelves[tenant].kept)))


@dataclass(slots=True)
class _Kept(Generic[Thing]):
    """One thing with what it takes, and when it was used last, in uses of them all."""

    thing: Thing
    num_bytes: int
    used: int


@dataclass(slots=True)
class _Shelf(Generic[Thing]):
    """What one tenant has, at least one; the one that was not used for the longest stands first."""

    kept: OrderedDict[str, _Kept[Thing]] = field(default_factory=OrderedDict)
    num_bytes: int = 0

    @property
    def oldest(self) -> _Kept[Thing]:
        """The one that was not used for the longest."""
        return next(iter(self.kept.values()))
