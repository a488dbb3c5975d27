"""The thread that owns an engine, and the one that hands its events out.

The engine's thread takes requests in, asks the scheduler for a plan, runs it, and again; it touches no text
and waits for nobody. The delivery thread waits for events and gives them to the requests' sinks. Callers only
submit and cancel. Whatever goes wrong reaches every request that is open: nobody waits for an answer that
cannot come.
"""

import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ruvllm.adapters.generation import holding
from ruvllm.errors import BackendError, InvalidOperationError, OutOfMemoryError, OverloadedError
from ruvllm.observability.profile import StepProfile
from ruvllm.runtime.calls import Calls
from ruvllm.runtime.engine_face import EngineFace, EngineStatus, Load
from ruvllm.runtime.events import (
    Event,
    Failed,
    cancelled_before_it_began,
    for_one_request,
    is_last,
)
from ruvllm.runtime.pace import Pace
from ruvllm.runtime.plans import Shares, View
from ruvllm.runtime.request import Request, Sink, Task
from ruvllm.runtime.scheduler import Scheduler
from ruvllm.runtime.turns import Turns
from ruvllm.runtime.view import costs_of, load_of, note_progress, view_of
from ruvllm.runtime.waiting import WaitingRequests

__all__ = ["EngineLoop"]

logger = logging.getLogger(__name__)

EVENT_WAIT_SECONDS = 0.5
JOIN_SECONDS = 10.0
# So long without work, and memory that nothing stands on goes back to the system.
IDLE_SECONDS = 1.0

Result = TypeVar("Result")


class EngineLoop:
    """Runs requests on an engine, which is the loop's alone from here on."""

    def __init__(
        self,
        engine: EngineFace,
        *,
        scheduler: Scheduler | None = None,
        swap_bytes: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._engine = engine
        self._scheduler = scheduler or Scheduler()
        self._swap_bytes = swap_bytes
        self._clock = clock
        self._process = os.getpid()
        self._ids = itertools.count(1)
        # What both threads and the callers share, under `_changed`.
        self._changed = threading.Condition()
        self._waiting = WaitingRequests(self._scheduler.limits)
        self._running: dict[int, Request] = {}
        self._closed = False
        self._in_turn = False  # whether the engine's thread plans and runs steps, not waits for work
        self._failure: Exception | None = None
        self._calls = Calls()
        self._load = Load()
        self._quotas: dict[str, int] = {}
        # The engine thread's own.
        self._plans = 0
        self._pace = Pace()
        self._counted = (0, 0)  # steps and rows that are part of the pace
        self._advance_seconds = 0.0  # of those that are not yet
        self._is_stuck = False  # whether the last plan came to nothing for want of blocks
        self._preemptions = 0
        self._turns = Turns()
        self._threads = (
            threading.Thread(target=self._run_engine, name="ruvllm-engine", daemon=True),
            threading.Thread(target=self._run_delivery, name="ruvllm-delivery", daemon=True),
        )
        for thread in self._threads:
            thread.start()

    # -- callers, any thread

    def submit(self, task: Task, sink: Sink) -> Request:
        """Take a request in. Its last event is sure to come, whatever happens.

        Its adapters are made ready first, which may take long: coroutines see to that before, by `awaiting`.
        """
        self._check_process()
        with holding(task.adapters) as held, self._changed:
            self._check_open()
            self._check_room(task)
            request = Request(next(self._ids), task, sink, self._clock(), held)
            self._waiting.add(request)
            self._wake()
        return request

    def cancel(self, request: Request) -> None:
        """End a request: while it waits, in its prompt, at any time. Twice is the same as once."""
        if os.getpid() != self._process:
            return
        with self._changed:
            if request.cancelled or self._closed:
                return
            request.cancelled = True
            if request.sequence is not None:
                self._engine.cancel(request.sequence)
                self._wake()
            never_began = self._waiting.remove(request.request_id) is not None
        if never_began:
            self._deliver(request, [cancelled_before_it_began(len(request.task.token_ids))])

    def call(self, work: Callable[[], Result]) -> Result:
        """Run something between two plans, in the engine's thread, and give what it gives."""
        self._check_process()
        with self._changed:
            self._check_open()
            outcome = self._calls.add(work)
            self._wake()
        return outcome.result()

    def set_quotas(self, quotas: Mapping[str, int]) -> None:
        """Say what tenants, each with all below it, may hold in bytes; the engine is told by others."""
        with self._changed:
            self._quotas = dict(quotas)

    def start_profile(self) -> None:
        """Time the steps from here on; what was recorded before is dropped."""
        self.call(self._engine.start_profile)

    def take_profile(self) -> StepProfile:
        """End that, and give what was recorded."""
        profile = self.call(self._engine.take_profile)
        if profile is None:
            raise InvalidOperationError("no profile is being recorded; start_profile begins one")
        return StepProfile.of(profile)

    def load(self) -> Load:
        """What is going on: requests now, and blocks as of the last plan."""
        with self._changed:
            return replace(
                self._load,
                running_requests=len(self._running),
                waiting_requests=len(self._waiting),
                preemptions=self._preemptions,
            )

    @property
    def failure(self) -> Exception | None:
        """What stopped the threads for good; `None` while they run."""
        with self._changed:
            return self._failure

    def close(self) -> None:
        """End all requests and both threads. Twice is the same as once."""
        if os.getpid() != self._process:
            return
        with self._changed:
            already = self._closed
            self._closed = True
            self._changed.notify_all()
        if already:
            return
        self._engine.interrupt()
        self._engine.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(JOIN_SECONDS)
                if thread.is_alive():
                    logger.warning("the thread %s did not end within %s s", thread.name, JOIN_SECONDS)
        self._fail_all(InvalidOperationError("the model was closed before the request was done"))

    def _wake(self) -> None:
        """Make the engine's thread look at what has changed; under the lock."""
        self._changed.notify_all()
        # While it waits it looks anyway, and the interrupt would only end the first steps that it plans.
        if self._in_turn:
            self._engine.interrupt()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise InvalidOperationError(
                f"this model was loaded in process {self._process}, and its threads did not come along into "
                f"the forked process {os.getpid()}; load the model after the fork, or use 'spawn'"
            )

    def _check_open(self) -> None:
        if self._failure is not None:
            raise BackendError(f"the engine stopped after an error: {self._failure}") from self._failure
        if self._closed:
            raise InvalidOperationError("the model is closed")

    def _check_room(self, task: Task) -> None:
        """Refuse what would make the queue longer than it may be; the caller can come back."""
        if self._waiting.has_room(task.tenant, task.held_tokens):
            return
        # What they will compute is not known; what they ask for is the most.
        seconds = self._pace.wait_seconds(self._waiting.mean_reserved_tokens)
        raise OverloadedError.full(waiting=len(self._waiting), retry_after_seconds=seconds)

    # -- the engine's thread

    def _run_engine(self) -> None:
        try:
            self._engine_status()
            while self._wait_for_work():
                self._turn()
        except BaseException as error:
            logger.exception("the engine's thread stopped")
            failure = error if isinstance(error, Exception) else BackendError(f"engine: {error!r}")
            with self._changed:
                self._failure = failure
            self._fail_all(failure)

    def _wait_for_work(self) -> bool:
        """Wait while there is nothing to do. False when closed."""
        if not self._wait_until_busy(0):
            self._engine_status()
            if not self._wait_until_busy(IDLE_SECONDS):
                self._engine.trim()
                self._wait_until_busy(None)
        with self._changed:
            self._in_turn = True
            return not self._closed and self._failure is None

    def _wait_until_busy(self, seconds: float | None) -> bool:
        """Wait for something to do, or the end; False where there was nothing for so long."""
        with self._changed:
            self._in_turn = False
            return self._changed.wait_for(
                lambda: bool(self._closed or self._failure or self._calls or self._waiting or self._running),
                seconds,
            )

    def _turn(self) -> None:
        self._calls.run()
        view = self._view()
        decision = self._scheduler.decide(view)
        for request_id, tokens in decision.refused:
            self._refuse(request_id, tokens)
        inside = self._inside()
        for preemption in decision.preempted:
            if preemption.request_id in inside:
                self._set_aside(inside[preemption.request_id], swap=preemption.swap)
        for request_id in decision.admitted:
            self._admit(request_id)
        resumed = set(decision.resumed)
        for one in view.running:
            if one.request_id in resumed and one.request_id in inside:
                inside[one.request_id].entered_tokens = one.total_tokens
                self._turns.note(one.tenant, next(self._ids))
        if decision.admitted or decision.preempted:
            view = self._view()
        active = [one for one in view.running if not one.paused or one.request_id in resumed]
        self._advance(self._scheduler.share(active, self._pace.times))

    def _inside(self) -> dict[int, Request]:
        with self._changed:
            return {request.request_id: request for request in self._running.values()}

    def _advance(self, shares: Shares) -> None:
        inside = self._inside()
        self._plans += 1
        rows = []
        for row in shares.rows:
            request = inside.get(row.request_id)
            if request is not None and request.sequence is not None:
                request.planned_at = self._plans
                rows.append((request.sequence, row.prefill_tokens))
        if rows:
            began = self._clock()
            self._is_stuck = self._engine.advance(rows, shares.max_steps) == "blocks"
            self._advance_seconds += self._clock() - began
        elif self._running:
            # They ended in the engine, and their last events are on the way.
            with self._changed:
                if not self._calls:
                    self._changed.wait(EVENT_WAIT_SECONDS)

    def _view(self) -> View:
        status = self._engine_status()
        with self._changed:
            running, quotas = dict(self._running), dict(self._quotas)
            waiting = self._waiting.first()
        note_progress(status, running)
        costs = costs_of(status, self._pace, self._swap_bytes)
        return view_of(
            status, waiting, running, costs=costs, quotas=quotas, turns=self._turns, is_stuck=self._is_stuck
        )

    def _engine_status(self) -> EngineStatus:
        """What the engine says; what was run since the last time becomes part of the pace."""
        status = self._engine.status()
        steps, rows = self._counted
        self._is_stuck &= status.rows == rows
        self._pace.note(steps=status.steps - steps, rows=status.rows - rows, seconds=self._advance_seconds)
        self._counted, self._advance_seconds = (status.steps, status.rows), 0.0
        with self._changed:
            self._load = load_of(status)
        return status

    def _set_aside(self, request: Request, *, swap: bool) -> None:
        if request.sequence is not None:
            self._engine.preempt(request.sequence, swap)
            request.since = next(self._ids)
            self._preemptions += 1

    def _admit(self, request_id: int) -> None:
        with self._changed:
            request = self._waiting.remove(request_id)
        if request is None:
            return  # nobody wants it any more
        try:
            sequence = self._engine.add(request.task)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's alone
            self._deliver(request, [Failed(error=error)])
            return
        with self._changed:
            request.sequence = sequence
            self._running[sequence] = request
            self._turns.note(request.task.tenant, next(self._ids))
            cancelled = request.cancelled
        if cancelled:
            self._engine.cancel(sequence)

    def _refuse(self, request_id: int, room_tokens: int) -> None:
        """End a request that never fits, whoever leaves."""
        with self._changed:
            request = self._waiting.remove(request_id)
        if request is None:
            return
        message = (
            f"the request needs room for {request.task.reserved_tokens} tokens, and there is room for "
            f"{room_tokens} in the whole key-value cache or the quota of its tenant; lower max_tokens, or "
            "raise kv_cache_bytes or the quota"
        )
        self._deliver(request, [Failed(error=OutOfMemoryError(message))])

    # -- the delivery thread

    def _run_delivery(self) -> None:
        while True:
            try:
                batch = self._engine.events(EVENT_WAIT_SECONDS)
                self._hand_out(batch)
            except BaseException as error:
                logger.exception("the delivery thread stopped")
                failure = BackendError(f"events could not be delivered: {error!r}")
                with self._changed:
                    self._failure = self._failure or failure
                self._engine.interrupt()
                self._fail_all(failure)
                return
            with self._changed:
                if self._closed or self._failure:
                    return

    def _hand_out(self, batch: Sequence[tuple[int, Event]]) -> None:
        events_of: dict[int, list[Event]] = {}
        for sequence, event in batch:
            events_of.setdefault(sequence, []).append(event)
        for sequence, events in events_of.items():
            last = is_last(events[-1])
            with self._changed:
                request = self._running.pop(sequence, None) if last else self._running.get(sequence)
                if last:
                    self._changed.notify_all()
            if request is not None:
                self._deliver(request, events)

    def _deliver(self, request: Request, events: Sequence[Event]) -> None:
        if is_last(events[-1]):
            # Whoever reads slowly, or keeps the answer, keeps no adapter.
            request.held.let_go()
        try:
            request.sink.deliver(events, self._clock())
        except Exception as error:  # noqa: BLE001 - a sink that cannot take events has no reader
            logger.debug("request %s has no reader any more: %r", request.request_id, error)
            self.cancel(request)

    def _fail_all(self, error: Exception) -> None:
        with self._changed:
            # The engine's thread adds nothing any more: it has ended, or it is the caller.
            requests = [*self._running.values(), *self._waiting.take_all()]
            self._running.clear()
            self._changed.notify_all()
        self._calls.fail(error)
        for request in requests:
            self._deliver(request, [Failed(error=for_one_request(error))])
