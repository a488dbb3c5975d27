"""In what turn requests are let in: nobody's requests may have the event loop to themselves.

To read a request, check and plan it takes the event loop's thread a millisecond or two, whatever comes of it.
Whoever opens one after the other, if only to drop it, takes that time from those whose answers are under way.
So beside others' requests each tenant's are let in at a pace at which they take a share of the thread; a
burst is let in at once, and a tenant that is alone never waits. Nothing is made for a request that waits but
its place in the queue.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager

from ruvllm.serve.under_way import UnderWay

__all__ = ["Entrance", "Waiting"]

logger = logging.getLogger(__name__)

# Of the event loop's thread, what one tenant's requests may take beside others'.
SHARE = 0.04
# So long a tenant may have gone without: what it may then open at once.
BURST_SECONDS = 0.5
# What a request costs is measured over so many of them, with what streams cost meanwhile, and believed
# between these.
SAMPLE = 20
LEAST_SECONDS, MOST_SECONDS = 0.0005, 0.003
# How often it is looked whether the others are gone, for those who wait.
LOOK_SECONDS = 0.05
# How often the log tells of those who left while they waited.
TELL_SECONDS = 1.0


class Waiting:
    """A request that waits for its turn."""

    def __init__(self, account: "_Account", start: Callable[[], None]) -> None:
        self._account = account
        self.start = start

    def leave(self) -> None:
        """Give the place in the queue up; nothing where the turn has come already."""
        self._account.leave(self)


class _Account:
    """One tenant's: when its requests so far will have been paid for, and those that wait, in their order."""

    def __init__(self, tenant: str, left: Callable[[], None]) -> None:
        self.tenant = tenant
        self.paid_at = 0.0
        self.queue: OrderedDict[Waiting, None] = OrderedDict()
        self.looks_again: asyncio.TimerHandle | None = None
        self._left = left
        self._num_left = 0
        self._told_at = 0.0

    def leave(self, waiting: Waiting) -> None:
        if waiting not in self.queue:
            return
        del self.queue[waiting]
        self._left()
        # Not a line for each: to write it would take longer than all that was done for the request.
        self._num_left += 1
        now = time.monotonic()
        if now >= self._told_at + TELL_SECONDS:
            logger.info("%d requests of %s left before their turn", self._num_left, self.tenant)
            self._num_left, self._told_at = 0, now


class Entrance:
    """Lets requests in, each tenant's at its pace. Of the event loop's thread alone.

    `left` is told of each request that leaves before its turn.
    """

    def __init__(
        self,
        *,
        left: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        used_seconds: Callable[[], float] = time.thread_time,
    ) -> None:
        self._left = left
        self._clock = clock
        self._used_seconds = used_seconds
        self._accounts: dict[str, _Account] = {}
        self._under_way = UnderWay()
        self._cost = MOST_SECONDS
        self._counted, self._used_at = 0, used_seconds()

    def let_in(self, tenant: str, start: Callable[[], None]) -> Waiting | None:
        """Start a request, now or when it is its tenant's turn; then what waits is given."""
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = _Account(tenant, self._left)
        if not account.queue and self._seconds_until_turn(account) <= 0:
            self._charge(account)
            start()
            return None
        waiting = Waiting(account, start)
        account.queue[waiting] = None
        if account.looks_again is None:
            self._look_later(account)
        return waiting

    def under_way(self, tenant: str) -> AbstractContextManager[None]:
        """Note that a request of this tenant is answered while the block runs."""
        return self._under_way.request(tenant)

    def _look_later(self, account: _Account) -> None:
        seconds = min(self._seconds_until_turn(account), LOOK_SECONDS)
        account.looks_again = asyncio.get_running_loop().call_later(seconds, self._look, account)

    def _look(self, account: _Account) -> None:
        """Start those whose turn has come."""
        account.looks_again = None
        while account.queue:
            if self._seconds_until_turn(account) > 0:
                self._look_later(account)
                return
            waiting, _ = account.queue.popitem(last=False)
            self._charge(account)
            waiting.start()

    def _seconds_until_turn(self, account: _Account) -> float:
        if all(other == account.tenant for other in self._under_way):
            return 0.0
        return account.paid_at - self._clock() - BURST_SECONDS

    def _charge(self, account: _Account) -> None:
        account.paid_at = max(account.paid_at, self._clock()) + self._cost / SHARE
        self._counted += 1
        if self._counted == SAMPLE:
            used = self._used_seconds()
            self._cost = min(max((used - self._used_at) / SAMPLE, LEAST_SECONDS), MOST_SECONDS)
            self._counted, self._used_at = 0, used
