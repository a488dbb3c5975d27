"""An `EngineFace` over any engine that gives an answer token by token and sees to its own batches.

The loop and its scheduler stand in front: they decide who comes in, by tenants and ranks, up to
`Limits.max_running`. Whoever is in has a thread that reads its tokens, until the end, a stop sequence or
nobody wants it any more; it is looked between two tokens, so that one token may still be made then. Nobody is
set aside, and nothing is known of blocks: their sizes are 0.
"""

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from ruvllm.backends.answer_text import AnswerText
from ruvllm.errors import BackendError, InvalidOperationError, RuvLLMError
from ruvllm.outputs import TokenLogprob
from ruvllm.runtime.events import Event, Failed, Finished, TokenMade, for_one_request
from ruvllm.runtime.request import GenerationTask, Task

__all__ = ["Ended", "Made", "StreamingEngine", "TokenStream"]

logger = logging.getLogger(__name__)

# The loop looks again after this even where nothing has happened.
LOOK_SECONDS = 0.5
JOIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A token: its id, what it adds to the text (nothing where it is not shown), and how likely it was."""

    token_id: int
    piece: bytes
    logprob: TokenLogprob | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of an answer: tokens in all, the one that ended it left out.

    `stop_token` is that one where the request named it.
    """

    reason: Literal["stop", "length"]
    completion_tokens: int
    stop_token: int | None = None


TokenStream: TypeAlias = Generator["Made | Ended", None, None]
"""The tokens of one answer, then its end. Closed before that where nobody wants the rest."""


@dataclass(slots=True, kw_only=True)
class _Sequence:
    """One answer under way; also what planning is told of it."""

    sequence: int
    task: GenerationTask
    made: int = 0
    is_cancelled: bool = False
    is_paused: bool = False

    @property
    def total_tokens(self) -> int:
        return len(self.task.token_ids) + self.made

    @property
    def computed_tokens(self) -> int:
        return self.total_tokens - 1

    @property
    def blocks(self) -> int:
        return self.total_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class _Status:
    """An `EngineStatus`: a block is a token here, and there is one for all that may be in."""

    sequences: Sequence[_Sequence]
    total_blocks: int
    held_blocks: int
    block_tokens: int = 1
    windows: tuple[int | None, ...] = field(default=(None,))
    block_bytes: int = 0
    swapped_bytes: int = 0
    steps: int = 0
    rows: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    step_costs: tuple[tuple[int, float], ...] = ()

    @property
    def room_blocks(self) -> int:
        return self.total_blocks

    @property
    def free_blocks(self) -> int:
        return self.total_blocks - self.held_blocks


def _for_the_request(error: BaseException) -> Exception:
    if isinstance(error, RuvLLMError):
        return for_one_request(error)
    failure = BackendError(f"the answer ended by an error of the engine: {error!r}")
    failure.__cause__ = error
    return failure


class StreamingEngine:
    """An `EngineFace`; `begin` starts an answer and is called in a thread of its own for each."""

    def __init__(
        self, begin: Callable[[GenerationTask], TokenStream], *, max_running: int, max_context: int
    ) -> None:
        self._begin = begin
        self._total_tokens = max_running * max_context
        self._numbers = itertools.count(1)
        # Its lock may be taken again by whoever has it: forgetting a model closes this, in any thread and at
        # any place there.
        self._changed = threading.Condition()
        self._inside: dict[int, _Sequence] = {}
        self._threads: dict[int, threading.Thread] = {}
        self._new: list[_Sequence] = []
        self._events: queue.SimpleQueue[tuple[int, Event] | None] = queue.SimpleQueue()
        self._is_wanted = False  # whether `advance` is to return
        self._closed = False

    # -- the loop's thread

    def add(self, task: Task) -> int:
        """Put a task in; gives its sequence."""
        if not isinstance(task, GenerationTask):
            raise InvalidOperationError("this engine makes tokens and computes nothing about given ones")
        one = _Sequence(sequence=next(self._numbers), task=task)
        thread = threading.Thread(
            target=self._read, args=(one,), name=f"ruvllm-answer-{one.sequence}", daemon=True
        )
        with self._changed:
            self._inside[one.sequence] = one
            self._threads[one.sequence] = thread
            one.is_cancelled = self._closed
        # It begins in `advance`: until then the loop does not know whose its events are.
        self._new.append(one)
        return one.sequence

    def advance(self, plan: Sequence[tuple[int, int]], max_steps: int) -> str:
        """Wait until somebody has ended or the loop is wanted; answers go on by themselves."""
        while self._new:
            self._start(self._new.pop(0))
        with self._changed:
            self._changed.wait_for(lambda: self._is_wanted, LOOK_SECONDS)
            self._is_wanted = False
        return "interrupted"

    def _start(self, one: _Sequence) -> None:
        try:
            self._threads[one.sequence].start()
        except (RuntimeError, MemoryError) as error:
            # The system has no thread for it: the others go on.
            failure = BackendError(f"the answer got no thread: {error}; ask again, or lower max_running")
            failure.__cause__ = error
            self._end(one, Failed(error=failure))

    def preempt(self, sequence: int, swap: bool) -> None:  # noqa: FBT001 - the engine's own face
        """Refuse: a scheduler that knows better never asks."""
        raise BackendError("this engine sets nobody aside; its scheduler must not preempt")

    def trim(self) -> None:
        """Nothing is kept here."""

    def status(self) -> _Status:
        """Say what planning needs to know."""
        with self._changed:
            inside = list(self._inside.values())
        held = sum(one.total_tokens for one in inside)
        return _Status(sequences=inside, total_blocks=max(self._total_tokens, held), held_blocks=held)

    # -- any thread

    def start_profile(self) -> None:
        """Refuse: nothing is told of steps."""
        raise InvalidOperationError("this engine does not tell where its time goes; use the native backend")

    def take_profile(self) -> None:
        """Give nothing: none was begun."""

    def cancel(self, sequence: int) -> None:
        """End a sequence after the token that it is at."""
        with self._changed:
            one = self._inside.get(sequence)
            if one is not None:
                one.is_cancelled = True

    def interrupt(self) -> None:
        """Make `advance` return soon."""
        with self._changed:
            self._is_wanted = True
            self._changed.notify_all()

    def events(self, timeout: float) -> list[tuple[int, Event]]:
        """Wait for events; gives all that came together, each with its sequence."""
        found: list[tuple[int, Event]] = []
        try:
            one = self._events.get(timeout=timeout)
            while one is not None:
                found.append(one)
                one = self._events.get_nowait()
        except queue.Empty:
            pass
        return found

    def close(self) -> None:
        """End all answers, each after the token that it is at, and wake everyone for good."""
        with self._changed:
            self._closed = True
            for one in self._inside.values():
                one.is_cancelled = True
            # Those that start from here on find that nobody wants them.
            threads = [one for one in self._threads.values() if one.ident is not None]
        self.interrupt()
        self._events.put(None)
        until = time.monotonic() + JOIN_SECONDS
        for thread in threads:
            if thread is threading.current_thread():
                continue
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                logger.warning("the thread %s did not end within %s s", thread.name, JOIN_SECONDS)

    # -- the thread of one answer

    def _read(self, one: _Sequence) -> None:
        try:
            last: Event = self._finished(one, "cancelled", "") if one.is_cancelled else self._answer(one)
        except BaseException as error:  # noqa: BLE001 - whatever it is, also a panic, it is this request's alone
            last = Failed(error=_for_the_request(error))
        self._end(one, last)

    def _end(self, one: _Sequence, last: Event) -> None:
        with self._changed:
            del self._inside[one.sequence]
            del self._threads[one.sequence]
        self._events.put((one.sequence, last))
        self.interrupt()

    def _answer(self, one: _Sequence) -> Finished:
        """Read an answer to its end."""
        text = AnswerText(one.task.params.stop_sequences)
        stream = self._begin(one.task)
        try:
            for step in stream:
                if isinstance(step, Ended):
                    one.made = step.completion_tokens
                    rest = text.rest()
                    finished = self._finished(one, step.reason, rest, text.stop_index)
                    return finished if text.is_stopped else replace(finished, stop_token=step.stop_token)
                if one.is_cancelled:
                    break
                one.made += 1
                shown = text.add(step.piece)
                event = TokenMade(token_id=step.token_id, text=shown, logprob=step.logprob)
                self._events.put((one.sequence, event))
                if text.is_stopped:
                    return self._finished(one, "stop", "", text.stop_index)
        finally:
            stream.close()
        if one.is_cancelled:
            return self._finished(one, "cancelled", "")
        raise BackendError("the answer broke off before its end")

    def _finished(self, one: _Sequence, reason: str, text: str, stop_index: int | None = None) -> Finished:
        return Finished(
            reason=reason,
            stop_index=stop_index,
            text=text,
            prompt_tokens=len(one.task.token_ids),
            completion_tokens=one.made,
        )
