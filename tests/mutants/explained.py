"""Mechanical mutants that nothing can notice, each with the reason."""

from tests.mutants.mutant import Mutant, python_mutant

__all__ = ["EXPLAINED"]

EXPLAINED: tuple[Mutant, ...] = (
    python_mutant(
        "runtime/plans.py",
        "max_steps: int = 0",
        "max_steps: int = 1",
        (),
        "a plan without rows is not run, so for how many steps it holds is never asked",
    ),
    python_mutant(
        "runtime/plans.py",
        "paused: bool = False\n    since: int = 0",
        "paused: bool = False\n    since: int = 1",
        (),
        "the loop says it of every request: what stands here is for tests that have nothing to say of it",
    ),
    python_mutant(
        "runtime/plans.py",
        "entered_tokens: int = 0",
        "entered_tokens: int = 1",
        (),
        "the loop says it of every request: what stands here is for tests that have nothing to say of it",
    ),
    python_mutant(
        "runtime/loop.py",
        "EVENT_WAIT_SECONDS = 0.5",
        "EVENT_WAIT_SECONDS = 1.5",
        (),
        "the longest wait in one piece: whatever is waited for wakes whoever waits",
    ),
    python_mutant(
        "runtime/loop.py",
        "self._engine.cancel(request.sequence)\n                self._wake()\n",
        "self._engine.cancel(request.sequence)\n                pass\n",
        (),
        "whoever is cancelled is ended before the next step, woken or not; this spares the half second "
        "after a plan without rows, which the scheduler makes only where nobody is left to cancel",
    ),
)
