"""Work beside the event loop, which serves all clients and so must never work for long itself.

A few threads, for a thread that runs Python holds the loop up a little, too: it hands the interpreter over
after some milliseconds, or when its call into C has ended. Hence the second rule of such work, which those
who bring it keep: no single call into C of more than some ten milliseconds, whatever a client has sent.
"""

import asyncio
import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, TypeVar

from ruvllm.serve.errors import ApiError

__all__ = ["AT_ONCE", "SMALL_BYTES", "Errand", "HeldBody", "OffLoop", "OneAtATime"]

Result = TypeVar("Result")

# Work of this size is done at once. The unit is a character that becomes tokens, a tenth of a microsecond.
AT_ONCE = 16_384
THREADS = 3
# One is always left for the others.
THREADS_OF_A_TENANT = 2
# Bodies larger than this are counted while they are held.
SMALL_BYTES = 64 * 1024
# What of them a tenant may have here at once, though one of the largest always.
HELD_BYTES = 64 * 1024 * 1024


@dataclass(order=True, slots=True)
class _Piece:
    """Work that waits; the smallest comes first, of equal ones the oldest."""

    size: int
    number: int
    work: Callable[[], Any] = field(compare=False)
    result: "asyncio.Future[Any]" = field(compare=False)


class OffLoop:
    """The threads of one server, and what waits for them. Of the event loop's thread alone.

    Tenants take turns; a tenant's own work goes by its size, so that a large body holds up no small ones.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ruvllm-off-loop")
        self._waiting: OrderedDict[str, list[_Piece]] = OrderedDict()
        self._running: Counter[str] = Counter()
        self._numbers = count()
        self.held_bytes: Counter[str] = Counter()  # of large bodies

    async def do(self, tenant: str, size: int, work: Callable[[], Result]) -> Result:
        """Do it in a thread, when it is its turn; not at all where the caller is cancelled before."""
        piece = _Piece(size, next(self._numbers), work, asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiting.setdefault(tenant, []), piece)
        self._begin()
        result: Result = await piece.result
        return result

    def _begin(self) -> None:
        while self._running.total() < THREADS and (tenant := self._next_tenant()) is not None:
            waiting = self._waiting[tenant]
            piece = heapq.heappop(waiting)
            self._waiting.move_to_end(tenant)
            if not waiting:
                del self._waiting[tenant]
            if piece.result.cancelled():
                continue
            self._running[tenant] += 1
            running = piece.result.get_loop().run_in_executor(self._threads, piece.work)
            running.add_done_callback(partial(self._ended, tenant, piece.result))

    def _next_tenant(self) -> str | None:
        free = (tenant for tenant in self._waiting if self._running[tenant] < THREADS_OF_A_TENANT)
        return next(free, None)

    def _ended(self, tenant: str, result: "asyncio.Future[Any]", running: "asyncio.Future[Any]") -> None:
        _take(self._running, tenant, 1)
        if running.cancelled():
            result.cancel()
        elif (error := running.exception()) is not None:
            if not result.done():
                result.set_exception(error)
        elif not result.done():
            result.set_result(running.result())
        self._begin()


class OneAtATime:
    """Work of seconds, one piece after another, in a thread that is none of `OffLoop`'s: these stay free."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def do(self, work: Callable[[], Result], held: AbstractContextManager[object]) -> Result:
        """Do it when it is its turn; once begun it is done, also where the caller is cancelled.

        `held` is entered meanwhile: what the work needs, which the caller may let go before.
        """
        return await asyncio.shield(asyncio.ensure_future(self._in_turn(work, held)))

    async def _in_turn(self, work: Callable[[], Result], held: AbstractContextManager[object]) -> Result:
        with held:
            async with self._turn:
                return await asyncio.to_thread(work)


class HeldBody:
    """Counts a body for its tenant while the block runs."""

    __slots__ = ("_counts", "_largest", "_num_bytes", "_tenant")

    def __init__(self, counts: "Counter[str]", tenant: str, largest: int) -> None:
        self._counts = counts
        self._tenant = tenant
        self._largest = largest
        self._num_bytes = 0

    def take(self, num_bytes: int) -> None:
        """Count a piece of it, once it is large; 429 where the tenant has too much here."""
        before, self._num_bytes = self._num_bytes, self._num_bytes + num_bytes
        if self._num_bytes <= SMALL_BYTES:
            return
        counted = 0 if before <= SMALL_BYTES else before
        most = max(HELD_BYTES, self._largest)
        others = self._counts[self._tenant] - counted
        if others + self._num_bytes > most:
            self._num_bytes = before
            message = f"large bodies of {others} bytes are being worked on already; at most {most} are"
            raise ApiError(429, message, code="overloaded", headers={"retry-after": "1"})
        self._counts[self._tenant] = others + self._num_bytes

    def __enter__(self) -> "HeldBody":
        return self

    def __exit__(self, *_: object) -> None:
        if self._num_bytes > SMALL_BYTES:
            _take(self._counts, self._tenant, self._num_bytes)


def _take(counts: "Counter[str]", tenant: str, number: int) -> None:
    """Count down, and forget a tenant that has nothing more."""
    counts[tenant] -= number
    if not counts[tenant]:
        del counts[tenant]


@dataclass(frozen=True, slots=True)
class Errand:
    """The work beside the loop of one request."""

    pool: OffLoop
    tenant: str

    def holding(self, largest: int) -> HeldBody:
        """Counts the request's body; `largest` is what a single one may have."""
        return HeldBody(self.pool.held_bytes, self.tenant, largest)

    async def do(self, size: int, work: Callable[[], Result]) -> Result:
        """Do it: at once where it is small, in a thread where it is large; see `AT_ONCE` for the unit."""
        if size <= AT_ONCE:
            return work()
        return await self.pool.do(self.tenant, size, work)
