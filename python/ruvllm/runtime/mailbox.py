"""How an engine's thread reaches the coroutines of one event loop: woken once for all that came together.

Sixteen streams make sixteen deliveries a step. To wake the loop for each would cost more than to serve them,
since the threads would hand the interpreter to and fro. Where pieces may come late, the loop is woken for
several steps at once.
"""

import asyncio
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from ruvllm.runtime.events import Event

__all__ = ["Batch", "Mailbox", "mailbox_of"]

# Events of one request, and when the engine made them.
Batch: TypeAlias = tuple[Sequence[Event], float]


class Addressee(Protocol):
    """Who is handed batches, by its event loop."""

    def put(self, batch: Batch) -> None:
        """Take a batch."""


class Mailbox:
    """What was left for the coroutines of one event loop, and they have not seen.

    After it was emptied it rests for `interval` seconds: what comes meanwhile lies there until the end of the
    rest, but for what is urgent.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float) -> None:
        # Weak, since the loop is the key under which the mailbox is kept.
        self._loop = weakref.ref(loop)
        self._interval = interval
        self._mail: deque[tuple[Addressee, Batch]] = deque()
        self._is_called = False
        self._is_resting = False

    def put(self, addressee: Addressee, batch: Batch, *, is_urgent: bool) -> None:
        """Leave something. Any thread; raises where the loop is closed."""
        loop = self._loop()
        if loop is None or loop.is_closed():
            raise RuntimeError("the event loop is closed")
        self._mail.append((addressee, batch))
        # In this order: a rest that ends between the two lines finds the mail itself.
        if (is_urgent or not self._is_resting) and not self._is_called:
            # Two threads may both get here; then the loop comes once for nothing.
            self._is_called = True
            loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        # First, so that what comes from here on calls again.
        self._is_called = False
        while self._mail:
            addressee, batch = self._mail.popleft()
            addressee.put(batch)
        if self._interval and not self._is_resting:
            self._rest()

    def _rest(self) -> None:
        self._is_resting = True
        asyncio.get_running_loop().call_later(self._interval, self._wake)

    def _wake(self) -> None:
        # First, for the same reason.
        self._is_resting = False
        if self._mail:
            self._hand_out()


_Mailboxes: TypeAlias = "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, Mailbox]]"
_mailboxes: _Mailboxes = weakref.WeakKeyDictionary()


def mailbox_of(loop: asyncio.AbstractEventLoop, interval: float) -> Mailbox:
    """The mailbox of an event loop for deliveries so far apart. To be called by the loop's own thread."""
    of_loop = _mailboxes.setdefault(loop, {})
    if interval not in of_loop:
        of_loop[interval] = Mailbox(loop, interval)
    return of_loop[interval]
