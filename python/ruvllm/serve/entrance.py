"""In what turn requests are let in: nobody's requests may have the event loop to themselves.

To read a request, check and plan it takes the event loop's thread a millisecond or two, whatever comes of it.
Whoever opens one after the other, if only to drop it, takes that time from those whose answers are under way.
So beside others' requests each tenant's are let in at a pace at which they take a share of the thread; a
burst is let in at once, and a tenant that is alone never waits.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import Message, Receive

__all__ = ["Arriving", "Entrance"]

# Of the event loop's thread, what one tenant's requests may take beside others'.
SHARE = 0.15
# So long a tenant may have gone without: what it may then open at once.
BURST_SECONDS = 0.5
# What a request costs is measured over so many of them, with what streams cost meanwhile, and believed
# between these.
SAMPLE = 20
LEAST_SECONDS, MOST_SECONDS = 0.0005, 0.003
# How often those who wait look whether the others are gone.
LOOK_SECONDS = 0.05
# What a request that waits may have sent ahead.
KEPT_BYTES = 64 * 1024


class Arriving:
    """What a client sends; while its request waits it is kept, and its leaving is seen."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: deque[Message] = deque()

    async def __call__(self) -> Message:
        """The next message; what ASGI calls."""
        return self._kept.popleft() if self._kept else await self._receive()

    async def left(self) -> None:
        """Return when the client leaves; one that sends much ahead is not looked after any more."""
        num_bytes = 0
        while num_bytes < KEPT_BYTES:
            message = await self._receive()
            self._kept.append(message)
            if message["type"] == "http.disconnect":
                return
            num_bytes += len(message.get("body", b""))
        await asyncio.Event().wait()


class _Account:
    """One tenant's: when its requests so far will have been paid for, and those that wait, in their order."""

    def __init__(self) -> None:
        self.paid_at = 0.0
        self.queue = asyncio.Lock()


class Entrance:
    """Lets requests in, each tenant's at its pace. Of the event loop's thread alone."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        used_seconds: Callable[[], float] = time.thread_time,
    ) -> None:
        self._clock = clock
        self._used_seconds = used_seconds
        self._accounts: dict[str, _Account] = {}
        self._under_way: Counter[str] = Counter()
        self._cost = MOST_SECONDS
        self._counted, self._used_at = 0, used_seconds()

    async def let_in(self, tenant: str, arriving: Arriving) -> bool:
        """Wait for a tenant's turn; False where the client has left before it came."""
        account = self._accounts.setdefault(tenant, _Account())
        if not account.queue.locked() and self._seconds_until_turn(tenant, account) <= 0:
            self._charge(account)
            return True
        turn = asyncio.ensure_future(self._turn(tenant, account))
        leaving = asyncio.ensure_future(arriving.left())
        try:
            await asyncio.wait({turn, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return turn.done()
        finally:
            turn.cancel()
            leaving.cancel()
            await asyncio.gather(turn, leaving, return_exceptions=True)

    @contextmanager
    def under_way(self, tenant: str) -> Iterator[None]:
        """Note that a request of this tenant is answered while the block runs."""
        self._under_way[tenant] += 1
        try:
            yield
        finally:
            self._under_way[tenant] -= 1
            if not self._under_way[tenant]:
                del self._under_way[tenant]

    async def _turn(self, tenant: str, account: _Account) -> None:
        async with account.queue:
            while (seconds := self._seconds_until_turn(tenant, account)) > 0:
                await asyncio.sleep(min(seconds, LOOK_SECONDS))
            self._charge(account)

    def _seconds_until_turn(self, tenant: str, account: _Account) -> float:
        if all(other == tenant for other in self._under_way):
            return 0.0
        return account.paid_at - self._clock() - BURST_SECONDS

    def _charge(self, account: _Account) -> None:
        account.paid_at = max(account.paid_at, self._clock()) + self._cost / SHARE
        self._counted += 1
        if self._counted == SAMPLE:
            used = self._used_seconds()
            self._cost = min(max((used - self._used_at) / SAMPLE, LEAST_SECONDS), MOST_SECONDS)
            self._counted, self._used_at = 0, used
