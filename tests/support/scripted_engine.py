"""An engine without a model, for tests of scheduling and delivery.

It keeps the native engine's contract: blocks, prompts in portions, one token a step, pauses, events,
cancellation within a step. The next token is a function of all tokens before it, so that results can be
foretold.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ruvllm.runtime.events import Event, Failed, Finished, TokenMade, Values
from ruvllm.runtime.request import GenerationTask, Task

VOCAB_SIZE = 1000


def next_token(tokens: Sequence[int]) -> int:
    return (sum(tokens) * 31 + len(tokens)) % VOCAB_SIZE


def expected_tokens(prompt: Sequence[int], count: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(next_token(tokens))
    return tokens[len(prompt) :]


@dataclass
class SequenceStatus:
    sequence: int
    prompt_tokens: int
    computed_tokens: int
    total_tokens: int
    blocks: int
    is_paused: bool


@dataclass
class Status:
    sequences: list[SequenceStatus]
    free_blocks: int
    held_blocks: int
    room_blocks: int
    total_blocks: int
    block_tokens: int
    windows: tuple[int | None, ...]
    block_bytes: int
    swapped_bytes: int
    steps: int = 0
    rows: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    step_costs: tuple[tuple[int, float], ...] = ()


@dataclass
class _Sequence:
    number: int
    task: Task
    tokens: list[int]
    computed: int = 0
    blocks: int = 0
    cancelled: bool = False
    paused: bool = False
    swapped_blocks: int = 0

    @property
    def remaining(self) -> int:
        return len(self.tokens) - self.computed

    @property
    def made(self) -> int:
        return len(self.tokens) - len(self.task.token_ids)


@dataclass
class ScriptedEngine:
    """See the module. `before_step` runs in the engine's thread before each step and may raise or wait."""

    total_blocks: int = 64
    block_tokens: int = 4
    lost_blocks: int = 0  # counted as free, and not to be had
    before_step: Callable[["ScriptedEngine"], None] = lambda engine: None
    step_seconds: float = 0.0
    steps: int = 0
    rows: int = 0
    plans: list[tuple[list[tuple[int, int]], int]] = field(default_factory=list)
    pauses: list[str] = field(default_factory=list)
    largest_prefill: int = 0
    trims: int = 0
    preempted: list[tuple[int, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._sequences: dict[int, _Sequence] = {}
        self._next = 1
        self._events: deque[tuple[int, Event]] = deque()
        self._ready = threading.Condition()
        self._interrupted = threading.Event()
        self._closed = False
        self._owner: int | None = None

    # -- the owner's thread

    def add(self, task: Task) -> int:
        self._check_owner()
        if any(token >= VOCAB_SIZE for token in task.token_ids):
            raise ValueError("Tokenization error: a token is outside the vocabulary")
        sequence = _Sequence(self._next, task, list(task.token_ids))
        self._sequences[self._next] = sequence
        self._next += 1
        return sequence.number

    def status(self) -> Status:
        self._check_owner()
        free = self.free_blocks
        return Status(
            sequences=[
                SequenceStatus(
                    sequence=one.number,
                    prompt_tokens=len(one.task.token_ids),
                    computed_tokens=one.computed,
                    total_tokens=len(one.tokens),
                    blocks=one.blocks,
                    is_paused=one.paused,
                )
                for one in self._sequences.values()
            ],
            free_blocks=free,
            total_blocks=self.total_blocks,
            block_tokens=self.block_tokens,
            windows=(None,),
            block_bytes=100,
            held_blocks=self.total_blocks - free,
            room_blocks=self.total_blocks,
            swapped_bytes=sum(one.swapped_blocks for one in self._sequences.values()) * 100,
            steps=self.steps,
            rows=self.rows,
        )

    def trim(self) -> None:
        self._check_owner()
        self.trims += 1

    def preempt(self, sequence: int, swap: bool) -> None:
        self._check_owner()
        one = self._sequences[sequence]
        self.preempted.append((sequence, swap))
        one.paused = True
        one.swapped_blocks = one.blocks if swap else 0
        one.computed = one.computed if swap else 0
        one.blocks = 0

    @property
    def free_blocks(self) -> int:
        return self.total_blocks - sum(one.blocks for one in self._sequences.values())

    def advance(self, plan: Sequence[tuple[int, int]], max_steps: int) -> str:
        self._check_owner()
        self.plans.append((list(plan), max_steps))
        pause = self._advance(plan, max_steps)
        self.pauses.append(pause)
        return pause

    def _advance(self, plan: Sequence[tuple[int, int]], max_steps: int) -> str:
        for _ in range(max_steps):
            if self._end_cancelled():
                return "finished"
            if self._interrupted.is_set() or self._closed:
                self._interrupted.clear()
                return "interrupted"
            self.before_step(self)
            if self.step_seconds:
                time.sleep(self.step_seconds)
            # In the midst of a step, as the native engine does: they go, and the others have their step.
            ended = self._end_cancelled()
            if not any(number in self._sequences for number, _ in plan):
                return "finished"
            pause = self._step(plan) or ("finished" if ended else None)
            if pause:
                return pause
        return "horizon"

    def _step(self, plan: Sequence[tuple[int, int]]) -> str | None:
        self.steps += 1
        short = finished = False
        prefill = 0
        for number, portion in plan:
            one = self._sequences.get(number)
            if one is None:
                continue
            count = min(one.remaining, max(portion, 1))
            needed = -(-(one.computed + count) // self.block_tokens)
            if needed - one.blocks > self.free_blocks - self.lost_blocks:
                short = True
                continue
            one.blocks = max(one.blocks, needed)
            one.paused, one.swapped_blocks = False, 0
            prefill += count if count > 1 else 0
            one.computed += count
            self.rows += count
            if one.remaining == 0:
                finished = self._act(one) or finished
        self.largest_prefill = max(self.largest_prefill, prefill)
        if finished:
            return "finished"
        return "blocks" if short else None

    def _act(self, one: _Sequence) -> bool:
        if not isinstance(one.task, GenerationTask):
            self._emit(one.number, Values(values=np.array(one.tokens, np.float32)))
            self._finish(one, "done")
            return True
        token = next_token(one.tokens)
        one.tokens.append(token)
        self._emit(one.number, TokenMade(token_id=token, text=f"{token} "))
        if one.made >= one.task.max_tokens:
            self._finish(one, "length")
            return True
        return False

    def _end_cancelled(self) -> bool:
        cancelled = [one for one in self._sequences.values() if one.cancelled]
        for one in cancelled:
            self._finish(one, "cancelled")
        return bool(cancelled)

    def _finish(self, one: _Sequence, reason: str) -> None:
        del self._sequences[one.number]
        self._emit(
            one.number,
            Finished(reason=reason, prompt_tokens=len(one.task.token_ids), completion_tokens=one.made),
        )

    def _check_owner(self) -> None:
        current = threading.get_ident()
        self._owner = self._owner or current
        assert self._owner == current, "the engine was used from two threads"

    # -- any thread

    def cancel(self, sequence: int) -> None:
        one = self._sequences.get(sequence)
        if one is not None:
            one.cancelled = True

    def interrupt(self) -> None:
        self._interrupted.set()

    def fail(self, sequence: int, error: Exception) -> None:
        """End a sequence with an error; called out of `before_step`."""
        if self._sequences.pop(sequence, None) is not None:
            self._emit(sequence, Failed(error=error))

    def _emit(self, sequence: int, event: Event) -> None:
        with self._ready:
            self._events.append((sequence, event))
            self._ready.notify_all()

    def events(self, timeout: float) -> list[tuple[int, Event]]:
        with self._ready:
            if not self._events and not self._closed:
                self._ready.wait(timeout)
            batch = list(self._events)
            self._events.clear()
            return batch

    def close(self) -> None:
        with self._ready:
            self._closed = True
            self._ready.notify_all()
