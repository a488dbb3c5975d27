"""Sending a load: so many at a time (closed loop), or at given times whatever comes of it (open loop)."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ruvllm.client.address import Address
from ruvllm.client.load.connection import ConnectionPool, new_event_loop
from ruvllm.client.load.exchange import Exchange, Outcome
from ruvllm.client.load.workload import PlannedRequest
from ruvllm.errors import RuvLLMError

__all__ = ["ClosedLoop", "LoadRun", "OpenLoop", "Target", "run_load"]


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """So many clients, each of which asks again as soon as it has its answer."""

    concurrency: int


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """When each request is sent, in seconds from the start."""

    arrival_seconds: Sequence[float]


@dataclass(slots=True)
class LoadRun:
    """What came of each request, in the order in which they ended, and how long it took in all."""

    outcomes: list[Outcome] = field(default_factory=list)
    wall_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a load goes.

    Attributes:
        address: The server's.
        api_key: Its key, where it wants one.
        timeout_seconds: After so long, a request has failed.
    """

    address: Address
    api_key: str | None = None
    timeout_seconds: float = 600.0


def run_load(
    target: Target,
    requests: Sequence[PlannedRequest],
    loop: ClosedLoop | OpenLoop,
    on_end: Callable[[Outcome], None] = lambda outcome: None,
) -> LoadRun:
    """Send all requests and wait for their ends; `on_end` is told each one's.

    Needs httptools (`pip install 'ruvllm[serve]'`). A failed request is an outcome, not an exception.
    """
    events = new_event_loop()
    try:
        return events.run_until_complete(_Load(target, on_end).run(requests, loop))
    finally:
        _close(events)


class _Load:
    def __init__(self, target: Target, on_end: Callable[[Outcome], None]) -> None:
        self._target = target
        self._on_end = on_end
        self._run = LoadRun()

    async def run(self, requests: Sequence[PlannedRequest], loop: ClosedLoop | OpenLoop) -> LoadRun:
        self._pool = ConnectionPool(self._target.address, self._target.api_key)
        begun = time.perf_counter()
        if isinstance(loop, ClosedLoop):
            waiting = iter(requests)
            await asyncio.gather(*(self._client(waiting) for _ in range(loop.concurrency)))
        else:
            await self._send_at(begun, requests, loop.arrival_seconds)
        self._run.wall_seconds = time.perf_counter() - begun
        self._pool.close()
        return self._run

    async def _client(self, waiting: Iterator[PlannedRequest]) -> None:
        for request in waiting:
            await self._send(request, 0.0)

    async def _send_at(
        self, begun: float, requests: Sequence[PlannedRequest], times: Sequence[float]
    ) -> None:
        tasks = []
        for request, second in zip(requests, times, strict=True):
            early = begun + second - time.perf_counter()
            if early > 0:
                await asyncio.sleep(early)
            late = max(0.0, time.perf_counter() - begun - second)
            tasks.append(asyncio.ensure_future(self._send(request, late)))
        await asyncio.gather(*tasks)

    async def _send(self, request: PlannedRequest, late_seconds: float) -> None:
        exchange = Exchange(request.hangs_up_after, late_seconds)
        try:
            await asyncio.wait_for(self._pool.post(request.body, exchange), self._target.timeout_seconds)
            outcome = exchange.outcome()
        except (TimeoutError, asyncio.TimeoutError):
            outcome = exchange.outcome(TimeoutError(f"no end within {self._target.timeout_seconds:g} s"))
        except RuvLLMError as error:
            outcome = exchange.outcome(error)
        self._run.outcomes.append(outcome)
        self._on_end(outcome)


def _close(events: asyncio.AbstractEventLoop) -> None:
    """End what Ctrl-C left under way."""
    for task in asyncio.all_tasks(events):
        task.cancel()
    # Cancelled tasks and closed connections have their last steps to take.
    events.run_until_complete(asyncio.sleep(0))
    events.run_until_complete(events.shutdown_asyncgens())
    events.close()
