"""A real engine that breaks when it is told to: what the loop and everything above it then do."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ruvllm import LLM
from tests.support.scripted_engine import FailedEvent


class FaultyEngine:
    """Passes everything on to the engine of a model; see its attributes.

    `error` is raised by the next `advance`. `failing` ends sequences with an error after so many tokens.
    `step_seconds` makes each step take so long, one step a call.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.error: Exception | None = None
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

    def events(self, timeout: float) -> list[Any]:
        passed: list[Any] = []
        for event in self._engine.events(timeout):
            count = self._made[event.sequence] = self._made.get(event.sequence, 0) + 1
            if self.failing is None or count <= self.failing[0]:
                passed.append(event)
            elif count == self.failing[0] + 1:
                self._engine.cancel(event.sequence)
                passed.append(FailedEvent(event.sequence, self.failing[1]))
        return passed


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
