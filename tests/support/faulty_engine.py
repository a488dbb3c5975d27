"""A real engine that breaks when it is told to: what the loop and everything above it then do."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ruvllm import LLM
from ruvllm.runtime.events import Event, Failed, Finished


class FaultyEngine:
    """Passes everything on to the engine of a model; see its attributes.

    `error` is raised by the next `advance`, `deaf` by the next wait for events. `failing` ends sequences
    with an error after so many tokens.
    `step_seconds` makes each step take so long, one step a call.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.error: Exception | None = None
        self.deaf: Exception | None = None
        self.failing: tuple[int, Exception] | None = None
        self.step_seconds = 0.0
        self.advancing = threading.Event()
        self._made: dict[int, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def advance(self, plan: Sequence[tuple[int, int]], max_steps: int) -> str:
        self.advancing.set()
        if self.error is not None:
            raise self.error
        if self.step_seconds:
            time.sleep(self.step_seconds)
            max_steps = 1
        return self._engine.advance(plan, max_steps)

    def events(self, timeout: float) -> list[tuple[int, Event]]:
        events = self._engine.events(timeout)
        if self.deaf is not None:
            raise self.deaf
        return [passed for sequence, event in events for passed in self._failed(sequence, event)]

    def _failed(self, sequence: int, event: Event) -> list[tuple[int, Event]]:
        """The event, or what stands in its place once its sequence fails: an error at the sequence's end."""
        count = self._made[sequence] = self._made.get(sequence, 0) + 1
        if self.failing is None or count <= self.failing[0]:
            return [(sequence, event)]
        if isinstance(event, Finished):
            return [(sequence, Failed(error=self.failing[1]))]
        self._engine.cancel(sequence)
        return []


@contextmanager
def faulty(llm: LLM) -> Iterator[FaultyEngine]:
    """Put one under a model."""
    real = llm._loop._engine
    engine = FaultyEngine(real)
    llm._loop._engine = engine
    try:
        yield engine
    finally:
        llm._loop._engine = real
