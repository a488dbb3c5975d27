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
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ruvllm.errors import BackendError, InvalidOperationError, OutOfMemoryError, RuvLLMError
from ruvllm.observability.profile import StepProfile
from ruvllm.runtime.events import Event, Failed, Finished, is_last, translate
from ruvllm.runtime.request import Request, Sink, Task
from ruvllm.runtime.scheduler import Plan, Running, Scheduler, View, Waiting

if TYPE_CHECKING:
    from ruvllm import _native

__all__ = ["EngineFace", "EngineLoop", "Load"]

logger = logging.getLogger(__name__)

EVENT_WAIT_SECONDS = 0.5
JOIN_SECONDS = 10.0


class EngineFace(Protocol):
    """What the loop needs of an engine; `_native.Engine` has it."""

    def advance(self, plan: Sequence[tuple[int, int]], max_steps: int) -> str:
        """Run steps until someone has to decide."""

    def status(self) -> "_native.Status":
        """Say what planning needs to know."""

    def start_profile(self) -> None:
        """Time the steps from here on. Any thread."""

    def take_profile(self) -> "_native.Profile | None":
        """End that, and give what was recorded. Any thread."""

    def cancel(self, sequence: int) -> None:
        """End a sequence. Any thread."""

    def interrupt(self) -> None:
        """Make `advance` return soon. Any thread."""

    def events(self, timeout: float) -> "list[_native.Event]":
        """Wait for events. Any thread."""

    def close(self) -> None:
        """Wake everyone for good. Any thread."""


AddTask = Callable[[Task], int]
"""Puts a task into the engine and gives its sequence; called in the engine's thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests that are in and that wait, and bytes of key-value blocks in use and in all."""

    running_requests: int
    waiting_requests: int
    used_block_bytes: int
    total_block_bytes: int


class EngineLoop:
    """Runs requests on an engine, which is the loop's alone from here on."""

    def __init__(
        self,
        engine: EngineFace,
        add: AddTask,
        *,
        scheduler: Scheduler | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._engine = engine
        self._add = add
        self._scheduler = scheduler or Scheduler()
        self._clock = clock
        self._process = os.getpid()
        self._ids = itertools.count(1)
        # What both threads and the callers share, under `_changed`.
        self._changed = threading.Condition()
        self._arrivals: deque[Request] = deque()
        self._running: dict[int, Request] = {}
        self._closed = False
        self._failure: Exception | None = None
        self._blocks = (0, 0)
        # The engine thread's own.
        self._waiting: dict[int, Request] = {}
        self._threads = (
            threading.Thread(target=self._run_engine, name="ruvllm-engine", daemon=True),
            threading.Thread(target=self._run_delivery, name="ruvllm-delivery", daemon=True),
        )
        for thread in self._threads:
            thread.start()

    # -- callers, any thread

    def submit(self, task: Task, sink: Sink) -> Request:
        """Take a request in. Its last event is sure to come, whatever happens."""
        self._check_process()
        with self._changed:
            self._check_open()
            request = Request(next(self._ids), task, sink, self._clock())
            self._arrivals.append(request)
            self._changed.notify_all()
        self._engine.interrupt()
        return request

    def cancel(self, request: Request) -> None:
        """End a request: while it waits, in its prompt, at any time. Twice is the same as once."""
        if os.getpid() != self._process:
            return
        with self._changed:
            if request.cancelled or self._closed:
                return
            request.cancelled = True
            sequence = request.sequence
            self._changed.notify_all()
        if sequence is not None:
            self._engine.cancel(sequence)
        self._engine.interrupt()

    def start_profile(self) -> None:
        """Time the steps from here on; what was recorded before is dropped."""
        self._check_process()
        self._engine.start_profile()

    def take_profile(self) -> StepProfile:
        """End that, and give what was recorded."""
        self._check_process()
        profile = self._engine.take_profile()
        if profile is None:
            raise InvalidOperationError("no profile is being recorded; start_profile begins one")
        return StepProfile.of(profile)

    def load(self) -> "Load":
        """What is going on: requests, and blocks as of the last plan."""
        with self._changed:
            return Load(
                running_requests=len(self._running),
                waiting_requests=len(self._waiting) + len(self._arrivals),
                used_block_bytes=self._blocks[0],
                total_block_bytes=self._blocks[1],
            )

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

    # -- the engine's thread

    def _run_engine(self) -> None:
        try:
            while self._wait_for_work():
                self._turn()
        except BaseException as error:
            logger.exception("the engine's thread stopped")
            failure = error if isinstance(error, Exception) else BackendError(f"engine: {error!r}")
            with self._changed:
                self._failure = failure
            self._fail_all(failure)

    def _wait_for_work(self) -> bool:
        """Take arrivals over; wait while there is nothing to do. False when closed."""
        self._engine_status()
        with self._changed:
            while not (self._closed or self._failure or self._arrivals or self._waiting or self._running):
                self._changed.wait()
            while self._arrivals:
                request = self._arrivals.popleft()
                self._waiting[request.request_id] = request
            return not self._closed and self._failure is None

    def _turn(self) -> None:
        self._drop_cancelled()
        view = self._view()
        plan = self._scheduler.plan(view)
        if not plan.admitted and not view.running and view.waiting:
            self._refuse(self._waiting[view.waiting[0].request_id])
            return
        for request_id in plan.admitted:
            self._admit(self._waiting.pop(request_id))
        rows = self._engine_rows(plan)
        if rows:
            self._engine.advance(rows, plan.max_steps)
        elif self._running:
            # They ended in the engine, and their last events are on the way.
            with self._changed:
                self._changed.wait(EVENT_WAIT_SECONDS)

    def _view(self) -> View:
        status = self._engine_status()
        with self._changed:
            running = dict(self._running)
        return View(
            waiting=tuple(
                Waiting(
                    request_id=request.request_id,
                    prompt_tokens=len(request.task.token_ids),
                    reserved_tokens=request.task.reserved_tokens,
                )
                for request in self._waiting.values()
            ),
            running=tuple(
                Running(
                    request_id=request.request_id,
                    total_tokens=one.total_tokens,
                    computed_tokens=one.computed_tokens,
                    reserved_tokens=max(request.task.reserved_tokens, one.total_tokens),
                )
                for one in status.sequences
                if (request := running.get(one.sequence)) is not None
            ),
            free_blocks=status.free_blocks,
            block_tokens=status.block_tokens,
        )

    def _engine_status(self) -> "_native.Status":
        status = self._engine.status()
        with self._changed:
            self._blocks = (status.used_block_bytes, status.total_blocks * status.block_bytes)
        return status

    def _engine_rows(self, plan: Plan) -> list[tuple[int, int]]:
        with self._changed:
            sequences = {request.request_id: sequence for sequence, request in self._running.items()}
        return [
            (sequences[row.request_id], row.prefill_tokens)
            for row in plan.rows
            if row.request_id in sequences
        ]

    def _admit(self, request: Request) -> None:
        try:
            sequence = self._add(request.task)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's alone
            self._deliver(request, [Failed(error=error)])
            return
        with self._changed:
            request.sequence = sequence
            self._running[sequence] = request
            cancelled = request.cancelled
        if cancelled:
            self._engine.cancel(sequence)

    def _drop_cancelled(self) -> None:
        for request in [request for request in self._waiting.values() if request.cancelled]:
            del self._waiting[request.request_id]
            self._deliver(request, [_cancelled_before_it_began(request)])

    def _refuse(self, request: Request) -> None:
        """The head of the queue does not fit though nobody is in: it never will."""
        del self._waiting[request.request_id]
        message = (
            f"the request needs room for {request.task.reserved_tokens} tokens, which is more than the whole "
            "key-value cache has; lower max_tokens or raise kv_cache_bytes"
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

    def _hand_out(self, batch: "Sequence[_native.Event]") -> None:
        events_of: dict[int, list[Event]] = {}
        for event in batch:
            events_of.setdefault(event.sequence, []).append(translate(event))
        for sequence, events in events_of.items():
            last = is_last(events[-1])
            with self._changed:
                request = self._running.pop(sequence, None) if last else self._running.get(sequence)
                if last:
                    self._changed.notify_all()
            if request is not None:
                self._deliver(request, events)

    def _deliver(self, request: Request, events: Sequence[Event]) -> None:
        try:
            request.sink.deliver(events, self._clock())
        except Exception as error:  # noqa: BLE001 - a sink that cannot take events has no reader
            logger.debug("request %s has no reader any more: %r", request.request_id, error)
            self.cancel(request)

    def _fail_all(self, error: Exception) -> None:
        with self._changed:
            # The engine's thread adds nothing any more: it has ended, or it is the caller.
            requests = [*self._running.values(), *self._waiting.values(), *self._arrivals]
            self._running.clear()
            self._waiting.clear()
            self._arrivals.clear()
            self._changed.notify_all()
        for request in requests:
            self._deliver(request, [Failed(error=_for_one_request(error))])


def _for_one_request(error: Exception) -> Exception:
    """An error of its own for each request, so that tracebacks do not pile up on a shared one."""
    if isinstance(error, RuvLLMError):
        copy = type(error)(str(error))
    else:
        copy = BackendError(f"the engine stopped after an error: {error!r}")
    copy.__cause__ = error
    return copy


def _cancelled_before_it_began(request: Request) -> Finished:
    return Finished(reason="cancelled", prompt_tokens=len(request.task.token_ids))
